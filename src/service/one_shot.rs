//! Services that say a few words to everybody who comes, and close. What the peer says is thrown away.
//!
//! What time it is, they are told: no service looks at a clock.

use super::{Input, Output, Service, Wait};
use crate::units::{format_daytime, format_time_of_day, seconds_since_1900};
use std::time::{Duration, Instant};

/// The words of the tutorial's server.
const GREETING: &str = "Hello, client! Welcome to the server.";

/// Tells the time, as the time since the beginning of 1970 (UTC).
pub type WallClock = fn() -> Duration;

/// Says a few words, then closes. They go out whole, so they must fit the output buffer.
#[derive(Debug)]
pub struct OneShot<F>(F);

impl<F: Fn() -> W, W: AsRef<[u8]>> OneShot<F> {
    /// Says what `make` gives when the connection opens.
    pub fn new(make: F) -> Self {
        Self(make)
    }
}

impl<F: Fn() -> W, W: AsRef<[u8]>> Service for OneShot<F> {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
        if output.write_whole((self.0)().as_ref()) { Wait::Close } else { Wait::Writable }
    }
}

/// Greets each client, without an end of line, and closes, as the tutorial's server does.
#[must_use]
pub fn greet() -> impl Service + use<> {
    OneShot::new(|| GREETING)
}

/// Says date and time in one line (RFC 867): `Friday, November 20, 2026 21:45:01-UTC`.
#[must_use]
pub fn daytime(clock: WallClock) -> impl Service + use<> {
    OneShot::new(move || format_daytime(clock().as_secs()))
}

/// Says the seconds since the beginning of 1900 as 32 bits, the most significant byte first (RFC 868).
#[must_use]
pub fn time(clock: WallClock) -> impl Service + use<> {
    OneShot::new(move || seconds_since_1900(clock().as_secs()).to_be_bytes())
}

/// Says the time of day (UTC) as `HH:MM:SS`, without an end of line, as the tutorial's server does.
#[must_use]
pub fn clock(clock: WallClock) -> impl Service + use<> {
    OneShot::new(move || format_time_of_day(clock().as_secs()))
}
