//! A run that is interrupted: the report so far is printed, and the exit status says so.

use super::fake::Fake;
use super::silence::black_hole;
use super::support::{Program, await_until};
use super::{Outcome, client, server};
use rustix::process::Signal;

const INTERRUPTED: Option<i32> = Some(130);

/// Waits until the log has told the same of each of ten connections: a line that ends with `end` and the number.
#[track_caller]
fn await_ten(client: &Program, end: &str) {
    for number in 1..=10 {
        // The end, because the first is not the tenth.
        let end = format!("{end}{number}");
        await_until(&end, || client.stderr().iter().any(|line| line.ends_with(&end)));
    }
}

/// Sends `signal` to a client that holds ten connections whose only message has come back on each.
fn interrupt_held(held: Program, signal: Signal) -> Outcome {
    await_ten(&held, "Received b'hi' from connection ");
    held.signal(signal);
    Outcome::of(held)
}

#[test]
fn while_connections_are_held() {
    const HELD: [&str; 7] = ["-c", "10", "--message", "hi", "--hold", "1m", "-vv"];
    let server = server();
    for signal in [Signal::INT, Signal::TERM] {
        for workers in ["1", "2"] {
            let there = client(server.address(), &[&HELD[..], &["--workers", workers]].concat());
            let embedded = Program::client(&[&HELD[..], &["--embedded", "--workers", workers]].concat());
            for held in [there, embedded] {
                let outcome = interrupt_held(held, signal);
                assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
                assert!(outcome.verdict.ends_with(": interrupted"), "{outcome:#?}");
                assert_eq!((outcome.opened, outcome.messages), (10, (10, 10)), "{outcome:#?}");
                // They had done what they were opened for.
                assert_eq!(outcome.failed, 0, "{outcome:#?}");
            }
        }
    }
}

#[test]
fn while_replies_are_awaited() {
    let fake = Fake::new(|_, stream| Some(stream));
    for signal in [Signal::INT, Signal::TERM] {
        let waiting = client(fake.address(), &["10", "-vv"]);
        await_ten(&waiting, " to connection ");
        waiting.signal(signal);
        let outcome = Outcome::of(waiting);
        assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
        assert_eq!(outcome.causes, [("interrupted".to_owned(), 10)].into());
    }
}

#[test]
fn while_connecting() {
    let Some((_listener, _filling, address)) = black_hole() else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let waiting = client(address, &["10", "-v", "--max-connecting", "4", "--connect-timeout", "1m"]);
        waiting.await_stderr("Starting connection 4 ");
        waiting.signal(signal);
        let outcome = Outcome::of(waiting);
        assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
        assert_eq!((outcome.wanted, outcome.opened, outcome.messages), (10, 0, (0, 0)), "{outcome:#?}");
        // Those that were not tried yet have not failed.
        assert_eq!(outcome.causes, [("interrupted".to_owned(), 4)].into());
    }
}

/// A run without an end is ended by a signal, however busy it is.
#[test]
fn while_messages_flow() {
    let server = server();
    let busy = ["10", "--messages", "18446744073709551615", "--pipeline", "10", "-v"];
    let client = client(server.address(), &busy);
    client.await_stderr("Starting connection 10 ");
    client.signal(Signal::INT);
    let outcome = Outcome::of(client);
    assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
    assert_eq!(outcome.mismatch_count, 0, "{outcome:#?}");
}
