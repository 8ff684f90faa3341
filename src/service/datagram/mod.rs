//! Datagram services: the counterpart of [`Service`](super::Service) without connections.
//!
//! A responder gets one request and room for one reply. It never learns the source address: that is easily forged, and
//! a reply may reach a host that sent no request. For the same reason a reply is not longer than its request or
//! [`SHORT_REPLY_BYTES`], unless the server is configured otherwise. So the server cannot be used to amplify traffic.

mod builtin;
#[cfg(test)]
mod tests;

pub use builtin::{
    ChargenDatagram, DaytimeDatagram, DiscardDatagram, EchoDatagram, FixedDatagram, ReverseDatagram, TimeDatagram,
    UpperDatagram,
};

use std::time::Instant;

/// Size in bytes that any reply may have, regardless of its request. It is that of the usual form of the RFC 867 date
/// and time, whose request is empty. With IP and UDP headers that is 54 bytes for 28, less than twice.
pub const SHORT_REPLY_BYTES: usize = 26;

/// Answers datagrams, one at a time.
///
/// ```
/// use multiconn::service::{Reply, Responder};
/// use std::time::Instant;
///
/// /// Replies with the length of the request.
/// struct Length;
///
/// impl Responder for Length {
///     fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
///         reply.write(request.len().to_string().as_bytes());
///         true
///     }
/// }
/// ```
pub trait Responder {
    /// Writes the reply to `request` and returns whether there is one. An empty reply counts as one.
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, now: Instant) -> bool;
}

/// Buffer for one reply.
#[derive(Debug)]
pub struct Reply<'a> {
    bytes: &'a mut Vec<u8>,
    /// Maximum length of `bytes` after the reply.
    end: usize,
    /// A reply did not fit.
    was_too_long: bool,
}

impl<'a> Reply<'a> {
    /// Creates a reply of at most `limit` bytes that is appended to `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        let end = bytes.len() + limit;
        Self { bytes, end, was_too_long: false }
    }

    /// Number of bytes that can still be written.
    #[must_use]
    pub fn room(&self) -> usize {
        self.end - self.bytes.len()
    }

    /// Writes as many of `bytes` as there is room for, and returns their number.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }

    /// Writes all of `bytes`, or nothing if they do not fit; returns whether they were written.
    #[must_use = "nothing was written if there was no room"]
    pub fn write_whole(&mut self, bytes: &[u8]) -> bool {
        let has_room = bytes.len() <= self.room();
        if has_room {
            self.bytes.extend_from_slice(bytes);
        }
        self.was_too_long |= !has_room;
        has_room
    }

    /// Whether [`write_whole`](Self::write_whole) had too little room.
    #[must_use]
    pub fn was_too_long(&self) -> bool {
        self.was_too_long
    }
}
