//! Extreme durations of time options: the server serves, and a signal ends it.

use super::support::{Program, connect};
use super::{server, still_serves};
use rustix::process::Signal;
use std::io::Write;

/// About the longest duration that an option accepts: 2^64 nanoseconds minus a few minutes.
const MAX_DURATION: &str = "5124095h";

/// A duration whose milliseconds exceed 32 bits.
const OVER_32_BITS: &str = "1193h3m";

/// Ends a server with work in progress: the first signal lets that finish, the second does not.
#[track_caller]
fn end_at_once(mut server: Program) {
    server.signal(Signal::TERM);
    server.await_stderr("repeat the signal to exit now");
    let exit = server.terminate();
    assert_eq!(exit.told(&["panicked"]), 0, "{exit:#?}");
}

#[test]
fn a_duration_of_centuries_works() {
    for time in [MAX_DURATION, OVER_32_BITS] {
        for option in [
            "--idle-timeout",
            "--first-byte-timeout",
            "--write-timeout",
            "--lifetime",
            "--drain-timeout",
            "--hand-over-timeout",
            "--spin",
        ] {
            still_serves(&mut server(&["--workers", "1", option, time]));
        }
        // No reply arrives before that.
        let server = server(&["-vv", "--reply-delay", time, "--drain-timeout", "1h"]);
        let mut peer = connect(server.address());
        peer.write_all(b"hello").unwrap();
        server.await_stderr("Received ");
        end_at_once(server);
    }
}

#[test]
fn a_duration_of_almost_zero_works() {
    let mut server =
        server(&["--write-timeout", "1ns", "--drain-timeout", "1ns", "--spin", "1ns", "--reply-delay", "1ns"]);
    still_serves(&mut server);
}
