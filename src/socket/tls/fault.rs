//! TLS faults of a peer, in the words that logs and reports share.

use rustls::{AlertDescription, CertificateError, Error, HandshakeType, InvalidMessage};
use std::fmt;

/// A server whose only key is of a type that the client does not support, such as ECDSA P-521, sends the same alert (40).
const INCOMPATIBLE: &str = "no TLS version, cipher suite or key type in common";

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
    /// All faults except alerts.
    pub(crate) const ALL: [Self; 19] = [
        Self::PlainText,
        Self::Http,
        Self::Echoed,
        Self::ClosedEarly,
        Self::UnknownIssuer,
        Self::UnknownClientIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::NoNames,
        Self::BadSignature,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::Incompatible,
        Self::NoProtocol,
        Self::Damaged,
        Self::Misbehaved,
        Self::TooLarge,
        Self::Internal,
    ];

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
        out.write_str(match self {
            Self::PlainText => "the peer speaks plain text, not TLS",
            Self::Http => "the peer speaks HTTP without TLS (use https)",
            Self::Echoed => "the peer echoes the handshake: it speaks plain text, not TLS",
            Self::ClosedEarly => "the peer closed the connection during the handshake",
            Self::UnknownIssuer => "no trusted authority issued the peer's certificate (see --tls-ca, or --tls-insecure for a test)",
            Self::UnknownClientIssuer => "no trusted authority issued the client's certificate (see --tls-client-ca)",
            Self::Expired => "the peer's certificate has expired",
            Self::NotYetValid => "the peer's certificate is not valid yet",
            Self::WrongName => "the peer's certificate is for another name (see --server-name)",
            Self::NoNames => {
                "the peer's certificate has no Subject Alternative Name, and a name in its Common Name is not used (make one with \
                 `openssl req -x509 … -addext subjectAltName=DNS:localhost,IP:127.0.0.1`)"
            }
            Self::BadSignature => {
                "the peer's certificate has a wrong signature, or a key that is not supported (supported are ECDSA P-256 and \
                 P-384, Ed25519, and RSA of 2,048 to 8,192 bits)"
            }
            Self::BadCertificate => "the peer's certificate cannot be used",
            Self::NoCertificate => "the peer sent no certificate",
            Self::Incompatible => INCOMPATIBLE,
            Self::NoProtocol => "no application protocol in common (ALPN)",
            Self::Alert(number) => return write_alert(out, *number),
            Self::Damaged => "the received data was damaged in transit",
            Self::Misbehaved => "the peer violated the TLS protocol",
            Self::TooLarge => "the peer's handshake is too large",
            Self::Internal => "TLS failed on this side",
        })
    }
}

/// Whether a certificate was refused only because it is an authority's. The type of that error is not public.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Explains the peer's alert.
fn write_alert(out: &mut fmt::Formatter<'_>, number: u8) -> fmt::Result {
    let words = match AlertDescription::from(number) {
        AlertDescription::CertificateRequired => "it requires a certificate (see --tls-cert)",
        AlertDescription::UnknownCA => "it does not know the issuer of our certificate",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it does not accept our certificate",
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => INCOMPATIBLE,
        AlertDescription::NoApplicationProtocol => "no application protocol in common (ALPN)",
        AlertDescription::UnrecognisedName => "it is not the server of that name (see --server-name)",
        AlertDescription::BadRecordMac | AlertDescription::DecryptError | AlertDescription::DecodeError => {
            "the data it received was damaged in transit"
        }
        _ => return write!(out, "the peer ended the TLS connection (alert {number})"),
    };
    write!(out, "the peer ended the connection: {words}")
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
