//! TLS client side: trust anchors, server name and client certificate.

use super::identity::Identity;
use super::session::TlsLayer;
use super::trust::{AcceptAnyServer, TrustedServers};
use super::{certificate_name, files, provider, wire_names};
use crate::error::Error;
use crate::socket::Stream;
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
#[cfg(all(test, multiconn_simulated))]
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use std::path::PathBuf;
use std::sync::Arc;

/// TLS configuration of a client: trust anchors, server name and client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsClientOptions {
    /// The name that the server's certificate must match: a host name or an IP address. The zone of an IPv6 address
    /// (`%eth0`) is ignored.
    pub server_name: String,
    /// The trusted authorities (PEM). A certificate in the file is also trusted when a server presents it itself.
    /// Default: those of the system.
    pub ca: Option<PathBuf>,
    /// Whether the server's certificate is left unverified. Default: no.
    pub insecure: bool,
    /// The certificate presented to servers that ask for one. Default: none.
    pub identity: Option<Identity>,
    /// The application protocols, most preferred first (ALPN, RFC 7301). Default: none is negotiated.
    pub alpn: Vec<String>,
}

impl TlsClientOptions {
    /// Verifies the server as `server_name` against the authorities of the system.
    pub fn new(server_name: impl Into<String>) -> Self {
        Self { server_name: server_name.into(), ca: None, insecure: false, identity: None, alpn: Vec::new() }
    }
}

/// TLS of outgoing connections. Clones share the configuration and the sessions, which are resumed where the server
/// allows it.
#[derive(Debug, Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnector {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an invalid server name; [`Error::File`] for a file that cannot be used.
    pub fn new(options: &TlsClientOptions) -> Result<Self, Error> {
        let name = ServerName::try_from(certificate_name(&options.server_name)).map_err(|_| {
            let name = &options.server_name;
            let problem = format!("{name:?} is not a valid TLS server name; give one such as example.org");
            Error::config(&["tls.server_name"], problem)
        })?;
        Self::with_verifier(name.to_owned(), verifier(options)?, options)
    }

    /// Accepts only these certificates of servers, if they are for `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if they cannot be used.
    #[cfg(all(test, multiconn_simulated))]
    pub(crate) fn trusting(name: &'static str, named: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let options = TlsClientOptions::new(name);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(named.iter().cloned());
        let trusted = TrustedServers::new(roots, named.to_vec()).map_err(|error| Error::config(&["tls.ca"], error))?;
        Self::with_verifier(ServerName::try_from(name).expect("a name"), Arc::new(trusted), &options)
    }

    fn with_verifier(
        name: ServerName<'static>,
        verifier: Arc<dyn ServerCertVerifier>,
        options: &TlsClientOptions,
    ) -> Result<Self, Error> {
        let impossible = |error: rustls::Error| Error::config(&["tls"], format!("TLS cannot be set up: {error}"));
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(impossible)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.identity {
            Some(identity) => {
                let credentials = identity.load()?;
                let config = builder.with_client_auth_cert(credentials.chain, credentials.key);
                config.map_err(|error| identity.credentials_error(&error))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = wire_names(&options.alpn);
        Ok(Self { config: Arc::new(config), name })
    }

    /// A TLS stream on `socket`, which starts with the handshake. The socket need not be connected yet.
    ///
    /// # Errors
    ///
    /// An invalid configuration, as rustls reports it.
    pub(crate) fn connect(&self, socket: Stream) -> Result<Stream, rustls::Error> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        Ok(Stream::Tls(Box::new(TlsLayer::new(socket, session.into(), usize::MAX))))
    }
}

fn verifier(options: &TlsClientOptions) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if options.insecure {
        return Ok(Arc::new(AcceptAnyServer));
    }
    if let Some(path) = &options.ca {
        let (roots, named) = files::authorities(path)?;
        let trusted = TrustedServers::new(roots, named);
        return Ok(Arc::new(trusted.map_err(|error| files::refused(path, &error))?));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let trusted = TrustedServers::new(roots, Vec::new())
        .map_err(|_| Error::config(&["tls.ca"], "this system has no trusted authorities; give a file with some"))?;
    Ok(Arc::new(trusted))
}
