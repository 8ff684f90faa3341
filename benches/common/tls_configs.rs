//! TLS configurations of the benchmarks: a self-signed server, and a client that accepts any certificate.
//!
//! The client offers one version and one cipher suite only, so all servers use the same: TLS 1.3 with AES-256-GCM. The
//! certificate is of ECDSA P-256, as that of `multiconn-server --tls-self-signed`.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::Outcome;

pub(crate) fn server_config() -> Outcome<Arc<ServerConfig>> {
    let explain = |error: String| format!("cannot set up TLS: {error}");
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let generated = generated.map_err(|error| explain(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(generated.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![generated.cert.into()], key.into()))
        .map_err(|error| explain(error.to_string()))?;
    // Stateless tickets, as multiconn-server has them.
    config.ticketer = Ticketer::new().map_err(|error| explain(error.to_string()))?;
    Ok(Arc::new(config))
}

/// A client that `resumes` sessions, or makes a full handshake for each connection.
pub(crate) fn client_config(resumes: bool) -> Outcome<Arc<ClientConfig>> {
    let provider = CryptoProvider { cipher_suites: vec![TLS13_AES_256_GCM_SHA384], ..default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate));
    let mut config = builder.with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
