//! `--messages 0`: read-only connections.

use super::fake_server::Fake;
use super::support::{Program, expect_refusal};
use super::{client, server};
use multiconn::results::RunResults;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::time::Duration;

/// A server that sends to each connection, and closes at once unless it `waits` for the peer to close.
fn speaking(waits: bool) -> Fake {
    Fake::new(move |_, mut stream| {
        stream.write_all(b"Hello, client!").unwrap();
        let mut rest = Vec::new();
        if waits && stream.read_to_end(&mut rest).is_ok() {
            assert!(rest.is_empty(), "nothing was to be sent: {rest:?}");
        }
        None
    })
}

#[test]
fn ends_when_the_server_closes() {
    let fake = speaking(false);
    let exit = client(fake.address(), &["3", "--messages", "0"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout[0].ends_with("nothing was sent; everything received was read"), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.trim() == "bytes        0 sent, 42 received"), "{exit:#?}");
    assert!(exit.stderr.iter().any(|line| line.contains("until the server closes, or until Ctrl-C")), "{exit:#?}");
}

#[test]
fn ends_with_the_duration_or_the_hold() {
    let fake = speaking(true);
    // Long enough to receive everything meanwhile. In parallel: each lasts three seconds.
    let start = |until| client(fake.address(), &["3", "--messages", "0", until, "3s", "--json", "-"]);
    for mut program in ["--duration", "--hold"].map(start) {
        let exit = program.await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        assert!(results.is_success() && results.duration_s >= 3.0, "{results:#?}");
        assert_eq!((results.connections.completed, results.messages.sent, results.bytes.received), (3, 0, 42));
        assert!(exit.stderr.iter().any(|line| line.contains("42 received")), "{exit:#?}");
    }
    // The client cuts an endless stream.
    let endless = Program::server(&["127.0.0.1", "0", "--service", "chargen"]);
    let exit = client(endless.address(), &["--messages", "0", "-d", "300ms"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn a_silent_server_is_read_until_a_signal() {
    let server = server();
    let mut program = client(server.address(), &["2", "--messages", "0", "--reply-timeout", "50ms", "-v"]);
    program.await_stderr("Starting connection 2");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(program.status(), None, "silence is no failure");
    program.signal(Signal::INT);
    let exit = program.await_exit();
    assert_eq!(exit.code, Some(130), "{exit:#?}");
    assert!(exit.stdout[0].ends_with("interrupted"), "{exit:#?}");
}

#[test]
fn a_hold_that_the_server_cuts_short_has_failed() {
    let fake = speaking(false);
    let exit = client(fake.address(), &["--messages", "0", "--hold", "1h"]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
}

#[test]
fn options_that_need_messages_are_rejected() {
    for (arguments, part) in [
        (&["--rate", "5"][..], "--rate"),
        (&["--reconnect-every", "1"], "--reconnect-every"),
        (&["--udp"], "0 datagrams"),
    ] {
        let arguments = [&["127.0.0.1", "65432", "--messages", "0"], arguments].concat();
        expect_refusal(Program::client(&arguments), 2, &[part]);
    }
}
