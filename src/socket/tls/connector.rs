//! The client's side: whom it believes, by which name it asks, and what it shows.

use super::identity::Identity;
use super::session::TlsStream;
use super::trust::{Anybody, TrustedServers};
use super::{certificate_name, files, provider, wire_names};
use crate::error::Error;
use crate::socket::Stream;
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use std::path::PathBuf;
use std::sync::Arc;

/// Whom a client of TLS believes, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsClientOptions {
    /// The name that the server's certificate must be for; an IP address is one, too, and its zone (`%eth0`) is ignored.
    pub server_name: String,
    /// The authorities that are believed (PEM); a certificate among them is also believed of a server that shows itself.
    /// Default: those of the system.
    pub ca: Option<PathBuf>,
    /// Whether every server is believed to be who it says. Default: no.
    pub insecure: bool,
    /// The certificate shown to servers that ask for one. Default: none.
    pub identity: Option<Identity>,
    /// The protocols spoken, the most wanted one first (ALPN, RFC 7301). Default: none is named.
    pub alpn: Vec<String>,
}

impl TlsClientOptions {
    /// Believes the authorities of the system that a server is `server_name`.
    pub fn new(server_name: impl Into<String>) -> Self {
        Self { server_name: server_name.into(), ca: None, insecure: false, identity: None, alpn: Vec::new() }
    }
}

/// Makes TLS streams of connected ones, on any thread. Sessions are resumed where the server allows it.
#[derive(Debug)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnector {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a name that no server can have; [`Error::File`] for a file that cannot be used.
    pub fn new(options: &TlsClientOptions) -> Result<Self, Error> {
        let name = ServerName::try_from(certificate_name(&options.server_name)).map_err(|_| {
            let name = &options.server_name;
            Error::Usage(format!("{name:?} is no name of a TLS server; give one such as --server-name example.org"))
        })?;
        let impossible = |error: rustls::Error| Error::Usage(format!("TLS cannot be set up: {error}"));
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(impossible)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(options)?);
        let mut config = match &options.identity {
            Some(identity) => {
                let credentials = identity.load()?;
                let config = builder.with_client_auth_cert(credentials.chain, credentials.key);
                config.map_err(|error| identity.complaint(&error))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = wire_names(&options.alpn);
        Ok(Self { config: Arc::new(config), name: name.to_owned() })
    }

    /// A stream on `socket` that begins with a handshake; the socket need not be connected yet.
    ///
    /// # Errors
    ///
    /// What rustls finds wrong with its configuration.
    pub fn connect(&self, socket: Stream) -> Result<Stream, rustls::Error> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        Ok(Stream::Tls(Box::new(TlsStream::new(socket, session.into(), usize::MAX))))
    }
}

fn verifier(options: &TlsClientOptions) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if options.insecure {
        return Ok(Arc::new(Anybody));
    }
    if let Some(path) = &options.ca {
        let (roots, named) = files::authorities(path)?;
        let trusted = TrustedServers::new(roots, named);
        return Ok(Arc::new(trusted.map_err(|error| files::refused(path, &error))?));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let trusted = TrustedServers::new(roots, Vec::new()).map_err(|_| {
        Error::Usage("this system has no authorities to believe; give some with --tls-ca FILE".to_owned())
    })?;
    Ok(Arc::new(trusted))
}
