//! The options of TLS, of both programs.

use super::variables::Typed;
use crate::connection::Limits;
use crate::error::Error;
use crate::socket::{Endpoint, Identity, TlsClientOptions, TlsServerOptions};
use crate::units::parse_duration;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// The longest name of a protocol, in bytes (RFC 7301, section 3.1).
const ALPN_BYTES: usize = 255;

/// What the server shows and asks for.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerTls {
    #[command(flatten)]
    typed: Typed,
    /// Serve TLS 1.2 and 1.3 with the certificate in FILE (PEM, a regular file of at most 1 MiB), followed by those that vouch
    /// for it.
    #[arg(long, value_name = "FILE", conflicts_with = "udp", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM, without a passphrase).
    #[arg(long, value_name = "FILE", conflicts_with = "udp", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// Serve TLS with a certificate made at the start, and print its fingerprint.
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key", "udp"], help_heading = "TLS")]
    tls_self_signed: bool,
    /// Let in only clients with a certificate that one in FILE (PEM) vouches for.
    #[arg(long, value_name = "FILE", conflicts_with = "udp", help_heading = "TLS")]
    tls_client_ca: Option<PathBuf>,
    /// A protocol to agree on (ALPN), such as h2; may be repeated, the most wanted one first.
    #[arg(long, value_name = "NAME", value_parser = protocol, conflicts_with = "udp", help_heading = "TLS")]
    tls_alpn: Vec<String>,
    /// Close a connection whose TLS handshake is not complete this long after it was accepted; 0 waits for ever.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, conflicts_with = "udp", help_heading = "TLS")]
    handshake_timeout: Duration,
}

impl ServerTls {
    /// What a server that listens at `endpoints` is to show; none when TLS was not asked for.
    pub(super) fn options(&self, endpoints: &[Endpoint]) -> Result<Option<TlsServerOptions>, Error> {
        let identity = match files(self.tls_cert.as_ref(), self.tls_key.as_ref())? {
            Some(files) => files,
            None if self.tls_self_signed => Identity::SelfSigned { names: endpoints.iter().filter_map(host).collect() },
            None => return self.without_identity().map(|()| None),
        };
        let alpn = self.tls_alpn.clone();
        Ok(Some(TlsServerOptions { identity, client_ca: self.tls_client_ca.clone(), alpn }))
    }

    fn without_identity(&self) -> Result<(), Error> {
        let way_out = "--tls-cert FILE --tls-key FILE, or --tls-self-signed";
        // From the environment, too: a server that is meant to check its clients must not serve all of them.
        let client_ca = self.tls_client_ca.as_ref().map(|_| "--tls-client-ca");
        let is_usual = self.handshake_timeout() == Limits::default().handshake;
        let timeout = (!is_usual).then_some("--handshake-timeout");
        refuse_stray(client_ca.or_else(|| self.typed.first_of(timeout.into_iter().chain(["--tls-alpn"]))), way_out)
    }

    pub(super) fn handshake_timeout(&self) -> Option<Duration> {
        Some(self.handshake_timeout).filter(|timeout| !timeout.is_zero())
    }
}

/// Whom the client believes, and what it shows.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientTls {
    #[command(flatten)]
    typed: Typed,
    /// Speak TLS 1.2 or 1.3.
    #[arg(long, conflicts_with = "udp", help_heading = "TLS")]
    tls: bool,
    /// Believe the authorities in FILE (PEM), or a server that shows a certificate in it, instead of those of the system.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_ca: Option<PathBuf>,
    /// Believe every server to be who it says.
    #[arg(long, conflicts_with = "tls_ca", help_heading = "TLS")]
    tls_insecure: bool,
    /// The certificate to show to a server that asks for one (PEM).
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM, without a passphrase).
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// The name that the server's certificate must be for. Default: the host.
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    server_name: Option<String>,
    /// A protocol to agree on (ALPN), such as h2; may be repeated, the most wanted one first.
    #[arg(long, value_name = "NAME", value_parser = protocol, help_heading = "TLS")]
    tls_alpn: Vec<String>,
}

impl ClientTls {
    /// Whether TLS was asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.tls
    }

    /// What a client is to believe of each of `targets`; nothing when TLS was not asked for.
    pub(super) fn options(&self, targets: &[Endpoint]) -> Result<Vec<TlsClientOptions>, Error> {
        if !self.tls {
            let options = ["--tls-ca", "--tls-insecure", "--tls-cert", "--tls-key", "--server-name", "--tls-alpn"];
            return refuse_stray(self.typed.first_of(options), "--tls").map(|()| Vec::new());
        }
        let identity = files(self.tls_cert.as_ref(), self.tls_key.as_ref())?;
        Ok(targets.iter().map(|target| self.options_for(target, identity.clone())).collect())
    }

    fn options_for(&self, target: &Endpoint, identity: Option<Identity>) -> TlsClientOptions {
        // Who listens on a path of this machine has no other name.
        let name = self.server_name.clone().or_else(|| host(target)).unwrap_or_else(|| "localhost".to_owned());
        let mut options = TlsClientOptions::new(name);
        options.ca.clone_from(&self.tls_ca);
        options.insecure = self.tls_insecure;
        options.identity = identity;
        options.alpn.clone_from(&self.tls_alpn);
        options
    }
}

fn host(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Tcp { host, .. } => Some(host.clone()),
        Endpoint::Unix(_) => None,
    }
}

/// A certificate and its key, if they were given.
fn files(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<Option<Identity>, Error> {
    let (given, missing) = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            return Ok(Some(Identity::Files { certificate: certificate.clone(), key: key.clone() }));
        }
        (None, None) => return Ok(None),
        (Some(_), None) => ("--tls-cert", "--tls-key"),
        (None, Some(_)) => ("--tls-key", "--tls-cert"),
    };
    Err(Error::Usage(format!("{given} needs {missing}; give a certificate and its key, each in a FILE")))
}

/// Refuses an option that would do nothing without TLS.
fn refuse_stray(option: Option<&str>, way_out: &str) -> Result<(), Error> {
    match option {
        Some(name) => Err(Error::Usage(format!("{name} does nothing without TLS; give {way_out} as well"))),
        None => Ok(()),
    }
}

fn protocol(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > ALPN_BYTES {
        return Err(format!("{text:?} is no name of a protocol; give 1 to {ALPN_BYTES} bytes such as h2"));
    }
    Ok(text.to_owned())
}
