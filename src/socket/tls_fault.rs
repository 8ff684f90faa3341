//! TLS faults of a peer: their names, and their texts in logs and reports.

use crate::error::tls_cause;
use std::borrow::Cow;
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
    Corrupted,
    /// The peer violated the protocol.
    ProtocolViolation,
    /// The peer's handshake exceeds the limit for unauthenticated peers.
    TooLarge,
    /// An error on this side.
    Internal,
}

impl TlsFault {
    /// Stable name for scripts, such as `unknown_issuer` or `alert_40`.
    pub(crate) fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::PlainText => "plain_text",
            Self::Http => "http",
            Self::Echoed => "echoed",
            Self::ClosedEarly => "closed_early",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownClientIssuer => "unknown_client_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongName => "wrong_name",
            Self::NoNames => "no_names",
            Self::BadSignature => "bad_signature",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::Incompatible => "incompatible",
            Self::NoProtocol => "no_protocol",
            Self::Alert(number) => return Cow::Owned(format!("alert_{number}")),
            Self::Corrupted => "corrupted",
            Self::ProtocolViolation => "protocol_violation",
            Self::TooLarge => "too_large",
            Self::Internal => "internal",
        })
    }

    /// Whether the peer does not speak TLS at all.
    #[must_use]
    pub fn is_plain_text(self) -> bool {
        matches!(self, Self::PlainText | Self::Http)
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        out.write_str(&tls_cause(&name).unwrap_or(name.into_owned()))
    }
}

impl std::error::Error for TlsFault {}

#[cfg(test)]
mod tests {
    use super::TlsFault;

    #[test]
    fn alerts_are_explained() {
        assert!(TlsFault::Alert(116).to_string().contains("certificate"));
        assert!(TlsFault::Alert(80).to_string().contains("alert 80"));
    }
}
