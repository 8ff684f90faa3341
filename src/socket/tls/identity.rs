//! A certificate chain with its private key, from files or self-signed.

use super::{certificate_name, files, unsupported};
use crate::error::Error;
use crate::escape;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

/// The names in every self-signed certificate, besides the requested ones.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The source of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// PEM files.
    Files {
        /// The certificate, followed by its intermediates.
        certificate: PathBuf,
        /// The private key, without a passphrase.
        key: PathBuf,
    },
    /// A new self-signed certificate at each start.
    SelfSigned {
        /// The host names and addresses of the certificate, besides those of the loopback interface.
        names: Vec<String>,
    },
}

/// A certificate chain and its key.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Identity {
    pub(super) fn is_self_signed(&self) -> bool {
        matches!(self, Self::SelfSigned { .. })
    }

    /// Reads the files, or generates a certificate.
    pub(super) fn load(&self) -> Result<Credentials, Error> {
        match self {
            Self::Files { certificate, key: path } => {
                let (chain, key) = (files::certificates(certificate)?, files::private_key(path)?);
                unsupported::check_key(&key).map_err(|reason| files::refused(path, &reason))?;
                Ok(Credentials { chain, key })
            }
            Self::SelfSigned { names } => sign_own(names),
        }
    }

    /// The error for credentials that do not work together.
    pub(super) fn credentials_error(&self, error: &rustls::Error) -> Error {
        match self {
            Self::Files { certificate, key } => {
                let mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
                let reason = if mismatch {
                    format!("the key does not belong to the certificate in {}", escape::path(certificate))
                } else {
                    format!("it cannot be used with {}: {error}", escape::path(certificate))
                };
                files::refused(key, &reason)
            }
            Self::SelfSigned { .. } => unsigned(&error.to_string()),
        }
    }
}

fn sign_own(names: &[String]) -> Result<Credentials, Error> {
    // An empty host (every interface) is not a name.
    let asked = names.iter().map(|name| certificate_name(name)).filter(|name| is_name(name)).map(str::to_owned);
    let mut all: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).chain(asked).collect();
    all.dedup();
    let made = rcgen::generate_simple_self_signed(all).map_err(|error| unsigned(&error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok(Credentials { chain: vec![made.cert.into()], key: key.into() })
}

fn is_name(text: &str) -> bool {
    let is_address = text.parse::<IpAddr>().is_ok();
    is_address
        || (!text.is_empty()
            && text.chars().all(|character| character.is_ascii_alphanumeric() || "-.".contains(character)))
}

fn unsigned(reason: &str) -> Error {
    Error::config(&["tls.identity"], format!("cannot make a certificate: {reason}; give files with one and its key"))
}

/// The SHA-256 fingerprint of a certificate, in the format of `openssl x509 -fingerprint -sha256`.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let mut text = String::new();
    for (index, byte) in digest.as_ref().iter().enumerate() {
        let separator = if index == 0 { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Identity, fingerprint};

    #[test]
    fn a_self_signed_certificate_accepts_any_listen_host() {
        for name in ["", "127.0.0.1", "::1", "[::1]", "fe80::1%lo", "example.org", "münchen.example"] {
            let credentials = Identity::SelfSigned { names: vec![name.to_owned()] }.load();
            assert_eq!(credentials.expect("it is made").chain.len(), 1, "{name}");
        }
    }

    #[test]
    fn a_fingerprint_has_the_format_of_openssl() {
        let text = fingerprint(&b"abc".to_vec().into());
        assert!(text.starts_with("BA:78:16:BF:") && text.len() == 95, "{text}");
    }
}
