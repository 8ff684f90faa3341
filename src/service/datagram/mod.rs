//! What a server says to one datagram: the counterpart of [`Service`](super::Service) where there are no connections.
//!
//! A responder sees one request and room for one reply. It never learns who asks: an address in a datagram is easily
//! forged, and whatever it sends may go to somebody who asked for nothing. For the same reason a reply is
//! not longer than its request, or than [`SHORT_REPLY_BYTES`], unless the server was told otherwise: nobody can use it to
//! multiply what he throws at others.

mod builtin;
#[cfg(test)]
mod tests;

pub use builtin::{
    ChargenDatagram, DaytimeDatagram, DiscardDatagram, EchoDatagram, FixedDatagram, ReverseDatagram, TimeDatagram,
    UpperDatagram,
};

use std::time::Instant;

/// How long a reply may be whatever the request, in bytes: the day and time of RFC 867 in its usual form is as long, and its
/// request is empty. With the headers of IP and UDP that is 54 bytes for 28, not quite twice.
pub const SHORT_REPLY_BYTES: usize = 26;

/// Answers datagrams, one at a time.
///
/// ```
/// use multiconn::service::{Reply, Responder};
/// use std::time::Instant;
///
/// /// Says how long the request was.
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
    /// Writes the reply to `request`, if there is one; returns whether there is. An empty reply is one, too.
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, now: Instant) -> bool;
}

/// Room for one reply.
#[derive(Debug)]
pub struct Reply<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where the reply ends at the latest.
    end: usize,
    /// Something did not fit.
    was_too_long: bool,
}

impl<'a> Reply<'a> {
    /// A reply of at most `limit` bytes, which is appended to `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        let end = bytes.len() + limit;
        Self { bytes, end, was_too_long: false }
    }

    /// How many bytes can still be written, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.end - self.bytes.len()
    }

    /// Writes as many of `bytes` as there is room for, and returns how many that were.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }

    /// Writes all of `bytes` if there is room for all of them, else nothing; returns whether it did.
    #[must_use = "when there was no room, nothing was written"]
    pub fn write_whole(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.room();
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        self.was_too_long |= !fits;
        fits
    }

    /// Whether [`write_whole`](Self::write_whole) had no room for something.
    #[must_use]
    pub fn was_too_long(&self) -> bool {
        self.was_too_long
    }
}
