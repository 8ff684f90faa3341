//! The server's side: what it shows, whom it asks for a certificate, and how both are read again while it runs.

use super::identity::{Credentials, Identity, fingerprint};
use super::memory::HANDSHAKE_BYTES;
use super::session::TlsStream;
use super::trust::TrustedClients;
use super::{files, provider, unsupported, wire_names};
use crate::error::Error;
use crate::escape;
use crate::socket::Stream;
use rustls::server::ServerSessionMemoryCache;
use rustls::{ServerConfig, ServerConnection};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// How many sessions of TLS 1.2 can be resumed by peers that take no tickets; each takes some hundred bytes.
const KEPT_SESSIONS: usize = 4096;

/// The same where clients show certificates, which are kept with the session: 28 KiB each at the most, 7 MiB together.
const KEPT_SESSIONS_WITH_CERTIFICATES: usize = 256;

/// What a server of TLS shows and asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsServerOptions {
    /// The certificate and its key.
    pub identity: Identity,
    /// The authorities of which a client must show a certificate (PEM); a certificate among them is trusted of a client
    /// itself, too. Default: clients need none.
    pub client_ca: Option<PathBuf>,
    /// The protocols spoken, the most wanted one first (ALPN, RFC 7301). Default: none is named.
    pub alpn: Vec<String>,
}

impl TlsServerOptions {
    /// Shows `identity`, asks clients for nothing.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, client_ca: None, alpn: Vec::new() }
    }
}

/// Makes TLS streams of accepted ones, on any thread.
#[derive(Debug)]
pub struct TlsAcceptor {
    options: TlsServerOptions,
    /// What was made here: files can be read again, this cannot.
    own: Option<Credentials>,
    current: RwLock<Current>,
}

/// What holds for those who come now.
#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    fingerprint: Arc<str>,
}

impl TlsAcceptor {
    /// Reads the files, or makes the certificate.
    ///
    /// # Errors
    ///
    /// [`Error::File`] for a file that cannot be used.
    pub fn new(options: TlsServerOptions) -> Result<Self, Error> {
        let own = if options.identity.is_self_signed() { Some(options.identity.load()?) } else { None };
        let current = RwLock::new(load(&options, own.as_ref())?);
        Ok(Self { options, own, current })
    }

    /// Reads the files again, for those who come from now on; who is here keeps what was agreed on. A session that was
    /// begun before is not resumed, because it was let in by other rules. On an error everything stays as it was.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = load(&self.options, self.own.as_ref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> Arc<str> {
        self.current().fingerprint
    }

    /// Whether the certificate was made here.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.own.is_some()
    }

    /// A stream on `socket` that begins with a handshake.
    ///
    /// # Errors
    ///
    /// What rustls finds wrong with its configuration.
    pub fn accept(&self, socket: Stream) -> Result<Stream, rustls::Error> {
        let session = ServerConnection::new(self.current().config)?;
        Ok(Stream::Tls(Box::new(TlsStream::new(socket, session.into(), HANDSHAKE_BYTES))))
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn load(options: &TlsServerOptions, own: Option<&Credentials>) -> Result<Current, Error> {
    let credentials = own.map_or_else(|| options.identity.load(), |own| Ok(own.clone()))?;
    let lacks_names = unsupported::lacks_names(&credentials.chain[0]);
    let fingerprint = fingerprint(&credentials.chain[0]).into();
    let wrong = |error: rustls::Error| options.identity.complaint(&error);
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(wrong)?;
    let builder = match &options.client_ca {
        Some(path) => {
            let (roots, named) = files::authorities(path)?;
            let verifier = TrustedClients::new(roots, named).map_err(|error| files::refused(path, &error))?;
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
        None => builder.with_no_client_auth(),
    };
    let kept_sessions = if options.client_ca.is_some() { KEPT_SESSIONS_WITH_CERTIFICATES } else { KEPT_SESSIONS };
    let mut config = builder.with_single_cert(credentials.chain, credentials.key).map_err(wrong)?;
    config.alpn_protocols = wire_names(&options.alpn);
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(wrong)?;
    config.session_storage = ServerSessionMemoryCache::new(kept_sessions);
    if let Identity::Files { certificate, .. } = &options.identity
        && lacks_names
    {
        log::warn!(
            "the certificate in {} has no Subject Alternative Name: clients refuse it, whatever its Common Name is; make one \
             with `openssl req -x509 … -addext subjectAltName=DNS:localhost,IP:127.0.0.1`",
            escape::path(certificate)
        );
    }
    Ok(Current { config: Arc::new(config), fingerprint })
}
