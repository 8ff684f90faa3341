//! Expectation of an echo: every byte comes back as it was sent.

use super::Checked;
use super::generated_bytes::Pattern;
use crate::python_repr::BytesRepr;
use crate::units::format_counted;
use std::fmt;

/// Maximum number of expected and of received bytes in a mismatch.
const SHOWN_BYTES: usize = 16;

/// Beginning of a TLS server's reply to plain text: a record of type 21 and version 3.x (RFC 8446, section 5.1).
const TLS_ALERT: [u8; 2] = [21, 3];

/// Echo mismatch: the first difference between sent and received bytes of a connection.
#[derive(Debug)]
pub(in crate::client) struct Mismatch {
    /// Number of the connection, counted from 1.
    connection: u32,
    /// Number of correct bytes received before, over the whole connection.
    offset: u64,
    /// The first expected bytes; empty if none were expected.
    expected: Vec<u8>,
    /// The first received bytes.
    received: Vec<u8>,
    /// Number of bytes received after everything sent had come back; 0 when other bytes were expected.
    surplus_bytes: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, received) = (BytesRepr(&self.expected), BytesRepr(&self.received));
        write!(out, "connection {}, byte {}: ", self.connection, self.offset)?;
        if self.surplus_bytes > 0 {
            let surplus = format_counted(self.surplus_bytes as u64, "byte");
            write!(out, "received {surplus} more than it sent: {received}")?;
        } else {
            write!(out, "expected {expected}, received {received}")?;
        }
        if self.received.starts_with(&TLS_ALERT) {
            out.write_str(" (a TLS alert: the server expects TLS)")?;
        }
        Ok(())
    }
}

/// Where the bytes of a message come from.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) enum Source<'a> {
    /// The pattern of the connection's stream.
    Pattern(Pattern),
    /// These bytes, from the first one that has not come back.
    Bytes(&'a [u8]),
}

/// The bytes of one message that were sent and have not come back.
#[derive(Debug)]
pub(in crate::client) struct Unverified<'a> {
    /// Number of the connection.
    pub(in crate::client) connection: u32,
    /// Offset of the first byte in the connection's stream.
    pub(in crate::client) offset: u64,
    /// Number of bytes.
    pub(in crate::client) len: usize,
    /// Whether the message ends with them.
    pub(in crate::client) ends_message: bool,
    pub(in crate::client) source: Source<'a>,
}

impl Unverified<'_> {
    /// Compares the beginning of the received bytes with the bytes sent. They must not be ahead of what was sent.
    pub(in crate::client) fn check(&self, received: &[u8]) -> Result<Checked, Mismatch> {
        let count = self.len.min(received.len());
        let same = match self.source {
            Source::Pattern(pattern) => pattern.difference(self.offset, &received[..count]),
            Source::Bytes(bytes) => first_difference(&bytes[..count], &received[..count]),
        };
        match same {
            None if count > 0 => {
                Ok(Checked::Correct { bytes: count, ends_message: self.ends_message && count == self.len })
            }
            same => Err(self.mismatch(same.unwrap_or(0), received)),
        }
    }

    /// Describes a difference after `same` equal bytes.
    fn mismatch(&self, same: usize, received: &[u8]) -> Mismatch {
        let shown = (self.len - same).min(SHOWN_BYTES);
        let offset = self.offset + same as u64;
        let expected = match self.source {
            Source::Pattern(pattern) => pattern_bytes(pattern, offset, shown),
            Source::Bytes(bytes) => bytes[same..same + shown].to_vec(),
        };
        Mismatch {
            connection: self.connection,
            offset,
            expected,
            received: received[same..received.len().min(same + SHOWN_BYTES)].to_vec(),
            surplus_bytes: if self.len == 0 { received.len() } else { 0 },
        }
    }
}

/// Index of the first byte that differs.
pub(super) fn first_difference(expected: &[u8], received: &[u8]) -> Option<usize> {
    if expected == received {
        return None;
    }
    expected.iter().zip(received).position(|(expected, received)| expected != received)
}

fn pattern_bytes(pattern: Pattern, offset: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    pattern.fill(offset, &mut bytes);
    bytes
}
