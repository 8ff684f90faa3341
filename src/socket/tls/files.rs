//! Certificates and keys from PEM files (RFC 7468). Every error names the file and the expected content.

use crate::error::{Error, in_words};
use crate::escape;
use memchr::memmem;
use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The largest file, in bytes. All authorities of a typical system take about 220 KB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The UTF-8 byte order mark, which Windows editors write. In front of a "-----BEGIN" line it would hide that line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// All certificates of a file, in file order; at least one.
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
        // PKCS#8 marks encryption in the "-----BEGIN" line, older formats in a line "Proc-Type: 4,ENCRYPTED" (RFC 1421).
        _ if holds(&bytes, "ENCRYPTED PRIVATE KEY") || holds(&bytes, "4,ENCRYPTED") => refused(
            path,
            "the key is encrypted with a passphrase; decrypt it with `openssl pkey -in FILE -out key.pem`, and give key.pem",
        ),
        pem::Error::NoItemsFound => {
            refused(path, "there is no private key in it; give a PEM file with a line \"-----BEGIN PRIVATE KEY-----\"")
        }
        error => damaged(path, &error),
    })
}

/// The authorities of a file as trust anchors, and their certificates.
pub(super) fn authorities(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let mut roots = RootCertStore::empty();
    let certificates = certificates(path)?;
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| refused(path, &format!("a certificate in it cannot be used: {error}")))?;
    }
    Ok((roots, certificates))
}

/// The error for an unusable file.
pub(super) fn refused(path: &Path, reason: &str) -> Error {
    Error::File { path: escape::path(path).to_string(), reason: reason.to_owned(), source: None }
}

/// Reads a regular file of at most [`MAX_BYTES`]. A pipe or a device could block the caller, or never end.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let io = |error: io::Error| Error::File {
        path: escape::path(path).to_string(),
        reason: in_words(&error),
        source: Some(error),
    };
    // Before it is opened: opening a FIFO waits for its other end (fifo(7)).
    let kind = fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() {
        let kind = match kind {
            _ if kind.is_fifo() => "a FIFO",
            _ if kind.is_dir() => "a folder",
            _ if kind.is_socket() => "a socket",
            _ => "a device",
        };
        return Err(refused(path, &format!("it is {kind}; give a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused(path, "it is larger than 1 MiB; give a PEM file of certificates or a key"));
    }
    match bytes.as_slice() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Err(refused(path, "it is UTF-16 text; convert it with `iconv -f UTF-16 -t ASCII FILE`"))
        }
        // DER begins with a SEQUENCE whose length takes one byte or two (X.690).
        [0x30, 0x81 | 0x82, ..] => Err(refused(
            path,
            "it looks like DER, not PEM; convert it with `openssl x509 -inform der -in FILE -out cert.pem`, or a key with \
             `openssl pkey`",
        )),
        _ => Ok(without_byte_order_marks(&bytes)),
    }
}

/// Removes all byte order marks: files joined by cat(1) can have several.
fn without_byte_order_marks(bytes: &[u8]) -> Vec<u8> {
    let (mut text, mut start) = (Vec::with_capacity(bytes.len()), 0);
    for mark in memmem::find_iter(bytes, BYTE_ORDER_MARK) {
        text.extend_from_slice(&bytes[start..mark]);
        start = mark + BYTE_ORDER_MARK.len();
    }
    text.extend_from_slice(&bytes[start..]);
    text
}

fn lacks_certificate(path: &Path) -> Error {
    refused(path, "there is no certificate in it; give a PEM file with a line \"-----BEGIN CERTIFICATE-----\"")
}

fn damaged(path: &Path, error: &pem::Error) -> Error {
    refused(path, &format!("it is no PEM file, or a damaged one ({error}); it should hold \"-----BEGIN\" lines"))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memmem::find(bytes, text.as_bytes()).is_some()
}
