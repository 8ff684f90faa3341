//! Surplus bytes from the server: before the first message, while connections are held, and after the last reply. Any
//! unexpected byte fails the run.

use super::fake_server::{Fake, answer, echo, take};
use super::load::load;
use super::support::{Exit, PATIENCE, Program, uninterrupted};
use super::{Outcome, TUTORIAL_BYTES, client, outcome};
use multiconn::results::RunResults;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const WRONG: &str = "echo mismatch";

/// What the fake server sends after the client's half-close, when the client has all replies.
const EXTRA: &[u8] = b"extra";

/// Echoes up to the client's end, then sends `surplus`.
fn echo_and_more(mut stream: TcpStream, surplus: &[u8]) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.write_all(surplus);
}

fn surplus_at_the_end(surplus: &'static [u8]) -> Fake {
    Fake::new(move |_, stream| {
        echo_and_more(stream, surplus);
        None
    })
}

#[track_caller]
fn expect_surplus(outcome: &Outcome, connections: u64, offset: u64) {
    outcome.expect_failures(&[(WRONG, connections)]);
    let told = format!(", byte {offset}: received 5 bytes more than it sent: b'extra'");
    assert_eq!(outcome.mismatch_count, connections, "{outcome:#?}");
    assert!(outcome.mismatches.iter().all(|line| line.ends_with(&told)), "{outcome:#?}");
    // Everything else was correct.
    assert_eq!(outcome.messages.0, outcome.messages.1, "{outcome:#?}");
}

#[test]
fn bytes_after_the_last_reply() {
    let fake = surplus_at_the_end(EXTRA);
    for workers in ["1", "2"] {
        expect_surplus(&outcome(fake.address(), &["5", "--workers", workers]), 5, TUTORIAL_BYTES);
    }
    let work = ["3", "--size", "64", "--messages", "50", "--hold", "100ms"];
    expect_surplus(&outcome(fake.address(), &work), 3, 50 * 64);
    expect_surplus(&outcome(fake.address(), &["--frame", "lines", "--message", "hello"]), 1, 6);
    // Half a millisecond after the reply, whatever the client does meanwhile.
    let hasty = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, TUTORIAL_BYTES);
        stream.write_all(&sent).unwrap();
        std::thread::sleep(Duration::from_micros(500));
        answer(stream, EXTRA);
        None
    });
    expect_surplus(&outcome(hasty.address(), &["20"]), 20, TUTORIAL_BYTES);
}

#[test]
fn bytes_after_the_last_reply_of_a_load() {
    let fake = surplus_at_the_end(EXTRA);
    for work in [
        &["--duration", "300ms"][..],
        &["--duration", "300ms", "--rate", "200"],
        &["--messages", "20", "--rate", "200"],
        &["--messages", "20", "--rate", "200", "--hold", "100ms"],
    ] {
        let run = load(fake.address(), &[&["-c", "3"], work].concat());
        assert_eq!((run.code, run.results.errors.get("mismatch")), (Some(1), Some(&3)), "{run:?}");
        let first = &run.results.mismatches.first;
        assert!(first.len() == 3 && first.iter().all(|line| line.contains("5 bytes more than it sent")), "{run:?}");
        assert_eq!(run.results.messages.answered, run.results.messages.sent, "{run:?}");
    }
    // The first connection that shows it is not replaced.
    let again = ["-c", "2", "--messages", "20", "--reconnect-every", "5"];
    let run = load(fake.address(), &again);
    assert_eq!((run.code, run.results.errors.get("mismatch")), (Some(1), Some(&2)), "{run:?}");
    assert_eq!((run.results.connections.opened, run.results.messages.answered), (2, 10), "{run:?}");
}

/// Before the load begins nothing was sent that could be echoed.
#[test]
fn bytes_before_the_first_message() {
    let greeting = Fake::new(|_, mut stream| {
        stream.write_all(EXTRA).unwrap();
        echo(stream);
        None
    });
    // The first connection is read for four seconds before the load begins.
    let load = ["2", "--rate", "10", "--duration", "1s", "--connect-rate", "0.25"];
    let exit = client(greeting.address(), &load).await_exit();
    assert!(
        exit.code == Some(1)
            && exit.stdout.iter().any(|line| line.contains("byte 0: received 5 bytes more than it sent")),
        "{exit:#?}"
    );
}

#[track_caller]
fn expect_wrong_reply(exit: &Exit, reply: u64) {
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let told = format!("    connection 1, reply {reply}: received 5 bytes more than its messages asked for");
    assert!(exit.stdout.iter().any(|line| line.starts_with(&told)), "no {told:?} in {exit:#?}");
}

/// With a framing each reply is counted, whatever its content.
#[test]
fn frames_without_a_message() {
    for surplus in [&b"HEY!\n"[..], b"HEY!?"] {
        let fake = Fake::new(move |_, stream| {
            echo_and_more(stream, surplus);
            None
        });
        let work = ["--frame", "lines", "--expect", "any", "--message", "hello", "--messages", "3"];
        expect_wrong_reply(&client(fake.address(), &work).await_exit(), 4);
    }
    let held = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, 6);
        stream.write_all(&sent).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        answer(stream, b"HEY!\n");
        None
    });
    let work = ["--frame", "lines", "--expect", "any", "--message", "hello", "--hold", "1h"];
    expect_wrong_reply(&client(held.address(), &work).await_exit(), 2);
}

#[test]
fn bytes_after_the_reply_to_a_search() {
    let real = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    let address = real.address();
    let proxy = Fake::new(move |_, mut stream| {
        let mut behind = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        let mut request = [0; 4096];
        let count = uninterrupted(|| stream.read(&mut request)).unwrap();
        behind.write_all(&request[..count]).unwrap();
        behind.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut behind, &mut stream).unwrap();
        echo_and_more(stream, EXTRA);
        None
    });
    expect_wrong_reply(&client(proxy.address(), &["--search", "ring"]).await_exit(), 2);
}

/// Where any reply or none is expected, no byte is surplus. A server that continues to send is not read for ever.
#[test]
fn where_any_reply_is_accepted() {
    let fake = surplus_at_the_end(EXTRA);
    for expected in ["any", "none"] {
        let exit = client(fake.address(), &["3", "--expect", expected]).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
    let chargen = Program::server(&["127.0.0.1", "0", "--service", "chargen"]);
    let exit = client(chargen.address(), &["--expect", "any"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// A server that never closes has replied nevertheless; the client waits less long for it than for a reply.
#[test]
fn server_does_not_close() {
    let fake = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, TUTORIAL_BYTES);
        stream.write_all(&sent).unwrap();
        Some(stream)
    });
    outcome(fake.address(), &["3", "--reply-timeout", "1h"]).expect_tutorial(3);
}

/// The reply arrives before the server has read the message, and it never reads it.
#[test]
fn server_replies_without_reading() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(4096).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(16).unwrap();
    let fake = Fake::on(listener.into(), |_, mut stream| {
        stream.write_all(b"no").unwrap();
        Some(stream)
    });
    let work = ["--expect", "any", "--size", "60000", "--send-buffer", "4096", "--reply-timeout", "500ms"];
    let outcome = outcome(fake.address(), &work);
    outcome.expect_failures(&[("timed out sending: the server accepts no bytes", 1)]);
    assert!(outcome.bytes.0 < 60_000, "{outcome:#?}");
}

/// A server may begin its reply before it has received the whole message.
#[test]
fn the_beginning_of_an_early_reply_is_no_surplus() {
    const BYTES: u64 = 64 << 20;
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 1000);
        stream.write_all(b"early").unwrap();
        take(&mut stream, BYTES - 1000);
        stream.write_all(b"reply").unwrap();
        Some(stream)
    });
    let work = ["--size", "64MiB", "--expect", "any", "--reply-size", "10", "--json", "-"];
    let exit = client(fake.address(), &work).await_exit();
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!((exit.code, results.messages.answered, results.mismatches.count), (Some(0), 1, 0), "{exit:#?}");
}
