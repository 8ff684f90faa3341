//! Times at the far edge of what an option takes: the server serves, and a signal ends it.

use super::support::{Program, connect};
use super::{server, still_serves};
use rustix::process::Signal;
use std::io::Write;
use std::time::{Duration, Instant};

/// The longest time that an option takes: 2^64 nanoseconds, but for some minutes.
const LONGEST: &str = "5124095h";

/// Milliseconds that 32 bits do not hold.
const MORE_THAN_32_BITS: &str = "1193h3m";

/// How long a server may go on after a signal, on a busy machine.
const MOMENT: Duration = Duration::from_secs(8);

/// Ends a server that has something in flight: the first signal lets that come to its end, the second does not.
#[track_caller]
fn end_at_once(mut server: Program) {
    let since = Instant::now();
    server.signal(Signal::TERM);
    server.await_stderr("once more ends at once");
    let exit = server.terminate();
    assert_eq!(exit.told(&["panicked"]), 0, "{exit:#?}");
    assert!(since.elapsed() < MOMENT, "it went on for {:?}", since.elapsed());
}

#[test]
fn a_time_of_centuries_is_waited_for() {
    for time in [LONGEST, MORE_THAN_32_BITS] {
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
        // Nothing comes back before that.
        let server = server(&["-vv", "--reply-delay", time]);
        let mut peer = connect(server.address());
        peer.write_all(b"hello").unwrap();
        server.await_stderr("Received ");
        end_at_once(server);
    }
}

#[test]
fn a_time_of_next_to_nothing_is_one() {
    let mut server =
        server(&["--write-timeout", "1ns", "--drain-timeout", "1ns", "--spin", "1ns", "--reply-delay", "1ns"]);
    still_serves(&mut server);
}
