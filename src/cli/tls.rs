//! The options of TLS, of both programs.

use super::values;
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
    /// Serve TLS 1.2 and 1.3 with the certificate in FILE (PEM, a regular file of at most 1 MiB), followed by those that vouch
    /// for it.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "udp",
        env = "MULTICONN_TLS_CERT",
        help_heading = "TLS"
    )]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM, without a passphrase).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "MULTICONN_TLS_KEY", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// Serve TLS with a certificate made at the start, and print its fingerprint.
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key", "udp"], env = "MULTICONN_TLS_SELF_SIGNED",
        value_parser = values::switch, help_heading = "TLS")]
    tls_self_signed: bool,
    /// Let in only clients with a certificate that one in FILE (PEM) vouches for.
    #[arg(long, value_name = "FILE", env = "MULTICONN_TLS_CLIENT_CA", help_heading = "TLS")]
    tls_client_ca: Option<PathBuf>,
    /// A protocol to agree on (ALPN), such as h2; may be repeated, the most wanted one first.
    #[arg(long, value_name = "NAME", value_parser = protocol, env = "MULTICONN_TLS_ALPN", help_heading = "TLS")]
    tls_alpn: Vec<String>,
    /// Close a connection whose TLS handshake is not complete this long after it was accepted; 0 waits for ever.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration,
        env = "MULTICONN_HANDSHAKE_TIMEOUT", help_heading = "TLS")]
    handshake_timeout: Duration,
}

impl ServerTls {
    /// What a server that listens at `endpoints` is to show; none when TLS was not asked for.
    pub(super) fn options(&self, endpoints: &[Endpoint]) -> Result<Option<TlsServerOptions>, Error> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Identity::Files { certificate: certificate.clone(), key: key.clone() },
            _ if self.tls_self_signed => Identity::SelfSigned { names: endpoints.iter().filter_map(host).collect() },
            _ => {
                let is_usual = self.handshake_timeout() == Limits::default().handshake;
                let stray = [
                    ("--tls-client-ca", self.tls_client_ca.is_some()),
                    ("--tls-alpn", !self.tls_alpn.is_empty()),
                    ("--handshake-timeout", !is_usual),
                ];
                return refuse_stray(&stray, "--tls-cert FILE --tls-key FILE, or --tls-self-signed").map(|()| None);
            }
        };
        let alpn = self.tls_alpn.clone();
        Ok(Some(TlsServerOptions { identity, client_ca: self.tls_client_ca.clone(), alpn }))
    }

    pub(super) fn handshake_timeout(&self) -> Option<Duration> {
        Some(self.handshake_timeout).filter(|timeout| !timeout.is_zero())
    }
}

/// Whom the client believes, and what it shows.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientTls {
    /// Speak TLS 1.2 or 1.3.
    #[arg(long, env = "MULTICONN_TLS", value_parser = values::switch, conflicts_with = "udp", help_heading = "TLS")]
    tls: bool,
    /// Believe the authorities in FILE (PEM), or a server that shows a certificate in it, instead of those of the system.
    #[arg(long, value_name = "FILE", env = "MULTICONN_TLS_CA", help_heading = "TLS")]
    tls_ca: Option<PathBuf>,
    /// Believe every server to be who it says.
    #[arg(long, env = "MULTICONN_TLS_INSECURE", value_parser = values::switch, conflicts_with = "tls_ca",
        help_heading = "TLS")]
    tls_insecure: bool,
    /// The certificate to show to a server that asks for one (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "MULTICONN_TLS_CERT", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM, without a passphrase).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "MULTICONN_TLS_KEY", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// The name that the server's certificate must be for. Default: the host.
    #[arg(long, value_name = "NAME", env = "MULTICONN_SERVER_NAME", help_heading = "TLS")]
    server_name: Option<String>,
    /// A protocol to agree on (ALPN), such as h2; may be repeated, the most wanted one first.
    #[arg(long, value_name = "NAME", value_parser = protocol, env = "MULTICONN_TLS_ALPN", help_heading = "TLS")]
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
            let stray = [
                ("--tls-ca", self.tls_ca.is_some()),
                ("--tls-insecure", self.tls_insecure),
                ("--tls-cert", self.tls_cert.is_some()),
                ("--server-name", self.server_name.is_some()),
                ("--tls-alpn", !self.tls_alpn.is_empty()),
            ];
            return refuse_stray(&stray, "--tls").map(|()| Vec::new());
        }
        Ok(targets.iter().map(|target| self.options_for(target)).collect())
    }

    fn options_for(&self, target: &Endpoint) -> TlsClientOptions {
        // Who listens on a path of this machine has no other name.
        let name = self.server_name.clone().or_else(|| host(target)).unwrap_or_else(|| "localhost".to_owned());
        let mut options = TlsClientOptions::new(name);
        options.ca.clone_from(&self.tls_ca);
        options.insecure = self.tls_insecure;
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            options.identity = Some(Identity::Files { certificate: certificate.clone(), key: key.clone() });
        }
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

/// An option that would silently do nothing is a mistake of somebody who thinks that TLS is on.
fn refuse_stray(options: &[(&str, bool)], way_out: &str) -> Result<(), Error> {
    match options.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Error::Usage(format!("{name} does nothing without TLS; give {way_out} as well"))),
        None => Ok(()),
    }
}

fn protocol(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > ALPN_BYTES {
        return Err(format!("{text:?} is no name of a protocol; give 1 to {ALPN_BYTES} bytes such as h2"));
    }
    Ok(text.to_owned())
}
