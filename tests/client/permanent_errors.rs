//! Permanent errors of UDP system calls, injected by strace(1): the client names the errno, backs off instead of
//! spinning, and ends.

use super::support::{Exit, Program, RECEIVE_CALL, SEND_CALL, skipped, works};
use super::udp::{expect, own_server};
use multiconn::results::RunResults;
use std::net::SocketAddr;
use std::process::Command;

/// Maximum number of calls in a run of a second: those retried at once (64), and one per pause.
const MAX_CALLS: usize = 80;

/// Failing call: every call with this name, or only some.
struct Fault {
    call: &'static str,
    error: &'static str,
    when: &'static str,
}

fn fault(call: &'static str, error: &'static str) -> Fault {
    Fault { call, error, when: "" }
}

impl Fault {
    /// Whether faults can be injected here; if not, logs that `what` is skipped.
    fn can_be_made(what: &str) -> bool {
        let inject = "inject=recvmmsg:error=ENOSYS";
        let can = works(Command::new("strace").args(["-D", "-f", "-qq", "-e", "trace=recvmmsg", "-e", inject, "true"]));
        if !can {
            skipped(what, "strace is not here, or may not trace");
        }
        can
    }

    /// Runs against `server` with 64-byte messages and the injected fault; returns the exit and the number of calls.
    fn run(&self, server: SocketAddr, arguments: &[&str]) -> (Exit, usize) {
        let Self { call, error, when } = self;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("calls").display().to_string();
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}{when}"));
        let mut client = Program::client_under(&["strace", "-D", "-f", "-qq", "-o", &log, "-e", &trace, "-e", &inject]);
        client.args(["--udp", "--size", "64", "--no-progress", &server.ip().to_string(), &server.port().to_string()]);
        let exit = Program::spawn(client.args(arguments)).await_exit();
        let calls = std::fs::read_to_string(log).unwrap_or_default().lines().count();
        (exit, calls)
    }
}

#[track_caller]
fn expect_line(exit: &Exit, parts: &[&str]) {
    let has_parts = |line: &String| parts.iter().all(|part| line.contains(part));
    assert!(exit.stdout.iter().any(has_parts), "{parts:?}: {exit:#?}");
}

#[test]
fn a_failing_receive_is_named_and_ends_the_run() {
    if !Fault::can_be_made("receiving fails in the client") {
        return;
    }
    let (_server, address) = own_server(&[]);
    for (error, words) in [("ENOSYS", "Function not implemented (ENOSYS)"), ("EPERM", "permission denied")] {
        let (exit, calls) = fault(RECEIVE_CALL, error).run(address, &["--messages", "100"]);
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        assert!(calls <= MAX_CALLS, "{calls} calls");
        expect_line(&exit, &["sockets ", "1 opened, 1 failed"]);
        expect_line(&exit, &["not received ", words, error]);
        assert!(!exit.stdout.iter().any(|line| line.contains("refused")), "{exit:#?}");
        assert!(exit.told(&["warning: cannot receive: ", error, "trying again in ", "socket=1"]) >= 1, "{exit:#?}");
    }
}

#[test]
fn a_failing_send_is_named_and_ends_the_run() {
    if !Fault::can_be_made("sending fails in the client") {
        return;
    }
    let (_server, address) = own_server(&[]);
    for (error, words) in [("ENOSYS", "Function not implemented (ENOSYS)"), ("ENETDOWN", "network down")] {
        let (exit, calls) = fault(SEND_CALL, error).run(address, &["--messages", "1000"]);
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        assert!(calls <= MAX_CALLS, "{calls} calls");
        expect_line(&exit, &["sockets ", "1 opened, 1 failed"]);
        expect_line(&exit, &["not sent ", words]);
        assert!(exit.told(&["warning: cannot send: ", error, "trying again in ", "socket=1"]) >= 1, "{exit:#?}");
    }
}

/// A load lasts its duration, and failing calls take no CPU time.
#[test]
fn a_load_with_failing_calls_does_not_spin() {
    if !Fault::can_be_made("a load whose calls fail") {
        return;
    }
    let (_server, address) = own_server(&[]);
    let loads = [
        (RECEIVE_CALL, "ENOSYS", &[][..], "not_received_enosys"),
        (RECEIVE_CALL, "ECONNREFUSED", &["--rate", "20"], "refused"),
        (SEND_CALL, "ENOSYS", &[], "not_sent_enosys"),
        (SEND_CALL, "EHOSTUNREACH", &[], "not_sent_host_unreachable"),
        (SEND_CALL, "ENOBUFS", &["--rate", "1000"], "not_sent_enobufs"),
    ];
    std::thread::scope(|scope| {
        for (call, error, load, cause) in loads {
            scope.spawn(move || {
                let load = [&["--duration", "1s", "--json", "-"], load].concat();
                let (exit, calls) = fault(call, error).run(address, &load);
                let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
                assert_eq!(exit.code, Some(1), "{exit:#?}");
                // A loop that spins makes thousands under strace. How many a pausing one makes depends on how many events
                // a busy machine merges.
                assert!(calls <= 5 * MAX_CALLS, "{call}, {error}: {calls} calls");
                assert!(results.errors.get(cause).is_some_and(|count| *count > 0), "{cause}: {:?}", results.errors);
                assert!(results.measured_s >= 0.9, "{call}, {error}: {} s", results.measured_s);
            });
        }
    });
}

/// A router's "host unreachable" is not "nothing listens there".
#[test]
fn an_unreachable_host_is_not_a_refused_port() {
    if !Fault::can_be_made("an unreachable host") {
        return;
    }
    let (_server, address) = own_server(&[]);
    let patient = ["--messages", "5", "--reply-timeout", "10s"];
    let (exit, _) = fault(RECEIVE_CALL, "EHOSTUNREACH").run(address, &patient);
    expect(&exit, 1, 5, 0, &[]);
    expect_line(&exit, &["undelivered  5: the host cannot be reached"]);
    let (exit, _) = fault(RECEIVE_CALL, "ECONNREFUSED").run(address, &patient);
    expect(&exit, 1, 5, 0, &[("refused", 5)]);
}

/// The end of the pause triggers the next attempt, without a further event.
#[test]
fn a_run_goes_on_when_its_calls_work_again() {
    if !Fault::can_be_made("calls that fail for a while") {
        return;
    }
    let (_server, address) = own_server(&[]);
    let receiving = Fault { call: RECEIVE_CALL, error: "ENOSYS", when: ":when=1..5" };
    let (exit, _) = receiving.run(address, &["--messages", "3", "--reply-timeout", "10s"]);
    expect(&exit, 0, 3, 3, &[]);
    expect_line(&exit, &["not received 5 failures: Function not implemented (ENOSYS)"]);
    let sending = Fault { call: SEND_CALL, error: "ENOSYS", when: ":when=1..5" };
    let (exit, _) = sending.run(address, &["--messages", "8", "--reply-timeout", "10s"]);
    expect(&exit, 1, 3, 3, &[]);
    expect_line(&exit, &["not sent ", "5: Function not implemented (ENOSYS)"]);
}
