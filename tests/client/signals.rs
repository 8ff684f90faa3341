//! Interrupted runs: the report so far is printed, and the exit status tells that the run was interrupted.

use super::fake_server::Fake;
use super::silence::black_hole;
use super::support::{Program, await_until, has_python};
use super::{Outcome, client, logging_client, server};
use rustix::process::Signal;

const INTERRUPTED: Option<i32> = Some(130);

/// SIGHUP is sent when the terminal is lost.
const ENDING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Ten connections that are held after one message each.
const HELD: [&str; 7] = ["-c", "10", "--message", "hi", "--hold", "1h", "-v"];

/// Waits until the log has a line for each of ten connections that ends with `end` and the number.
#[track_caller]
fn await_ten(client: &Program, end: &str) {
    for number in 1..=10 {
        // The end, because "connection 1" is a prefix of "connection 10".
        let end = format!("{end}{number}");
        await_until(&end, || client.stderr().iter().any(|line| line.ends_with(&end)));
    }
}

/// Sends `signal` to a client that holds ten connections after their only message was answered.
fn interrupt_held(held: Program, signal: Signal) -> Outcome {
    await_ten(&held, "Received b'hi' from connection ");
    held.signal(signal);
    Outcome::of(held)
}

#[test]
fn while_connections_are_held() {
    let server = server();
    for signal in ENDING {
        for workers in ["1", "2"] {
            let there = client(server.address(), &[&HELD[..], &["--workers", workers]].concat());
            let embedded = Program::client(&[&HELD[..], &["--embedded", "--workers", workers]].concat());
            for held in [there, embedded] {
                let outcome = interrupt_held(held, signal);
                assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
                assert!(outcome.verdict.ends_with(": interrupted"), "{outcome:#?}");
                assert_eq!((outcome.opened, outcome.messages), (10, (10, 10)), "{outcome:#?}");
                // Their exchange was complete.
                assert_eq!(outcome.failed, 0, "{outcome:#?}");
            }
        }
    }
}

#[test]
fn while_replies_are_awaited() {
    let fake = Fake::new(|_, stream| Some(stream));
    for signal in ENDING {
        let waiting = client(fake.address(), &["10", "-v"]);
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
    for signal in ENDING {
        let waiting = client(address, &["10", "-v", "--max-connecting", "4", "--connect-timeout", "1m"]);
        waiting.await_stderr("Starting connection 4 ");
        waiting.signal(signal);
        let outcome = Outcome::of(waiting);
        assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
        assert_eq!((outcome.requested, outcome.opened, outcome.messages), (10, 0, (0, 0)), "{outcome:#?}");
        // Connects that were not started have not failed.
        assert_eq!(outcome.causes, [("interrupted".to_owned(), 4)].into());
    }
}

/// A signal ends an endless run, however busy it is.
#[test]
fn while_messages_flow() {
    let server = server();
    let busy = ["10", "--messages", "18446744073709551615", "--pipeline", "10"];
    let client = logging_client(server.address(), &busy);
    client.await_stderr("Starting connection 10 ");
    client.signal(Signal::INT);
    let outcome = Outcome::of(client);
    assert_eq!(outcome.code, INTERRUPTED, "{outcome:#?}");
    assert_eq!(outcome.mismatch_count, 0, "{outcome:#?}");
}

/// A UDP load.
#[test]
fn while_datagrams_flow() {
    let server = Program::server(&["--udp", "127.0.0.1", "0"]);
    let line = server.await_stdout(" (udp, ");
    let address: std::net::SocketAddr = line.split(' ').nth(2).unwrap().parse().unwrap();
    for signal in ENDING {
        let client = client(address, &["--udp", "2", "--rate", "100", "--duration", "1m", "-v"]);
        client.await_stderr("Starting socket 2 ");
        client.signal(signal);
        let mut client = client;
        assert_eq!(client.await_exit().code, INTERRUPTED);
    }
}

#[test]
fn other_signals_are_logged_and_ignored() {
    let server = server();
    for workers in ["1", "2"] {
        let held = client(server.address(), &[&HELD[..], &["--workers", workers]].concat());
        await_ten(&held, "Received b'hi' from connection ");
        for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
            held.signal(signal);
            held.await_stderr(&format!("{name} ignored"));
        }
        let outcome = interrupt_held(held, Signal::INT);
        assert_eq!((outcome.code, outcome.opened), (INTERRUPTED, 10), "{outcome:#?}");
    }
}

/// As with nohup(1) and background jobs of a script.
#[test]
#[cfg(target_os = "linux")]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let server = server();
    let address = server.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Program::client_under(&["sh", "-c", "trap '' HUP INT; exec \"$0\" \"$@\""]);
    let held = Program::spawn(command.args([&host, &port]).args(HELD));
    await_ten(&held, "Received b'hi' from connection ");
    held.signal(Signal::HUP);
    held.signal(Signal::INT);
    // The order of two signals is unknown, but those two are never delivered.
    held.signal(Signal::USR1);
    held.await_stderr("SIGUSR1 ignored");
    let outcome = interrupt_held(held, Signal::TERM);
    assert_eq!((outcome.code, outcome.opened), (INTERRUPTED, 10), "{outcome:#?}");
}

/// Runs the client on a terminal, closes the terminal once the client has written so much to it, and reports how the
/// client ended.
const LOSE_TERMINAL: &str = "
import os, pty, sys
client, terminal = pty.fork()
if client == 0: os.execv(sys.argv[2], sys.argv[2:])
seen = b''
while sys.argv[1].encode() not in seen: seen += os.read(terminal, 1000)
os.close(terminal)
status = os.waitpid(client, 0)[1]
print('exited', os.waitstatus_to_exitcode(status))
";

/// All further writes to the terminal fail; result files are written nevertheless.
#[test]
fn a_lost_terminal_ends_a_run_with_its_results() {
    if !has_python("a terminal that is lost") {
        return;
    }
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let (host, port) = (server.address().ip().to_string(), server.address().port().to_string());
    for (number, more) in [&["-v"][..], &["--rate", "100"], &["-v", "--workers", "2"]].into_iter().enumerate() {
        let json = folder.path().join(format!("{number}.json"));
        let mut command =
            Program::client_under(&["python3", "-c", LOSE_TERMINAL, if number == 1 { " s:" } else { "hi" }]);
        command.args([&host, &port, "-c", "10", "--message", "hi", "--duration", "1m"]).args(more);
        let mut terminal = Program::spawn(command.arg("--json").arg(&json));
        let exit = terminal.await_exit();
        assert_eq!(exit.stdout, ["exited 130"], "{exit:#?}");
        let results: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert_eq!(results["interrupted"], true);
    }
}
