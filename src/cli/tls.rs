//! TLS options of both programs.

use super::variables::{Typed, refuse_stray};
use crate::connection::Limits;
use crate::error::Error;
use crate::socket::{Endpoint, Identity, TlsClientOptions, TlsServerOptions};
use crate::units::parse_duration;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum length of an ALPN protocol name, in bytes (RFC 7301, section 3.1).
const ALPN_BYTES: usize = 255;

/// TLS options of the server.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerTls {
    #[command(flatten)]
    typed: Typed,
    /// Serve TLS 1.2 and 1.3 with the certificate chain in FILE. FILE is a regular PEM file of at most 1 MiB that
    /// begins with the server's certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "udp", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM, without a passphrase).
    #[arg(long, value_name = "FILE", conflicts_with = "udp", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// Serve TLS with a certificate generated at start, and print its fingerprint.
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key", "udp"], help_heading = "TLS")]
    tls_self_signed: bool,
    /// Require client certificates issued by a CA in FILE (PEM).
    #[arg(long, value_name = "FILE", conflicts_with = "udp", help_heading = "TLS")]
    tls_client_ca: Option<PathBuf>,
    /// Offer this ALPN protocol, such as h2; may be repeated, in order of preference.
    #[arg(long, value_name = "NAME", value_parser = protocol, conflicts_with = "udp", help_heading = "TLS")]
    tls_alpn: Vec<String>,
    /// Close a connection whose TLS handshake, or PROXY protocol header, is not complete this long after accept; 0
    /// disables the timeout.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, conflicts_with = "udp", help_heading = "TLS")]
    handshake_timeout: Duration,
}

impl ServerTls {
    /// TLS configuration of a server at `endpoints`; none without TLS. `has_header` tells that connections begin with
    /// something else for which the handshake timeout applies.
    pub(super) fn options(&self, endpoints: &[Endpoint], has_header: bool) -> Result<Option<TlsServerOptions>, Error> {
        let identity = match files(self.tls_cert.as_ref(), self.tls_key.as_ref())? {
            Some(files) => files,
            None if self.tls_self_signed => Identity::SelfSigned { names: endpoints.iter().filter_map(host).collect() },
            None => return self.without_identity(has_header).map(|()| None),
        };
        let alpn = self.tls_alpn.clone();
        Ok(Some(TlsServerOptions { identity, client_ca: self.tls_client_ca.clone(), alpn }))
    }

    fn without_identity(&self, has_header: bool) -> Result<(), Error> {
        let way_out = "--tls-cert FILE --tls-key FILE, or --tls-self-signed";
        // Includes the environment: a server that is meant to verify client certificates must not serve every client.
        let client_ca = self.tls_client_ca.as_ref().map(|_| "--tls-client-ca");
        let is_usual = self.handshake_timeout() == Limits::default().handshake;
        let timeout = (!is_usual && !has_header).then_some("--handshake-timeout");
        let stray = client_ca.or_else(|| self.typed.first_of(timeout.into_iter().chain(["--tls-alpn"])));
        refuse_stray(stray, "TLS", way_out)
    }

    pub(super) fn handshake_timeout(&self) -> Option<Duration> {
        Some(self.handshake_timeout).filter(|timeout| !timeout.is_zero())
    }
}

/// Trust anchors, server name and client certificate.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientTls {
    #[command(flatten)]
    typed: Typed,
    /// Use TLS 1.2 or 1.3.
    #[arg(long, conflicts_with = "udp", help_heading = "TLS")]
    tls: bool,
    /// Trust the CA or server certificates in FILE (PEM) instead of the system's CAs.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_ca: Option<PathBuf>,
    /// Do not verify the server's certificate.
    #[arg(long, conflicts_with = "tls_ca", help_heading = "TLS")]
    tls_insecure: bool,
    /// Client certificate for servers that request one (PEM).
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM, without a passphrase).
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// Name that the server's certificate must match. Default: HOST.
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    server_name: Option<String>,
    /// Offer this ALPN protocol, such as h2; may be repeated, in order of preference.
    #[arg(long, value_name = "NAME", value_parser = protocol, help_heading = "TLS")]
    tls_alpn: Vec<String>,
}

impl ClientTls {
    /// Whether TLS is enabled.
    pub(super) fn is_wanted(&self) -> bool {
        self.tls
    }

    /// TLS configuration for each of `targets`; empty without TLS.
    pub(super) fn options(&self, targets: &[Endpoint]) -> Result<Vec<TlsClientOptions>, Error> {
        if !self.tls {
            let options = ["--tls-ca", "--tls-insecure", "--tls-cert", "--tls-key", "--server-name", "--tls-alpn"];
            return refuse_stray(self.typed.first_of(options), "TLS", "--tls").map(|()| Vec::new());
        }
        let identity = files(self.tls_cert.as_ref(), self.tls_key.as_ref())?;
        Ok(targets.iter().map(|target| self.options_for(target, identity.clone())).collect())
    }

    fn options_for(&self, target: &Endpoint, identity: Option<Identity>) -> TlsClientOptions {
        // A server at a Unix socket path has no other name.
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

/// The certificate and its key, if given. One without the other is an error.
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

fn protocol(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > ALPN_BYTES {
        return Err(format!("{text:?} is no name of a protocol; give 1 to {ALPN_BYTES} bytes such as h2"));
    }
    Ok(text.to_owned())
}
