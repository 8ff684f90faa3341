//! Classification of TLS faults: a peer's first bytes, and the errors of rustls.

use crate::socket::tls_fault::TlsFault;
use rustls::{CertificateError, Error, HandshakeType, InvalidMessage};

impl TlsFault {
    /// The fault that a peer's first bytes show, if they are not TLS.
    pub(super) fn of_opening(bytes: &[u8]) -> Option<Self> {
        const METHODS: [&[u8]; 7] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT "];
        // The content types of records (RFC 8446, section 5.1).
        match bytes.first()? {
            20..=24 => None,
            _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Some(Self::Http),
            _ => Some(Self::PlainText),
        }
    }

    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::NoApplicationProtocol => Self::NoProtocol,
            Error::AlertReceived(alert) => Self::Alert(u8::from(*alert)),
            Error::InappropriateHandshakeMessage { got_type: HandshakeType::ClientHello, .. } => Self::Echoed,
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                Self::PlainText
            }
            Error::DecryptError | Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => Self::Corrupted,
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::ProtocolViolation,
            _ => Self::Internal,
        }
    }

    /// The same fault when a client caused it, in the words of a server.
    pub(super) fn of_client(self) -> Self {
        if self == Self::UnknownIssuer { Self::UnknownClientIssuer } else { self }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            // Self-signed and not trusted.
            error if is_authority(error) => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => Self::NoNames,
            // rustls reports a signature by a 1,024-bit RSA key as a bad signature.
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::BadSignature,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            _ => Self::BadCertificate,
        }
    }
}

/// Whether a certificate was refused only because it is an authority's.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use super::TlsFault;

    #[test]
    fn plain_text_is_recognized_by_its_first_bytes() {
        assert_eq!(TlsFault::of_opening(&[22, 3, 1]), None);
        assert_eq!(TlsFault::of_opening(b""), None);
        assert_eq!(TlsFault::of_opening(b"GET / HTTP/1.1\r\n"), Some(TlsFault::Http));
        assert_eq!(TlsFault::of_opening(b"hi"), Some(TlsFault::PlainText));
    }
}
