//! Corrupt echo: servers that corrupt one message of a long stream. The pattern identifies every position, so clients
//! locate each corruption, in a closed loop and with pipelining.

use super::client;
use super::fake_server::Fake;
use super::load::Run;
use super::support::uninterrupted;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

const SIZE: usize = 64;

/// About 64 KB on each connection; one message of them is corrupted.
const MESSAGES: u64 = 1000;

/// How a server echoes the message with this number.
type Corruption = fn(u64, [u8; SIZE]) -> Vec<u8>;

/// Echoes message by message, each as changed by `corruption`.
fn serve(mut stream: TcpStream, corruption: Corruption) {
    let mut message = [0; SIZE];
    for number in 0.. {
        if uninterrupted(|| stream.read_exact(&mut message)).is_err() {
            break;
        }
        if stream.write_all(&corruption(number, message)).is_err() {
            break;
        }
    }
}

/// The second of three connections accepted gets the corrupt echo, whatever its number.
fn corrupt_server(corruption: Corruption) -> Fake {
    Fake::new(move |index, stream| {
        serve(stream, if index == 1 { corruption } else { |_, message| message.to_vec() });
        None
    })
}

/// Expects that one of three connections failed; returns the offset that the report names.
#[track_caller]
fn mismatch_offset(run: &Run) -> u64 {
    assert_eq!(run.code, Some(1), "{run:?}");
    let results = &run.results;
    assert_eq!((results.errors.len(), results.errors.get("mismatch")), (1, Some(&1)), "{run:?}");
    assert_eq!((results.connections.completed, results.connections.failed), (2, 1), "{run:?}");
    assert_eq!((results.mismatches.count, results.mismatches.first.len()), (1, 1), "{run:?}");
    let words = &results.mismatches.first[0];
    let (connection, rest) = words.strip_prefix("connection ").unwrap().split_once(", byte ").unwrap();
    assert!((1..=3).contains(&connection.parse::<u32>().unwrap()), "{words}");
    rest.split_once(':').unwrap().0.parse().unwrap()
}

/// Runs in a closed loop, with a few messages in flight, and with all of them.
fn runs_against(corruption: Corruption) -> Vec<Run> {
    let start = |pipeline: &[&str]| {
        let fake = corrupt_server(corruption);
        let count = MESSAGES.to_string();
        let work = ["-c", "3", "--size", "64", "--messages", &count, "--reply-timeout", "6s", "--json", "-"];
        let program = client(fake.address(), &[&work[..], pipeline].concat());
        (fake, program)
    };
    let ways: [&[&str]; 3] = [&["--pipeline", "1"], &["--pipeline", "7"], &[]];
    ways.map(start).into_iter().map(|(_fake, program)| Run::of(program)).collect()
}

/// One flipped bit in a million bytes.
#[test]
fn one_bit_in_a_million_bytes() {
    const WHERE: usize = 765_432;
    let wrong: Corruption = |number, mut message| {
        let begin = usize::try_from(number).unwrap() * SIZE;
        if let Some(byte) = WHERE.checked_sub(begin).and_then(|mismatch_offset| message.get_mut(mismatch_offset)) {
            *byte ^= 0x10;
        }
        message.to_vec()
    };
    let fake = corrupt_server(wrong);
    let work = ["-c", "3", "--size", "64", "--messages", "15625", "--pipeline", "100", "--json", "-"];
    let run = Run::of(client(fake.address(), &work));
    assert_eq!(mismatch_offset(&run), WHERE as u64, "{run:?}");
    assert_eq!(run.results.messages.answered, 2 * 15_625 + (WHERE / SIZE) as u64, "{run:?}");
}

/// The first byte of a pattern's message differs from that of another in 255 of 256 cases, so the offset lies within
/// the first word.
#[track_caller]
fn expect_found(corruption: Corruption, message: u64) {
    for run in runs_against(corruption) {
        let begin = message * SIZE as u64;
        assert!((begin..begin + 8).contains(&mismatch_offset(&run)), "{run:?}");
        assert_eq!(run.results.messages.answered, 2 * MESSAGES + message, "{run:?}");
    }
}

#[test]
fn repeated_message() {
    expect_found(|number, message| if number == 400 { [message, message].concat() } else { message.to_vec() }, 401);
}

/// A closed loop times out: it never receives a wrong byte.
#[test]
fn lost_message() {
    let lost: Corruption = |number, message| if number == 500 { Vec::new() } else { message.to_vec() };
    let runs = runs_against(lost);
    for run in &runs[1..] {
        assert!((32_000..32_008).contains(&mismatch_offset(run)), "{run:?}");
        assert_eq!(run.results.messages.answered, 2 * MESSAGES + 500, "{run:?}");
    }
    let run = &runs[0];
    assert_eq!((run.code, run.results.errors.get("reply_timeout")), (Some(1), Some(&1)), "{run:?}");
    assert_eq!((run.results.messages.answered, run.results.messages.timed_out), (2 * MESSAGES + 500, 1), "{run:?}");
}

/// Swaps two messages: one is delayed until the other has arrived, so the client has to send both.
#[test]
fn swapped_messages() {
    let fake = Fake::new(|_, mut stream| {
        let mut both = [0; 2 * SIZE];
        for pair in 0..MESSAGES / 2 {
            if uninterrupted(|| stream.read_exact(&mut both)).is_err() {
                break;
            }
            if pair == 100 {
                both.rotate_left(SIZE);
            }
            if stream.write_all(&both).is_err() {
                break;
            }
        }
        None
    });
    for pipeline in ["2", "9", "1000000"] {
        let work = ["-c", "3", "--size", "64", "--messages", "1000", "--pipeline", pipeline, "--json", "-"];
        let run = Run::of(client(fake.address(), &work));
        assert_eq!((run.code, run.results.errors.get("mismatch")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!(run.results.messages.answered, 3 * 200, "{run:?}");
        for words in &run.results.mismatches.first {
            assert!((0..8).any(|byte| words.contains(&format!(", byte {}: ", 200 * SIZE + byte))), "{words}");
        }
    }
}

/// The reply is correct, but belongs to another connection.
#[test]
fn echo_of_another_connection() {
    let (give, taken) = std::sync::mpsc::channel::<TcpStream>();
    let taken = std::sync::Mutex::new(Some(taken));
    let give = std::sync::Mutex::new(give);
    let fake = Fake::new(move |index, stream| {
        if index == 1 {
            give.lock().unwrap().send(stream).unwrap();
            return None;
        }
        let other = taken.lock().unwrap().take()?.recv().ok()?;
        let crossed: Vec<JoinHandle<()>> = [(&stream, &other), (&other, &stream)]
            .map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
            .map(|(mut from, mut to)| std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to))))
            .into();
        for thread in crossed {
            thread.join().unwrap();
        }
        None
    });
    let run = Run::of(client(fake.address(), &["-c", "2", "--size", "64", "--json", "-"]));
    assert_eq!(run.code, Some(1), "{run:?}");
    // The other connection may have lost its peer by then.
    assert!(run.results.errors.contains_key("mismatch") && run.results.messages.answered == 0, "{run:?}");
}

/// No two connections, and no two rounds of one connection, send the same bytes.
#[test]
fn every_connection_sends_different_bytes() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(HashSet::new()));
    let keep = std::sync::Arc::clone(&seen);
    let fake = Fake::new(move |_, mut stream| {
        let mut message = [0; SIZE];
        while uninterrupted(|| stream.read_exact(&mut message)).is_ok() {
            keep.lock().unwrap().insert(message);
            stream.write_all(&message).ok()?;
        }
        None
    });
    let work = ["-c", "5", "--size", "64", "--messages", "12", "--reconnect-every", "4", "--json", "-"];
    let run = Run::of(client(fake.address(), &work));
    assert_eq!((run.code, run.results.connections.opened), (Some(0), 15), "{run:?}");
    assert_eq!(seen.lock().unwrap().len(), 60);
}
