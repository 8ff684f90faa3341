//! What went wrong with a peer's TLS, in words that logs and reports share.

use rustls::{AlertDescription, CertificateError, Error, HandshakeType, InvalidMessage};
use std::fmt;

/// A server whose only key is of a kind that the client does not know, such as ECDSA P-521, says the same (alert 40).
const INCOMPATIBLE: &str = "no TLS version, cipher suite or kind of key in common";

/// Why a TLS connection could not be set up, or did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsFault {
    /// What came is no TLS at all.
    PlainText,
    /// What came is a request of HTTP.
    Http,
    /// Our own handshake came back: an echo server without TLS.
    Echoed,
    /// The connection ended before the handshake did.
    Left,
    /// Nobody who is trusted vouches for the server's certificate.
    UnknownIssuer,
    /// No trusted authority issued the client's certificate.
    UnknownClientIssuer,
    /// The peer's certificate is of the past.
    Expired,
    /// The peer's certificate is of the future.
    NotYetValid,
    /// The peer's certificate is for another name.
    WrongName,
    /// The server's certificate names no host: it has no Subject Alternative Name (RFC 9525, section 6.3).
    NoNames,
    /// A signature cannot be verified that the peer's certificate, or the key in it, has made.
    BadSignature,
    /// The peer's certificate is wrong in another way.
    BadCertificate,
    /// The peer showed no certificate.
    NoCertificate,
    /// The two have no version, cipher suite or signature in common.
    Incompatible,
    /// The two have no application protocol in common (ALPN).
    NoProtocol,
    /// The peer gave up and said why (RFC 8446, section 6.2; the number is that of the alert).
    Alert(u8),
    /// What came was damaged or forged on its way.
    Damaged,
    /// The peer broke the rules of the protocol.
    Misbehaved,
    /// The peer's handshake is larger than is accepted of a peer that is not known yet.
    TooLarge,
    /// Something failed on this side.
    Own,
}

impl TlsFault {
    /// What the first bytes of a peer show, if that is not TLS.
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
            _ => Self::Own,
        }
    }

    /// The same fault of a client, as its server puts it.
    pub(super) fn of_client(self) -> Self {
        if self == Self::UnknownIssuer { Self::UnknownClientIssuer } else { self }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            // Self-signed, and not among those that are trusted.
            error if is_authority(error) => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => Self::NoNames,
            // A signature by an RSA key of 1,024 bits is a bad one to rustls.
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::BadSignature,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            _ => Self::BadCertificate,
        }
    }

    /// Whether no TLS was spoken at all.
    #[must_use]
    pub fn is_plain_text(self) -> bool {
        matches!(self, Self::PlainText | Self::Http)
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::PlainText => "the peer speaks plain text, not TLS",
            Self::Http => "the peer speaks HTTP without TLS (https would have been right)",
            Self::Echoed => "the peer sends the handshake back: it speaks plain text, not TLS",
            Self::Left => "the peer left during the handshake",
            Self::UnknownIssuer => "nobody trusted vouches for the peer's certificate (see --tls-ca)",
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
            Self::NoCertificate => "the peer showed no certificate",
            Self::Incompatible => INCOMPATIBLE,
            Self::NoProtocol => "no application protocol in common (ALPN)",
            Self::Alert(number) => return write_alert(out, *number),
            Self::Damaged => "what came in was damaged on its way",
            Self::Misbehaved => "the peer broke the rules of TLS",
            Self::TooLarge => "the peer's handshake is too large",
            Self::Own => "TLS failed on this side",
        })
    }
}

/// Whether a certificate was only refused because it is that of an authority. The type of that error is not public.
pub(super) fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// What the peer's alert means to a person.
fn write_alert(out: &mut fmt::Formatter<'_>, number: u8) -> fmt::Result {
    let words = match AlertDescription::from(number) {
        AlertDescription::CertificateRequired => "it wants a certificate (see --tls-cert)",
        AlertDescription::UnknownCA => "it does not know who vouches for our certificate",
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
            "what reached it was damaged on its way"
        }
        _ => return write!(out, "the peer gave up the TLS connection (alert {number})"),
    };
    write!(out, "the peer gave up: {words}")
}

impl std::error::Error for TlsFault {}

#[cfg(test)]
mod tests {
    use super::TlsFault;

    #[test]
    fn what_is_no_tls_is_seen_by_its_first_bytes() {
        assert_eq!(TlsFault::of_opening(&[22, 3, 1]), None);
        assert_eq!(TlsFault::of_opening(b""), None);
        assert_eq!(TlsFault::of_opening(b"GET / HTTP/1.1\r\n"), Some(TlsFault::Http));
        assert_eq!(TlsFault::of_opening(b"hi"), Some(TlsFault::PlainText));
    }

    #[test]
    fn an_alert_is_put_into_words() {
        assert!(TlsFault::Alert(116).to_string().contains("--tls-cert"));
        assert!(TlsFault::Alert(80).to_string().contains("alert 80"));
    }
}
