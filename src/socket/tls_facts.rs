//! What a TLS handshake negotiated, for services.

/// What was negotiated in the handshake of a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts<'a> {
    /// The protocol version, such as `TLS 1.3`.
    pub version: &'static str,
    /// The application protocol (ALPN, RFC 7301); none if none was negotiated.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client asked for (SNI, RFC 6066, section 3); none on the client's side.
    pub server_name: Option<&'a str>,
    /// The peer's own certificate (DER), after it was verified; none if it presented none.
    pub peer_certificate: Option<&'a [u8]>,
}
