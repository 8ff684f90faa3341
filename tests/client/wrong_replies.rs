//! Echo mismatches: the report names the connection, the offset and the received bytes.

use super::fake_server::{Fake, answer, answer_and_end, answer_and_reset, echo, take};
use super::support::bytes;
use super::{Outcome, TUTORIAL_BYTES, client, outcome};
use std::io::Write;
use std::net::TcpStream;

const WRONG: &str = "echo mismatch";

/// A server that reads the tutorial's two messages and replies with the result of `twist`, in one piece.
fn twisted(twist: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Fake {
    Fake::new(move |_, mut stream| {
        let sent = take(&mut stream, TUTORIAL_BYTES);
        answer(stream, &twist(sent));
        None
    })
}

/// Expects one connection to fail at `offset`, with these bytes expected and received.
#[track_caller]
fn expect_mismatch(fake: &Fake, arguments: &[&str], offset: u64, expected: &str, received: &str) -> Outcome {
    expect_told(fake, arguments, format!("connection 1, byte {offset}: expected {expected}, received {received}"))
}

/// Expects one connection to fail with `count` bytes after everything sent had come back.
#[track_caller]
fn expect_surplus(fake: &Fake, arguments: &[&str], count: usize, received: &str) -> Outcome {
    let more = format!("received {count} bytes more than it sent: {received}");
    expect_told(fake, arguments, format!("connection 1, byte {TUTORIAL_BYTES}: {more}"))
}

#[track_caller]
fn expect_told(fake: &Fake, arguments: &[&str], told: String) -> Outcome {
    let outcome = outcome(fake.address(), arguments);
    outcome.expect_failures(&[(WRONG, 1)]);
    assert_eq!((outcome.mismatch_count, &outcome.mismatches), (1, &vec![told]), "{outcome:#?}");
    outcome
}

#[test]
fn one_wrong_byte() {
    for (offset, expected, received) in [
        (0, "b'Message 1 from c'", "b'\\xb2essage 1 from c'"),
        (21, "b'.'", "b'\\xd1Message 2 from '"),
        (22, "b'Message 2 from c'", "b'\\xb2essage 2 from c'"),
        (30, "b'2 from client.'", "b'\\xcd from client.'"),
        (43, "b'.'", "b'\\xd1'"),
    ] {
        let fake = twisted(move |mut sent| {
            sent[offset] = !sent[offset];
            sent
        });
        let outcome = expect_mismatch(&fake, &[], offset as u64, expected, received);
        assert_eq!(outcome.messages.1, offset as u64 / 22, "{outcome:#?}");
    }
}

/// Far into a stream of messages, over several reads: the offset counts from the connection's first byte.
#[test]
fn one_wrong_byte_in_three_megabytes() {
    const WHERE: u64 = 2_345_678;
    let fake = Fake::new(|_, mut stream| {
        let mut sent = take(&mut stream, 3 << 20);
        sent[usize::try_from(WHERE).unwrap()] ^= 1;
        answer(stream, &sent);
        None
    });
    let arguments = ["--size", "1000", "--messages", "3146", "--reply-timeout", "20s"];
    let outcome = outcome(fake.address(), &arguments);
    outcome.expect_failures(&[(WRONG, 1)]);
    assert!(outcome.mismatches[0].starts_with(&format!("connection 1, byte {WHERE}: ")), "{outcome:#?}");
    assert_eq!(outcome.messages.1, WHERE / 1000, "{outcome:#?}");
}

#[test]
fn repeated_message() {
    let fake = twisted(|sent| [&sent[..22], &sent].concat());
    expect_mismatch(&fake, &[], 30, "b'2 from client.'", "b'1 from client.Me'");
}

#[test]
fn lost_message() {
    let fake = twisted(|sent| sent[22..].to_vec());
    expect_mismatch(&fake, &[], 8, "b'1 from client.'", "b'2 from client.'");
}

#[test]
fn messages_in_the_wrong_order() {
    let fake = twisted(|sent| [&sent[22..], &sent[..22]].concat());
    expect_mismatch(&fake, &[], 8, "b'1 from client.'", "b'2 from client.Me'");
}

#[test]
fn more_than_was_sent() {
    let fake = twisted(|sent| [&sent, &b"extra"[..]].concat());
    let told = expect_surplus(&fake, &[], 5, "b'extra'");
    assert_eq!((told.messages, told.bytes), ((2, 2), (44, 44)), "{told:#?}");
}

/// All replies are correct, and more bytes follow much later: a held connection is still verified.
#[test]
fn more_than_was_sent_while_connections_are_held() {
    let fake = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, TUTORIAL_BYTES);
        stream.write_all(&sent).unwrap();
        // The client has opened its last connection, so it holds this one.
        std::thread::sleep(std::time::Duration::from_millis(50));
        answer(stream, b"more");
        None
    });
    expect_surplus(&fake, &["--hold", "1h"], 4, "b'more'");
}

#[test]
fn a_server_that_speaks_first() {
    let fake = Fake::new(|_, stream| {
        answer(stream, b"220 Welcome\r\n");
        None
    });
    expect_mismatch(&fake, &[], 0, "b'Message 1 from c'", "b'220 Welcome\\r\\n'");
}

/// Ten mismatches are shown, all are counted.
#[test]
fn mismatches_on_many_connections() {
    let fake = twisted(|sent| sent.to_ascii_uppercase());
    for workers in ["1", "2"] {
        let outcome = outcome(fake.address(), &["50", "--workers", workers]);
        outcome.expect_failures(&[(WRONG, 50)]);
        assert_eq!((outcome.mismatch_count, outcome.mismatches.len()), (50, 10), "{outcome:#?}");
        assert!(outcome.mismatches.iter().all(|told| told.contains(", byte 1: expected b'essage 1 from cl'")));
    }
}

#[test]
fn bytes_of_another_connection() {
    let fake = Fake::new(|index, mut stream| {
        take(&mut stream, 1000);
        answer(stream, &bytes(index as u64, 1000));
        None
    });
    let outcome = outcome(fake.address(), &["--size", "1000", "-c", "5"]);
    outcome.expect_failures(&[(WRONG, 5)]);
}

#[test]
fn close_in_the_middle() {
    for (answered, messages) in [(0, 0), (10, 0), (22, 1), (30, 1), (43, 1)] {
        let fake = Fake::new(move |_, mut stream| {
            let sent = take(&mut stream, TUTORIAL_BYTES);
            answer_and_end(stream, &sent[..answered]);
            None
        });
        let outcome = outcome(fake.address(), &[]);
        outcome.expect_failures(&[("closed early by peer", 1)]);
        assert_eq!((outcome.opened, outcome.bytes), (1, (44, answered as u64)), "{outcome:#?}");
        assert_eq!(outcome.messages, (2, messages), "{outcome:#?}");
    }
}

/// While connections are held, a close is early even after the last reply.
#[test]
fn close_while_connections_are_held() {
    let fake = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, TUTORIAL_BYTES);
        answer_and_end(stream, &sent);
        None
    });
    outcome(fake.address(), &["3", "--hold", "1h"]).expect_failures(&[("closed early by peer", 3)]);
}

#[test]
fn a_reset() {
    for answered in [0, 30] {
        let fake = Fake::new(move |_, mut stream| {
            let sent = take(&mut stream, TUTORIAL_BYTES);
            answer_and_reset(stream, &sent[..answered]);
            None
        });
        outcome(fake.address(), &["5"]).expect_failures(&[("reset by peer", 5)]);
    }
}

/// Sixty connections, of which forty fail in four ways. A failure does not affect other connections.
#[test]
fn failures_of_all_kinds_add_up() {
    fn serve(index: usize, mut stream: TcpStream) -> Option<TcpStream> {
        if index.is_multiple_of(3) {
            echo(stream);
            return None;
        }
        let mut sent = take(&mut stream, TUTORIAL_BYTES);
        match index % 12 {
            1 | 7 | 10 => answer_and_end(stream, &sent[..30]),
            2 | 8 => answer_and_reset(stream, b""),
            4 | 5 => {
                sent[40] = b'?';
                answer(stream, &sent);
            }
            _ => return Some(stream),
        }
        None
    }
    // In parallel: each of them waits for the reply timeout.
    let runs = ["1", "2"].map(|workers| {
        let fake = Fake::new(serve);
        let run = client(fake.address(), &["60", "--reply-timeout", "6s", "--workers", workers]);
        (fake, run)
    });
    for (_fake, run) in runs {
        let outcome = Outcome::of(run);
        let causes =
            [("closed early by peer", 15), ("reset by peer", 10), (WRONG, 10), ("timed out waiting for a reply", 5)];
        outcome.expect_failures(&causes);
        assert_eq!((outcome.requested, outcome.opened, outcome.failed), (60, 60, 40), "{outcome:#?}");
        assert_eq!(outcome.messages, (120, 20 * 2 + 15 + 10), "{outcome:#?}");
        assert_eq!(outcome.bytes, (60 * 44, 20 * 44 + 15 * 30 + 10 * 22), "{outcome:#?}");
    }
}

/// A message with a wrong reply is not lost.
#[test]
fn a_wrong_reply_is_not_reported_as_lost() {
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 5);
        answer(stream, b"hellO");
        None
    });
    let arguments = ["--message", "hello", "-c", "1", "--duration", "1s", "--json", "-"];
    let exit = client(fake.address(), &arguments).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert_eq!(exit.stderr[0], "FAILED: 1 of 1 message was answered wrongly", "{exit:#?}");
    let line = "  unanswered   0 timed out, 0 pending, 0 lost, 1 wrong".to_owned();
    assert!(exit.stderr.contains(&line), "{exit:#?}");
}
