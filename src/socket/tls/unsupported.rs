//! Detection of unsupported keys and certificates, for error messages that name their type.

use super::provider;
use memchr::memmem;
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, IpAddr, PrivateKeyDer, ServerName};
use std::net::Ipv4Addr;

/// Key types that the ring provider can sign with, and a command that generates such a key.
const SUPPORTED: &str = "supported are ECDSA P-256 and P-384, Ed25519, and RSA of 2,048 to 4,096 bits, such as \
                         `openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out key.pem` makes";

/// The object identifiers of key types and curves, in the encoding of a key file (X.690, section 8.19).
const KEY_TYPES: [(&[u8], &str); 6] = [
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "an ECDSA P-521 key"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a], "an ECDSA secp256k1 key"),
    (&[0x06, 0x03, 0x2b, 0x65, 0x71], "an Ed448 key"),
    (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "a DSA key"),
    (&[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "an RSA-PSS key"),
    (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "an ECDSA key on this curve"),
];

/// Checks that TLS can sign with `key`. The error names its type and the supported ones.
pub(super) fn check_key(key: &PrivateKeyDer<'static>) -> Result<(), String> {
    match provider().key_provider.load_private_key(key.clone_key()) {
        Ok(_) => Ok(()),
        Err(_) => Err(match key_type(key) {
            Some(name) => format!("{name} is not supported; {SUPPORTED}"),
            None => format!("the key is damaged or of an unsupported type; {SUPPORTED}"),
        }),
    }
}

/// Whether `certificate` names no host that a client could match.
pub(super) fn lacks_names(certificate: &CertificateDer<'_>) -> bool {
    let any = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED)));
    let verified = ParsedCertificate::try_from(certificate).and_then(|parsed| verify_server_name(&parsed, &any));
    matches!(verified, Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
        if presented.is_empty())
}

fn key_type(key: &PrivateKeyDer<'_>) -> Option<&'static str> {
    let der = key.secret_der();
    if let Some((_, name)) = KEY_TYPES.iter().find(|(identifier, _)| memmem::find(der, identifier).is_some()) {
        return Some(name);
    }
    match rsa_modulus_bits(der)? {
        ..2048 => Some("an RSA key of fewer than 2,048 bits"),
        4097.. => Some("an RSA key of more than 4,096 bits"),
        _ => None,
    }
}

/// Bits of the modulus of an RSA key: the integer that follows version 0 (RFC 8017, section A.1.2), encoded with a
/// leading zero byte (X.690, section 8.3).
fn rsa_modulus_bits(der: &[u8]) -> Option<usize> {
    let version_and_tag = [0x02, 0x01, 0x00, 0x02];
    let length = &der[memmem::find(der, &version_and_tag)? + version_and_tag.len()..];
    let bytes = match *length {
        [0x81, bytes, ..] => usize::from(bytes),
        [0x82, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
        _ => return None,
    };
    Some(bytes.saturating_sub(1) * 8)
}
