//! TLS faults of a peer, in the words that logs and reports share.

use crate::error::{name_of, tls_cause};
use rustls::{CertificateError, Error, HandshakeType, InvalidMessage};
use std::fmt;

/// Why a TLS handshake or connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsFault {
    /// The input is not TLS.
    PlainText,
    /// The input is an HTTP request.
    Http,
    /// Our own handshake came back: the peer is an echo server without TLS.
    Echoed,
    /// The peer closed the connection before the handshake was complete.
    ClosedEarly,
    /// No trusted authority issued the server's certificate.
    UnknownIssuer,
    /// No trusted authority issued the client's certificate.
    UnknownClientIssuer,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate is for another name.
    WrongName,
    /// The server's certificate names no host: it has no Subject Alternative Name (RFC 9525, section 6.3).
    NoNames,
    /// A signature of the peer's certificate, or one made with its key, cannot be verified.
    BadSignature,
    /// The peer's certificate is invalid for another reason.
    BadCertificate,
    /// The peer sent no certificate.
    NoCertificate,
    /// No TLS version, cipher suite or signature scheme in common.
    Incompatible,
    /// No application protocol in common (ALPN).
    NoProtocol,
    /// The peer ended the connection with this alert (RFC 8446, section 6.2).
    Alert(u8),
    /// The input was corrupted or forged in transit.
    Damaged,
    /// The peer violated the protocol.
    Misbehaved,
    /// The peer's handshake exceeds the limit for unauthenticated peers.
    TooLarge,
    /// An error on this side.
    Internal,
}

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
            Error::DecryptError | Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => Self::Damaged,
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::Misbehaved,
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

    /// Whether the peer does not speak TLS at all.
    #[must_use]
    pub fn is_plain_text(self) -> bool {
        matches!(self, Self::PlainText | Self::Http)
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = name_of(self);
        out.write_str(&tls_cause(&name).unwrap_or(name))
    }
}

/// Whether a certificate was refused only because it is an authority's. The type of that error is not public.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

impl std::error::Error for TlsFault {}

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

    #[test]
    fn alerts_are_explained() {
        assert!(TlsFault::Alert(116).to_string().contains("--tls-cert"));
        assert!(TlsFault::Alert(80).to_string().contains("alert 80"));
    }
}
