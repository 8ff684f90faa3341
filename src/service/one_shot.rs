//! One-shot services: send a short text to each client and close. Input is discarded.
//!
//! The time is passed to them; no service reads a clock.

use super::{Context, Input, Output, Service, Wait};
use crate::units::{format_daytime, format_time_of_day, seconds_since_1900};
use std::time::Duration;

/// The greeting of the tutorial's server.
const GREETING: &str = "Hello, client! Welcome to the server.";

/// Returns the time since 1970-01-01 UTC.
pub type WallClock = fn() -> Duration;

/// Sends a short text, then closes. The text is sent as a whole, so it must fit the output buffer.
#[derive(Debug)]
pub struct OneShot<F>(F);

impl<F: Fn() -> W, W: AsRef<[u8]>> OneShot<F> {
    /// Sends the text that `make` returns when the connection opens.
    pub fn new(make: F) -> Self {
        Self(make)
    }
}

impl<F: Fn() -> W, W: AsRef<[u8]>> Service for OneShot<F> {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        if output.write_whole((self.0)().as_ref()) { Wait::Close } else { Wait::Writable }
    }
}

/// Greets each client, without a line end, and closes, like the tutorial's server.
#[must_use]
pub fn greet() -> impl Service + use<> {
    OneShot::new(|| GREETING)
}

/// Sends date and time in one line (RFC 867): `Friday, November 20, 2026 21:45:01-UTC`.
#[must_use]
pub fn daytime(clock: WallClock) -> impl Service + use<> {
    OneShot::new(move || format_daytime(clock().as_secs()))
}

/// Sends the seconds since 1900-01-01 as a 32-bit integer in network byte order (RFC 868).
#[must_use]
pub fn time(clock: WallClock) -> impl Service + use<> {
    OneShot::new(move || seconds_since_1900(clock().as_secs()).to_be_bytes())
}

/// Sends the time of day (UTC) as `HH:MM:SS` without a line end, like the tutorial's server.
#[must_use]
pub fn clock(clock: WallClock) -> impl Service + use<> {
    OneShot::new(move || format_time_of_day(clock().as_secs()))
}
