//! The small services over datagrams.

use super::{Reply, Responder};
use crate::service::reverse;
use crate::units::{format_day_and_time, seconds_since_1900};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the time since 1970 is asked for (time(7)): a service has no clock of its own.
pub type UnixClock = fn() -> Duration;

/// The longest datagram of RFC 864, in bytes.
const CHARGEN_BYTES: usize = 512;

/// The characters of RFC 864's pattern, the printable ones of ASCII, and how many stand on a line.
const FIRST_CHARACTER: u8 = b' ';
const CHARACTERS: usize = 95;
const LINE_CHARACTERS: usize = 72;

/// Sends back every datagram (RFC 862).
#[derive(Debug, Default, Clone, Copy)]
pub struct EchoDatagram;

impl Responder for EchoDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write(request);
        true
    }
}

/// Throws every datagram away (RFC 863).
#[derive(Debug, Default, Clone, Copy)]
pub struct DiscardDatagram;

impl Responder for DiscardDatagram {
    fn respond(&mut self, _request: &[u8], _reply: &mut Reply<'_>, _now: Instant) -> bool {
        false
    }
}

/// Says the same to every datagram, such as `Message received`.
#[derive(Debug, Clone)]
pub struct FixedDatagram(pub Arc<[u8]>);

impl Responder for FixedDatagram {
    fn respond(&mut self, _request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write_whole(&self.0)
    }
}

/// Says the pattern of RFC 864, a line further with each datagram. The RFC has up to 512 characters for any request;
/// here the reply is no longer than the request.
#[derive(Debug, Default, Clone, Copy)]
pub struct ChargenDatagram {
    line: usize,
}

impl Responder for ChargenDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        let mut left = request.len().min(CHARGEN_BYTES);
        let mut line = self.line;
        while left > 0 && reply.room() > 0 {
            let mut text: Vec<u8> = (line..line + LINE_CHARACTERS).map(character).collect();
            text.extend_from_slice(b"\r\n");
            left -= reply.write(&text[..text.len().min(left)]);
            line += 1;
        }
        self.line = (self.line + 1) % CHARACTERS;
        true
    }
}

fn character(index: usize) -> u8 {
    // The remainder is below 95.
    #[allow(clippy::cast_possible_truncation)]
    let offset = (index % CHARACTERS) as u8;
    FIRST_CHARACTER + offset
}

/// Says the day and the time in UTC to every datagram (RFC 867): `Sun Nov  6 08:49:37 1994` and a line end.
#[derive(Debug, Clone, Copy)]
pub struct DaytimeDatagram(pub UnixClock);

impl Responder for DaytimeDatagram {
    fn respond(&mut self, _request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write_whole(format!("{}\r\n", format_day_and_time(self.0().as_secs())).as_bytes())
    }
}

/// Says the seconds since 1900 to every datagram, as four bytes in network byte order (RFC 868). They begin at 0 again in
/// 2036.
#[derive(Debug, Clone, Copy)]
pub struct TimeDatagram(pub UnixClock);

impl Responder for TimeDatagram {
    fn respond(&mut self, _request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write_whole(&seconds_since_1900(self.0().as_secs()).to_be_bytes())
    }
}

/// Sends back every datagram in upper case, as Unicode has it. What is no UTF-8 stays as it is. Where upper case is longer,
/// as that of `ΐ`, the reply ends with the last character that fits.
#[derive(Debug, Default, Clone, Copy)]
pub struct UpperDatagram;

impl Responder for UpperDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        for chunk in request.utf8_chunks() {
            for character in chunk.valid().chars() {
                let upper: String = character.to_uppercase().collect();
                if !reply.write_whole(upper.as_bytes()) {
                    return true;
                }
            }
            reply.write(chunk.invalid());
        }
        true
    }
}

/// Sends back every datagram with its characters in reverse order. What is no UTF-8 stays as it is.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReverseDatagram;

impl Responder for ReverseDatagram {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        let mut reversed = Vec::with_capacity(request.len());
        reverse(request, &mut reversed);
        reply.write(&reversed);
        true
    }
}
