//! Causes of failures: their names in results files, and their texts in logs and reports.

use super::{errno_name, in_words, in_words_with_errno};
use std::io::{Error, ErrorKind};

/// A server whose only key is of a type that the client does not support, such as ECDSA P-521, sends the same alert (40).
const INCOMPATIBLE: &str = "no TLS version, cipher suite or key type in common";

/// Texts of failures of connections and messages, by name.
const CAUSES: [(&str, &str); 23] = [
    ("refused", "connection refused: nothing listens there"),
    ("connect_timeout", "timed out connecting"),
    ("handshake_timeout", "timed out in the TLS handshake"),
    ("truncated", "truncated by peer: the connection ended without close_notify"),
    ("reply_timeout", "timed out waiting for a reply"),
    ("send_timeout", "timed out sending: the server accepts no bytes"),
    ("reset", "reset by peer"),
    ("closed_early", "closed early by peer"),
    ("mismatch", "echo mismatch"),
    ("wrong_reply", "wrong reply"),
    ("wrong_status", "unexpected HTTP status"),
    ("wrong_text", "reply without the expected text"),
    ("closed_after_reply", "closed by peer before a second reply: it serves one message per connection"),
    ("bad_frame", "a reply violates the framing"),
    ("incomplete_frame", "closed by peer in the middle of a reply"),
    ("local_io", "the input could not be read, or the output could not be written"),
    ("unsendable", "a line of the input was not sent, because the framing cannot carry it"),
    (
        "out_of_ports",
        "out of ports: no local port is free for this target; widen net.ipv4.ip_local_port_range, or connect from more \
         source addresses",
    ),
    ("needs_broadcast", "permission denied (sending to a broadcast address is not enabled)"),
    ("no_group_route", "the network cannot be reached: name the interface of the group, such as eth0"),
    ("out_of_descriptors", "too many open files: raise the limit on descriptors (ulimit -n)"),
    ("not_open_at_start", "not open at the start of the load"),
    ("stopped", "interrupted"),
];

/// Texts of TLS faults, by name without the prefix `tls_`.
const TLS: [(&str, &str); 19] = [
    ("plain_text", "the peer speaks plain text, not TLS"),
    ("http", "the peer speaks HTTP without TLS (use https)"),
    ("echoed", "the peer echoes the handshake: it speaks plain text, not TLS"),
    ("closed_early", "the peer closed the connection during the handshake"),
    (
        "unknown_issuer",
        "no trusted authority issued the peer's certificate (trust its CA, or leave it unverified in a test)",
    ),
    ("unknown_client_issuer", "no trusted authority issued the client's certificate (see the client CAs)"),
    ("expired", "the peer's certificate has expired"),
    ("not_yet_valid", "the peer's certificate is not valid yet"),
    ("wrong_name", "the peer's certificate is for another name (see the server name)"),
    (
        "no_names",
        "the peer's certificate has no Subject Alternative Name, and a name in its Common Name is not used (make one with \
         `openssl req -x509 … -addext subjectAltName=DNS:localhost,IP:127.0.0.1`)",
    ),
    (
        "bad_signature",
        "the peer's certificate has a wrong signature, or a key that is not supported (supported are ECDSA P-256 and \
         P-384, Ed25519, and RSA of 2,048 to 8,192 bits)",
    ),
    ("bad_certificate", "the peer's certificate cannot be used"),
    ("no_certificate", "the peer sent no certificate"),
    ("incompatible", INCOMPATIBLE),
    ("no_protocol", "no application protocol in common (ALPN)"),
    ("corrupted", "the received data was damaged in transit"),
    ("protocol_violation", "the peer violated the TLS protocol"),
    ("too_large", "the peer's handshake is too large"),
    ("internal", "TLS failed on this side"),
];

/// Names of the kinds of system errors that a connection can meet.
const KINDS: [(&str, ErrorKind); 18] = [
    ("addr_in_use", ErrorKind::AddrInUse),
    ("addr_not_available", ErrorKind::AddrNotAvailable),
    ("broken_pipe", ErrorKind::BrokenPipe),
    ("connection_aborted", ErrorKind::ConnectionAborted),
    ("connection_refused", ErrorKind::ConnectionRefused),
    ("connection_reset", ErrorKind::ConnectionReset),
    ("host_unreachable", ErrorKind::HostUnreachable),
    ("invalid_data", ErrorKind::InvalidData),
    ("invalid_input", ErrorKind::InvalidInput),
    ("network_down", ErrorKind::NetworkDown),
    ("network_unreachable", ErrorKind::NetworkUnreachable),
    ("not_connected", ErrorKind::NotConnected),
    ("not_found", ErrorKind::NotFound),
    ("out_of_memory", ErrorKind::OutOfMemory),
    ("permission_denied", ErrorKind::PermissionDenied),
    ("timed_out", ErrorKind::TimedOut),
    ("unexpected_eof", ErrorKind::UnexpectedEof),
    ("unsupported", ErrorKind::Unsupported),
];

/// Prefixes of the names of causes of datagrams, and their texts.
const PREFIXES: [(&str, &str); 3] =
    [("not_sent_", "not sent: "), ("undelivered_", "undelivered: "), ("not_received_", "not received: ")];

/// Largest errno of Linux (errno(3)).
const MAX_ERRNO: i32 = 133;

/// Name of a kind of system errors, such as `host_unreachable`.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("other_error", |(name, _)| name)
}

/// Text of the cause with this name. An unknown name is its own text.
pub(crate) fn cause_in_words(name: &str) -> String {
    if let Some(text) = known_cause(name) {
        return text;
    }
    let prefixed = PREFIXES.iter().find_map(|(prefix, text)| Some((*text, name.strip_prefix(prefix)?)));
    let (prefix, name) = prefixed.unwrap_or(("", name));
    let text = known_cause(name).unwrap_or_else(|| name.replace('_', " "));
    format!("{prefix}{text}")
}

/// Text of the cause with this name, for a report of datagrams or of connections.
pub(crate) fn reported_cause(name: &str, is_datagram: bool) -> String {
    if is_datagram && name == "refused" { "refused: nothing listens there".to_owned() } else { cause_in_words(name) }
}

/// Text of the TLS fault with this name, which has no prefix `tls_`.
pub(crate) fn tls_cause(name: &str) -> Option<String> {
    let number = name.strip_prefix("alert_").and_then(|number| number.parse().ok());
    number.map(alert).or_else(|| find(&TLS, name).map(str::to_owned))
}

fn known_cause(name: &str) -> Option<String> {
    if let Some(text) = find(&CAUSES, name) {
        return Some(text.to_owned());
    }
    if let Some(text) = name.strip_prefix("tls_").and_then(tls_cause) {
        return Some(format!("TLS: {text}"));
    }
    if let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) {
        return Some(in_words(&(*kind).into()));
    }
    let errno = (1..=MAX_ERRNO).find(|errno| errno_name(*errno).eq_ignore_ascii_case(name));
    errno.map(|errno| in_words_with_errno(&Error::from_raw_os_error(errno)))
}

fn find(texts: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    texts.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Text of the peer's alert with this number (RFC 8446, section 6).
fn alert(number: u8) -> String {
    let words = match number {
        20 | 50 | 51 => "the data it received was damaged in transit",
        40 | 70 | 71 => INCOMPATIBLE,
        42 | 43 | 46 => "it does not accept our certificate",
        45 => "our certificate has expired",
        48 => "it does not know the issuer of our certificate",
        112 => "it is not the server of that name",
        116 => "it requires a certificate",
        120 => "no application protocol in common (ALPN)",
        _ => return format!("the peer ended the TLS connection (alert {number})"),
    };
    format!("the peer ended the connection: {words}")
}
