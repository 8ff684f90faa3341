//! Socket calls that keep failing, injected with strace(1): the server warns with the errno, counts, and backs off
//! instead of spinning.

use super::injected_errno::{can_inject, strace};
use super::metrics::page;
use super::support::{Exit, Program, RECEIVE_CALL, SEND_CALL, await_until, connect, expect_closed, skipped};
use super::udp::{address, ask, peer};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long failing calls are counted. A spinning loop makes tens of thousands of them under strace.
const OBSERVED: Duration = Duration::from_secs(1);

/// The maximum number of calls: those retried at once (64), the first ones with shorter pauses, and ten per second.
const MAX_CALLS: usize = 70;
const MAX_CALLS_PER_SECOND: usize = 10;

/// The maximum CPU time per second, in ticks of 10 ms.
const MAX_TICKS_PER_SECOND: u128 = 20;

/// A server with injected failures.
struct Failing {
    server: Program,
    folder: TempDir,
    started: Instant,
}

impl Failing {
    /// A server with `arguments` whose `call` fails with `error`, always or only `when`.
    fn new(call: &str, error: &str, when: &str, arguments: &[&str]) -> Self {
        let (folder, started) = (tempfile::tempdir().unwrap(), Instant::now());
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}{when}"));
        let log = folder.path().join("calls");
        let wrapper = strace(&["-o", log.to_str().unwrap(), "-e", &trace, "-e", &inject]);
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let server = Program::spawn(Program::server_under(&wrapper).args(arguments).args(["--workers", "1"]));
        Self { server, folder, started }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    fn calls(&self) -> usize {
        std::fs::read_to_string(self.log()).unwrap_or_default().lines().count()
    }

    /// Expects failing calls with pauses between them, and almost no CPU time.
    #[track_caller]
    fn expect_pauses(&self) {
        await_until("the first failing call", || self.calls() > 0);
        let (ticks, since) = (self.server.cpu_ticks(), Instant::now());
        // The sleep is the measured interval.
        std::thread::sleep(OBSERVED);
        if let (Some(before), Some(after)) = (ticks, self.server.cpu_ticks()) {
            let ticks = u128::from(after - before);
            assert!(ticks * 1000 <= MAX_TICKS_PER_SECOND * since.elapsed().as_millis(), "{ticks} ticks of CPU time");
        }
        await_until("further failing calls", || self.calls() >= 2);
        let calls = self.calls();
        let most = MAX_CALLS + MAX_CALLS_PER_SECOND * usize::try_from(self.started.elapsed().as_secs() + 1).unwrap();
        assert!(calls <= most, "{calls} calls, {most} at most");
    }

    /// Terminates the server. Expects a normal exit, and a warning with `parts` at most once a second.
    #[track_caller]
    fn end(mut self, parts: &[&str]) -> Exit {
        let exit = self.server.terminate();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let warnings = exit.told(&["warning: "]) as u64;
        assert!((1..=self.started.elapsed().as_secs() + 1).contains(&warnings), "{exit:#?}");
        assert_eq!(exit.told(parts) as u64, warnings, "{exit:#?}");
        exit
    }
}

fn is_skipped(what: &str) -> bool {
    let is_skipped = !can_inject();
    if is_skipped {
        skipped(what, "strace is not here, or may not trace");
    }
    is_skipped
}

#[test]
fn receiving_datagrams_backs_off_when_it_fails() {
    if is_skipped("receiving datagrams fails for good") {
        return;
    }
    // The last two errors affect one datagram each, and are retried at once, but not endlessly.
    for error in ["ENOSYS", "EPERM", "ENOMEM", "ECONNREFUSED", "EHOSTUNREACH"] {
        let arguments = ["--udp", "127.0.0.1", "0", "--metrics", "127.0.0.1:0"];
        let failing = Failing::new(RECEIVE_CALL, error, "", &arguments);
        let server = address(&failing.server);
        peer("127.0.0.1").send_to(b"never received", server).unwrap();
        failing.expect_pauses();
        let errno = format!("errno=\"{error}\"");
        assert!(page(&failing.server).sum("multiconn_datagram_receive_errors_total", &[&errno]) > 1.0, "{error}");
        let exit =
            failing.end(&["cannot receive datagrams: ", &format!("({error}); trying again in "), " local=127.0.0.1:"]);
        assert!(exit.counted(&format!("receiving failed with {error}")) > 1, "{exit:#?}");
    }
}

/// The timer triggers the next attempt, without a further datagram.
#[test]
fn receiving_datagrams_resumes_after_failures() {
    if is_skipped("receiving datagrams fails for a while") {
        return;
    }
    for error in ["ENOSYS", "ENOBUFS", "ECONNREFUSED"] {
        let failing = Failing::new(RECEIVE_CALL, error, ":when=1..5", &["--udp", "127.0.0.1", "0"]);
        let (server, socket) = (address(&failing.server), peer("127.0.0.1"));
        assert_eq!(ask(&socket, server, b"first"), b"first");
        assert_eq!(ask(&socket, server, b"second"), b"second");
        let mut failing = failing;
        failing.server.terminate().expect_counts(&[("answered", 2), (&format!("receiving failed with {error}"), 5)]);
    }
}

#[test]
fn a_reply_that_cannot_be_sent_is_logged() {
    if is_skipped("sending datagrams fails for good") {
        return;
    }
    let failing = Failing::new(SEND_CALL, "ENOSYS", "", &["--udp", "127.0.0.1", "0"]);
    let (server, socket) = (address(&failing.server), peer("127.0.0.1"));
    for number in 1..=10 {
        // Several in one batch might fail in one call.
        socket.send_to(b"never answered", server).unwrap();
        await_until("a failed reply", || failing.calls() >= number);
    }
    let to = format!("cannot send a datagram peer={} error=", socket.local_addr().unwrap());
    let exit = failing.end(&[&to, "(ENOSYS)"]);
    exit.expect_counts(&[("dropped: sending failed with ENOSYS", 10)]);
}

/// Covers service connections and admin pages. The drain does not wait for connections that can never be accepted.
#[test]
fn accepting_backs_off_when_it_fails() {
    if is_skipped("accepting fails for good") {
        return;
    }
    let connections = ["127.0.0.1", "0", "--drain-timeout", "5m"];
    let metrics = ["--udp", "127.0.0.1", "0", "--metrics", "127.0.0.1:0", "--drain-timeout", "5m"];
    for (arguments, error) in
        [(&connections[..], "ENOSYS"), (&connections, "ECONNABORTED"), (&metrics, "ENOSYS"), (&metrics, "ENETDOWN")]
    {
        let failing = Failing::new("accept4", error, "", arguments);
        let waiting = connect(failing.server.address());
        failing.expect_pauses();
        let exit = failing.end(&["cannot accept a connection: ", &format!("({error}); trying again in ")]);
        assert!(exit.counted("failed to be accepted") > 1, "{exit:#?}");
        expect_closed(&mut { waiting });
    }
}

/// A closing connection triggers the next accept at once, as when descriptors are short.
#[test]
fn accepting_resumes_after_failures() {
    if is_skipped("accepting fails for a while") {
        return;
    }
    let failing = Failing::new("accept4", "ENOSYS", ":when=1..5", &["127.0.0.1", "0"]);
    let address: SocketAddr = failing.server.address();
    super::support::echo(&mut TcpStream::connect(address).unwrap(), b"accepted in the end");
    let mut failing = failing;
    let exit = failing.server.terminate();
    assert_eq!((exit.code, exit.counted("failed to be accepted")), (Some(0), 5), "{exit:#?}");
}
