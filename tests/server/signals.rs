//! Signals: every handled signal is caught from the start, and one without an action is logged and ignored.

use super::fake_parent::FakeParent;
use super::support::{Program, await_some, await_until, connect, echo, expect_end, handed_over_to, skipped, works};
use super::{server, still_serves};
use rustix::process::{Pid, Signal, kill_process};
use std::net::Shutdown;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

/// Whether `signal` is in this mask of a process: SigCgt or SigIgn (proc_pid_status(5)).
fn is_in_mask(process: Pid, mask: &str, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix(mask)?.strip_prefix(":\t").map(str::to_owned));
    let bits = bits.map(|bits| u64::from_str_radix(&bits, 16).unwrap()).unwrap_or_default();
    bits >> (signal.as_raw() - 1) & 1 == 1
}

/// A server that waits for the sockets of another process, and has not bound anything yet.
fn starting() -> (Program, FakeParent) {
    let (server, parent) = FakeParent::start();
    // The handler that is installed last.
    await_until("the handlers", || is_in_mask(server.pid(), "SigCgt", Signal::TERM));
    (server, parent)
}

#[test]
fn signals_before_the_loop_are_handled_when_it_runs() {
    let (mut server, parent) = starting();
    for signal in [Signal::HUP, Signal::USR1] {
        server.signal(signal);
    }
    parent.end();
    server.await_stderr("SIGHUP ignored");
    server.await_stderr("Counters in all");
    still_serves(&mut server);
}

#[test]
fn a_handover_can_be_requested_before_the_loop_runs() {
    let (server, parent) = starting();
    server.signal(Signal::USR2);
    parent.end();
    let line = server.await_stderr("handover complete: PID ");
    echo(&mut connect(server.address()), b"to the new process");
    kill_process(handed_over_to(&line).unwrap(), Signal::TERM).unwrap();
}

#[test]
fn sigterm_before_the_loop_drains_and_a_second_one_stops() {
    for second in [false, true] {
        let (mut server, parent) = starting();
        for _ in 0..=u8::from(second) {
            server.signal(Signal::TERM);
            // Two pending signals would be delivered as one.
            await_until("the delivery", || !is_in_mask(server.pid(), "ShdPnd", Signal::TERM));
        }
        if second {
            let status = await_some("the end of the server", || server.status());
            assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
        } else {
            parent.end();
            let exit = server.await_exit();
            assert_eq!(exit.code, Some(0), "{exit:#?}");
            assert!(exit.stdout.iter().any(|line| line.starts_with("Served 0 connections")), "{exit:#?}");
        }
    }
}

#[test]
fn a_signal_without_an_action_is_logged_and_ignored() {
    let mut server = server(&["--workers", "2"]);
    let mut peer = connect(server.address());
    echo(&mut peer, b"before");
    for _ in 0..2 {
        server.signal(Signal::HUP);
        server.await_stderr("SIGHUP ignored: there are no TLS files to read again");
    }
    echo(&mut peer, b"on the same connection");
    drop(peer);
    assert!(is_in_mask(server.pid(), "SigIgn", Signal::PIPE), "a pipe that breaks ends nothing");
    still_serves(&mut server);
}

/// Without procfs a program knows neither its own path nor its ignored signals.
#[test]
fn without_procfs_no_signal_ends_the_server() {
    let without_proc = ["unshare", "-m", "sh", "-c", "umount -l /proc && exec \"$0\" \"$@\""];
    if !works(Command::new(without_proc[0]).args(&without_proc[1..]).arg("true")) {
        return skipped("a server without /proc", "it takes the right to unmount it");
    }
    let mut server = Program::spawn(Program::server_under(&without_proc).args(["127.0.0.1", "0"]));
    server.await_stderr("SIGUSR2 will not hand over");
    let address = server.address();
    for (signal, answer) in [
        (Signal::USR2, "SIGUSR2 ignored: the path of this program is unknown"),
        (Signal::HUP, "SIGHUP ignored"),
        (Signal::USR1, "Counters in all"),
    ] {
        server.signal(signal);
        server.await_stderr(answer);
        echo(&mut connect(address), b"all the same");
    }
    still_serves(&mut server);
}

/// As for background jobs of a script.
#[test]
fn an_interrupt_that_was_ignored_at_the_start_stays_ignored() {
    let ignoring = ["sh", "-c", "trap '' INT HUP; exec \"$0\" \"$@\""];
    let mut server = Program::spawn(Program::server_under(&ignoring).args(["127.0.0.1", "0"]));
    let address = server.address();
    server.signal(Signal::INT);
    // SIGHUP does not end the server, so it is handled even if it was ignored.
    server.signal(Signal::HUP);
    server.await_stderr("SIGHUP ignored");
    echo(&mut connect(address), b"all the same");
    assert!(is_in_mask(server.pid(), "SigIgn", Signal::INT));
    still_serves(&mut server);
}

/// The last microseconds count, too: they are hit by signals that are sent without pause.
#[test]
fn signals_during_the_exit_do_not_change_the_status() {
    for round in 0..100 {
        let mut server = Program::server(&["127.0.0.1", "0", "-q", "--workers", "1"]);
        // Its only loop runs: until then a second SIGTERM takes its default action. No connection is open, which a second
        // SIGTERM would cut.
        let mut peer = connect(server.address());
        echo(&mut peer, b"served");
        peer.shutdown(Shutdown::Write).expect("it is connected");
        expect_end(&mut peer);
        let status = loop {
            server.signal(Signal::TERM);
            if let Some(status) = server.status() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(0), "round {round}: {status}");
    }
}
