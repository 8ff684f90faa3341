//! TLS faults of a peer: their names, and their texts in logs and reports.

use crate::error::{name_of, tls_cause};
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

impl std::error::Error for TlsFault {}

#[cfg(test)]
mod tests {
    use super::TlsFault;

    #[test]
    fn alerts_are_explained() {
        assert!(TlsFault::Alert(116).to_string().contains("--tls-cert"));
        assert!(TlsFault::Alert(80).to_string().contains("alert 80"));
    }
}
