//! Certificate verification for servers and clients.
//!
//! rustls calls a verifier. The two here are small changes to those of rustls. [`AcceptAnyServer`] accepts every
//! server, for tests. [`Trusted`] also accepts a peer whose own certificate is in the file of authorities. This makes
//! self-signed certificates usable: they are their own authorities and, strictly, not valid as a peer's certificate
//! (RFC 5280, section 4.2.1.9).

use super::classify::is_authority;
use super::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// The methods that all verifiers share: the peer proves in the handshake that it has the private key.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

/// Accepts every server certificate.
#[derive(Debug)]
pub(super) struct AcceptAnyServer;

/// Accepts certificates issued by an authority, and the certificates of the authorities themselves.
#[derive(Debug)]
pub(super) struct Trusted<V: ?Sized> {
    webpki: Arc<V>,
    /// The certificates of the authorities.
    named: Vec<CertificateDer<'static>>,
}

/// Verifies server certificates.
pub(super) type TrustedServers = Trusted<WebPkiServerVerifier>;

/// Verifies client certificates.
pub(super) type TrustedClients = Trusted<dyn ClientCertVerifier>;

impl TrustedServers {
    /// Trusts certificates issued by `roots`, and exactly the certificates in `named`.
    pub(super) fn new(roots: RootCertStore, named: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        Ok(Self { webpki: webpki.map_err(|error| error.to_string())?, named })
    }
}

impl TrustedClients {
    /// Trusts certificates issued by `roots`, and exactly the certificates in `named`.
    pub(super) fn new(roots: RootCertStore, named: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        Ok(Self { webpki: webpki.map_err(|error| error.to_string())?, named })
    }
}

impl<V: ?Sized> Trusted<V> {
    /// Whether `error` only says that `end_entity` is an authority's certificate, and it is one of `named`. The
    /// validity period is checked before that: an expired certificate has another error.
    fn is_named(&self, end_entity: &CertificateDer<'_>, error: &Error) -> bool {
        matches!(error, Error::InvalidCertificate(error) if is_authority(error)) && self.named.contains(end_entity)
    }
}

impl ClientCertVerifier for TrustedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if self.is_named(end_entity, &error) => Ok(ClientCertVerified::assertion()),
            result => result,
        }
    }

    verify_signatures!();
}

impl ServerCertVerifier for TrustedServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) if self.is_named(end_entity, &error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    verify_signatures!();
}

impl ServerCertVerifier for AcceptAnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    verify_signatures!();
}
