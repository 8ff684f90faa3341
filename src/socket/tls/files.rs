//! Certificates and keys out of PEM files (RFC 7468). Every complaint names the file and says what should be in it.

use crate::error::{Error, in_words};
use crate::escape;
use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// All certificates of a file, in its order; one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read(path)?).map(|found| found.map(CertificateDer::into_owned)).collect();
    match certificates {
        Ok(found) if found.is_empty() => Err(lacks_certificate(path)),
        Ok(found) => Ok(found),
        Err(error) => Err(damaged(path, &error)),
    }
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if holds(&bytes, "ENCRYPTED PRIVATE KEY") => refused(
            path,
            "the key is locked by a passphrase; give one without, such as openssl pkey -in FILE -out key.pem writes",
        ),
        pem::Error::NoItemsFound => {
            refused(path, "there is no private key in it; give a PEM file with a line \"-----BEGIN PRIVATE KEY-----\"")
        }
        error => damaged(path, &error),
    })
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| refused(path, &format!("a certificate in it cannot be used: {error}")))?;
    }
    Ok(roots)
}

/// A complaint about a file.
pub(super) fn refused(path: &Path, reason: &str) -> Error {
    Error::File { path: escape::path(path).to_string(), reason: reason.to_owned() }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| refused(path, &in_words(&error)))
}

fn lacks_certificate(path: &Path) -> Error {
    refused(path, "there is no certificate in it; give a PEM file with a line \"-----BEGIN CERTIFICATE-----\"")
}

fn damaged(path: &Path, error: &pem::Error) -> Error {
    refused(path, &format!("it is no PEM file, or a damaged one ({error}); it should hold \"-----BEGIN\" lines"))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
