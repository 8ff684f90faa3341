//! Built-in datagram services: echo, discard, chargen, daytime, time, upper case, reverse, fixed reply.

use super::{Reply, Responder};
use crate::service::chargen::{LINE_BYTES, PATTERN};
use crate::service::{WallClock, reverse, upper};
use crate::units::{format_day_and_time, seconds_since_1900};
use std::sync::Arc;
use std::time::Instant;

/// Maximum size of a datagram in RFC 864, in bytes.
const CHARGEN_BYTES: usize = 512;

/// Sends every datagram back (RFC 862).
#[derive(Debug, Default, Clone, Copy)]
pub struct EchoDatagram;

impl Responder for EchoDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write(request);
        true
    }
}

/// Drops every datagram (RFC 863).
#[derive(Debug, Default, Clone, Copy)]
pub struct DiscardDatagram;

impl Responder for DiscardDatagram {
    fn respond(&mut self, _request: &[u8], _reply: &mut Reply<'_>, _now: Instant) -> bool {
        false
    }
}

/// Sends the same reply to every datagram, such as `Message received`.
#[derive(Debug, Clone)]
pub struct FixedDatagram(pub Arc<[u8]>);

impl Responder for FixedDatagram {
    fn respond(&mut self, _request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write_whole(&self.0)
    }
}

/// Sends the pattern of RFC 864, starting one line later with each datagram. The RFC allows up to 512 characters for
/// any request; here the reply is never longer than the request.
#[derive(Debug, Default, Clone, Copy)]
pub struct ChargenDatagram {
    /// Position in the pattern.
    position: usize,
}

impl Responder for ChargenDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        let mut remaining = request.len().min(CHARGEN_BYTES);
        let mut position = self.position;
        while remaining > 0 && reply.room() > 0 {
            let rest = &PATTERN[position..];
            remaining -= reply.write(&rest[..rest.len().min(remaining)]);
            position = 0;
        }
        self.position = (self.position + LINE_BYTES) % PATTERN.len();
        true
    }
}

/// Sends the date and time in UTC (RFC 867): `Sun Nov  6 08:49:37 1994` and a line end. This is shorter than the TCP
/// format, because the source address may be forged and the reply must not amplify traffic.
#[derive(Debug, Clone, Copy)]
pub struct DaytimeDatagram(pub WallClock);

impl Responder for DaytimeDatagram {
    fn respond(&mut self, _request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write_whole(format!("{}\r\n", format_day_and_time(self.0().as_secs())).as_bytes())
    }
}

/// Sends the seconds since 1900 as four bytes in network byte order (RFC 868). The value wraps to 0 in 2036.
#[derive(Debug, Clone, Copy)]
pub struct TimeDatagram(pub WallClock);

impl Responder for TimeDatagram {
    fn respond(&mut self, _request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write_whole(&seconds_since_1900(self.0().as_secs()).to_be_bytes())
    }
}

/// Sends every datagram back in upper case. If the result is longer, as for `ΐ`, the reply ends with the last character
/// that fits.
#[derive(Debug, Default, Clone, Copy)]
pub struct UpperDatagram;

impl Responder for UpperDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        let mut text = Vec::with_capacity(request.len());
        upper(request, &mut text);
        let mut end = text.len().min(reply.room());
        // Continuation bytes of UTF-8 (RFC 3629).
        while end > 0 && text.get(end).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
            end -= 1;
        }
        reply.write(&text[..end]);
        true
    }
}

/// Sends every datagram back with its characters reversed. Invalid UTF-8 sequences keep their byte order.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReverseDatagram;

impl Responder for ReverseDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        let mut text = Vec::with_capacity(request.len());
        reverse(request, &mut text);
        reply.write(&text);
        true
    }
}
