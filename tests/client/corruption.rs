//! Servers that echo a long stream, and lie once. Every byte of a pattern says where it belongs, so that each lie is found
//! where it is, by clients that wait for each echo and by those that do not.

use super::client;
use super::fake_server::Fake;
use super::load::Run;
use super::support::uninterrupted;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

const SIZE: usize = 64;

/// 64 KB or so on each connection; the lie is told somewhere within.
const MESSAGES: u64 = 1000;

/// How a server echoes the message with this number.
type Lie = fn(u64, [u8; SIZE]) -> Vec<u8>;

/// Echoes message by message, each as `lie` makes it.
fn tell(mut stream: TcpStream, lie: Lie) {
    let mut message = [0; SIZE];
    for number in 0.. {
        if uninterrupted(|| stream.read_exact(&mut message)).is_err() {
            break;
        }
        if stream.write_all(&lie(number, message)).is_err() {
            break;
        }
    }
}

/// Of three connections the second meets the liar, whichever number it has.
fn liar(lie: Lie) -> Fake {
    Fake::new(move |index, stream| {
        tell(stream, if index == 1 { lie } else { |_, message| message.to_vec() });
        None
    })
}

/// Expects that one of three connections failed, and returns the place that the report names.
#[track_caller]
fn place(run: &Run) -> u64 {
    assert_eq!(run.code, Some(1), "{run:?}");
    let record = &run.record;
    assert_eq!((record.errors.len(), record.errors.get("mismatch")), (1, Some(&1)), "{run:?}");
    assert_eq!((record.connections.verified, record.connections.failed), (2, 1), "{run:?}");
    assert_eq!((record.mismatches.count, record.mismatches.first.len()), (1, 1), "{run:?}");
    let words = &record.mismatches.first[0];
    let (connection, rest) = words.strip_prefix("connection ").unwrap().split_once(", byte ").unwrap();
    assert!((1..=3).contains(&connection.parse::<u32>().unwrap()), "{words}");
    rest.split_once(':').unwrap().0.parse().unwrap()
}

/// In a closed loop, with a few messages under way, and with all of them.
fn runs_against(lie: Lie) -> Vec<Run> {
    let start = |pipeline: &[&str]| {
        let fake = liar(lie);
        let count = MESSAGES.to_string();
        let work = ["-c", "3", "--size", "64", "--messages", &count, "--reply-timeout", "2s", "--json", "-"];
        let program = client(fake.address(), &[&work[..], pipeline].concat());
        (fake, program)
    };
    let ways: [&[&str]; 3] = [&["--pipeline", "1"], &["--pipeline", "7"], &[]];
    ways.map(start).into_iter().map(|(_fake, program)| Run::of(program)).collect()
}

/// One byte in a million, and one bit of it.
#[test]
fn one_bit_in_a_million_bytes() {
    const WHERE: usize = 765_432;
    let wrong: Lie = |number, mut message| {
        let begin = usize::try_from(number).unwrap() * SIZE;
        if let Some(byte) = WHERE.checked_sub(begin).and_then(|place| message.get_mut(place)) {
            *byte ^= 0x10;
        }
        message.to_vec()
    };
    let fake = liar(wrong);
    let work = ["-c", "3", "--size", "64", "--messages", "15625", "--pipeline", "100", "--json", "-"];
    let run = Run::of(client(fake.address(), &work));
    assert_eq!(place(&run), WHERE as u64, "{run:?}");
    assert_eq!(run.record.messages.verified, 2 * 15_625 + (WHERE / SIZE) as u64, "{run:?}");
}

/// The first byte of a pattern's message differs from that of another in all but one of 256 cases: the place is in the first
/// word.
#[track_caller]
fn expect_found(lie: Lie, message: u64) {
    for run in runs_against(lie) {
        let begin = message * SIZE as u64;
        assert!((begin..begin + 8).contains(&place(&run)), "{run:?}");
        assert_eq!(run.record.messages.verified, 2 * MESSAGES + message, "{run:?}");
    }
}

#[test]
fn a_message_that_is_repeated() {
    expect_found(|number, message| if number == 400 { [message, message].concat() } else { message.to_vec() }, 401);
}

/// A closed loop waits for it in vain, and says so: no wrong byte ever came.
#[test]
fn a_message_that_is_lost() {
    let lost: Lie = |number, message| if number == 500 { Vec::new() } else { message.to_vec() };
    let runs = runs_against(lost);
    for run in &runs[1..] {
        assert!((32_000..32_008).contains(&place(run)), "{run:?}");
        assert_eq!(run.record.messages.verified, 2 * MESSAGES + 500, "{run:?}");
    }
    let run = &runs[0];
    assert_eq!((run.code, run.record.errors.get("reply_timeout")), (Some(1), Some(&1)), "{run:?}");
    assert_eq!((run.record.messages.verified, run.record.messages.timed_out), (2 * MESSAGES + 500, 1), "{run:?}");
}

/// Two messages are swapped: one is kept back until the other is there, for which a client has to send both.
#[test]
fn two_messages_that_are_swapped() {
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
        assert_eq!((run.code, run.record.errors.get("mismatch")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!(run.record.messages.verified, 3 * 200, "{run:?}");
        for words in &run.record.mismatches.first {
            assert!((0..8).any(|byte| words.contains(&format!(", byte {}: ", 200 * SIZE + byte))), "{words}");
        }
    }
}

/// What comes back is right, and belongs to another connection.
#[test]
fn the_echo_of_another_connection() {
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
    // The other one may have lost its peer by then.
    assert!(run.record.errors.contains_key("mismatch") && run.record.messages.verified == 0, "{run:?}");
}

/// No two connections, and no two rounds of one, send the same.
#[test]
fn every_connection_sends_bytes_of_its_own() {
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
    assert_eq!((run.code, run.record.connections.opened), (Some(0), 15), "{run:?}");
    assert_eq!(seen.lock().unwrap().len(), 60);
}
