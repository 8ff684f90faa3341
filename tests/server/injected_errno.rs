//! Kernel faults injected with strace(1): each system call fails as its manual page permits. The server survives every
//! fault, other connections are unaffected, and later connections are served.

use super::still_serves;
use super::support::{Exit, Program, connect, echo, expect_closed, read_to_end, skipped, works};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// The outcome for the connection affected by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is served nevertheless.
    Served,
    /// It is closed, with this reason in the summary.
    Closed(&'static str),
    /// It is not accepted, which is counted.
    NotAccepted,
}

/// One fault: the system call, its error, and which of the calls fails.
struct Fault {
    call: &'static str,
    error: &'static str,
    when: String,
    fate: Fate,
}

/// The `strace` command. The server stays our child and receives our signals; strace attaches to it.
pub(super) fn strace(options: &[&str]) -> Vec<String> {
    let common = ["strace", "-D", "-f", "-qq"];
    common.iter().chain(options).map(ToString::to_string).collect()
}

fn server_under(options: &[&str]) -> Program {
    let wrapper = strace(options);
    let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
    Program::spawn(Program::server_under(&wrapper).args(["127.0.0.1", "0", "--workers", "1"]))
}

/// Whether faults can be injected on this machine.
pub(super) fn can_inject() -> bool {
    let options =
        strace(&["-o", "/dev/null", "-e", "trace=accept4", "-e", "inject=accept4:error=EINTR:when=1", "true"]);
    works(Command::new(&options[0]).args(&options[1..]))
}

fn asks(peer: &mut TcpStream) {
    peer.write_all(b"Is anybody there?").unwrap();
}

fn is_answered(peer: &mut TcpStream) {
    let mut reply = [0; 17];
    peer.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"Is anybody there?");
}

/// Serves a neighbour first; then the next connection's call fails; then both are checked, and a third connects.
fn run(fault: &Fault) -> Exit {
    let Fault { call, error, when, fate } = fault;
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when={when}"));
    let mut server = server_under(&["-o", "/dev/null", "-e", &trace, "-e", &inject]);
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, b"before");
    let mut victim = connect(server.address());
    asks(&mut victim);
    match fate {
        Fate::Served => is_answered(&mut victim),
        Fate::Closed(_) | Fate::NotAccepted => expect_closed(&mut victim),
    }
    echo(&mut neighbour, b"undisturbed");
    echo(&mut connect(server.address()), b"later");
    drop((neighbour, victim));
    let exit = server.terminate();
    let what = format!("{call} fails with {error}");
    assert_eq!(exit.code, Some(0), "{what}: {exit:#?}");
    assert_eq!(exit.told(&["panicked"]), 0, "{what}: {exit:#?}");
    if let Fate::Closed(reason) = fate {
        assert_eq!(exit.counted(reason), 1, "{what}: {exit:#?}");
    }
    let count = if *fate == Fate::NotAccepted { 2 } else { 3 };
    assert!(exit.stdout[1].starts_with(&format!("Served {count} connections")), "{what}: {exit:#?}");
    exit
}

fn fault(call: &'static str, error: &'static str, when: &str, fate: Fate) -> Fault {
    Fault { call, error, when: when.to_owned(), fate }
}

/// A sandbox can refuse prlimit(2): then the limit on descriptors is unknown, and not 0.
#[test]
fn a_descriptor_limit_that_is_not_told() {
    if !can_inject() {
        return skipped("a limit that is not told", "strace is not here, or may not trace");
    }
    for error in ["EPERM", "ENOSYS"] {
        let inject = format!("inject=prlimit64:error={error}");
        let wrapper = strace(&["-o", "/dev/null", "-e", "trace=prlimit64", "-e", &inject]);
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let mut server =
            Program::spawn(Program::server_under(&wrapper).args(["127.0.0.1:0", "--metrics", "127.0.0.1:0"]));
        let told = server.await_stdout("metrics)");
        let metrics = told.split_whitespace().nth(2).unwrap().parse().unwrap();
        let mut page = connect(metrics);
        page.write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
        let page = String::from_utf8(read_to_end(&mut page)).unwrap();
        assert!(page.contains("multiconn_max_connections ") && !page.contains("process_max_fds"), "{page}");
        let mut client = Program::client_under(&wrapper);
        let exit = Program::spawn(client.args([&server.address().to_string(), "10", "--json", "-"])).await_exit();
        assert_eq!((exit.code, exit.told(&["descriptors is unknown"])), (Some(0), 1), "{exit:#?}");
        assert!(!exit.stdout.concat().contains("\"descriptor_limit\": 0"), "{exit:#?}");
        let exit = still_serves(&mut server);
        assert_eq!(exit.told(&["warning: the limit on open descriptors is unknown"]), 1, "{exit:#?}");
    }
}

/// Timers that the kernel does not set expire by the timeout of poll(2).
#[test]
fn a_timer_that_cannot_be_set() {
    if !can_inject() {
        return skipped("a timer that cannot be set", "strace is not here, or may not trace");
    }
    let inject = "inject=timerfd_settime:error=EINVAL";
    let wrapper = strace(&["-o", "/dev/null", "-e", "trace=timerfd_settime", "-e", inject]);
    let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
    let options = ["127.0.0.1", "0", "--workers", "1", "--reply-delay", "20ms", "-vv"];
    let mut server = Program::spawn(Program::server_under(&wrapper).args(options));
    let mut peer = connect(server.address());
    let since = Instant::now();
    echo(&mut peer, b"delayed");
    assert!(since.elapsed() >= Duration::from_millis(20), "early: {:?}", since.elapsed());
    drop(peer);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.told(&["cannot set a timer: "]) > 0, "{exit:#?}");
}

/// Pending connections are accepted without a further connect: at once, or after a pause.
fn accepting() -> usize {
    // The calls: the neighbour, an empty backlog, and now the next connection.
    const NEXT: &str = "3";
    let errors = [
        ("ECONNABORTED", false),
        ("EPROTO", false),
        ("EINTR", false),
        ("ENETDOWN", false),
        ("EMFILE", true),
        ("ENFILE", true),
        ("ENOBUFS", true),
        ("ENOMEM", true),
        ("EPERM", true),
    ];
    for (error, is_warned_of) in errors {
        let exit = run(&fault("accept4", error, NEXT, Fate::Served));
        assert_eq!(exit.counted("failed to be accepted"), 1, "{error}: {exit:#?}");
        let warnings = usize::from(is_warned_of);
        assert_eq!(exit.told(&["warning: cannot accept a connection: "]), warnings, "{error}: {exit:#?}");
    }
    // When every second call fails, the others are enough.
    for error in ["ECONNABORTED", "ENFILE"] {
        run(&fault("accept4", error, "1+2", Fate::Served));
    }
    errors.len() + 2
}

fn reading() -> usize {
    let faults = [
        fault("recvfrom", "EINTR", "2", Fate::Served),
        fault("recvfrom", "ENOMEM", "2", Fate::Closed("out of memory")),
        fault("recvfrom", "ENOBUFS", "2", Fate::Closed("out of memory")),
        fault("recvfrom", "ETIMEDOUT", "2", Fate::Closed("timed out")),
        fault("recvfrom", "EHOSTUNREACH", "2", Fate::Closed("host unreachable")),
        fault("recvfrom", "ECONNRESET", "2", Fate::Closed("reset by peer")),
    ];
    faults.iter().map(run).count()
}

fn writing() -> usize {
    let faults = [
        fault("sendto", "EINTR", "2", Fate::Served),
        fault("sendto", "ENOBUFS", "2", Fate::Closed("out of memory")),
        fault("sendto", "ENOMEM", "2", Fate::Closed("out of memory")),
        fault("sendto", "EPIPE", "2", Fate::Closed("reset by peer")),
        fault("sendto", "ETIMEDOUT", "2", Fate::Closed("timed out")),
    ];
    faults.iter().map(run).count()
}

/// How many calls of epoll_ctl(2) precede the victim's: those at the start, and one for the neighbour.
fn registrations_before_the_victim() -> usize {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls");
    let server = server_under(&["-o", file.to_str().unwrap(), "-e", "trace=epoll_ctl"]);
    echo(&mut connect(server.address()), b"the neighbour");
    drop(server);
    let calls = std::fs::read_to_string(&file).unwrap();
    calls.lines().filter(|line| line.contains("EPOLL_CTL_ADD")).count()
}

fn registering() -> usize {
    let next = registrations_before_the_victim() + 1;
    for error in ["ENOMEM", "ENOSPC"] {
        let exit = run(&fault("epoll_ctl", error, &next.to_string(), Fate::NotAccepted));
        assert_eq!(exit.counted("failed to be accepted"), 1, "{error}: {exit:#?}");
        assert_eq!(exit.told(&["warning: cannot register a connection peer=127.0.0.1:"]), 1, "{error}: {exit:#?}");
    }
    // A signal can interrupt any wait.
    run(&fault("/^epoll_p?wait$", "EINTR", "1+2", Fate::Served));
    fail_registrations_from(next);
    4
}

/// All calls from number `first` on fail: the neighbour is still served, all others are closed, and not each adds a log
/// line.
fn fail_registrations_from(first: usize) {
    const PEERS: u64 = 50;
    let inject = format!("inject=epoll_ctl:error=ENOSPC:when={first}+");
    let mut server = server_under(&["-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", &inject]);
    let since = Instant::now();
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, b"before");
    for _ in 0..PEERS {
        expect_closed(&mut connect(server.address()));
        echo(&mut neighbour, b"undisturbed");
    }
    drop(neighbour);
    let exit = server.terminate();
    assert_eq!((exit.code, exit.counted("failed to be accepted")), (Some(0), PEERS), "{exit:#?}");
    let warnings = exit.told(&["warning: "]) as u64;
    assert!((1..=since.elapsed().as_secs() + 1).contains(&warnings), "{warnings} warnings in {:?}", since.elapsed());
}

#[test]
fn every_injected_fault_is_survived() {
    if !can_inject() {
        return skipped("all faults of the kernel", "strace is not here, or may not trace");
    }
    // Most of the time is spent waiting for the server's pauses and for strace.
    let made: usize = std::thread::scope(|scope| {
        let groups = [accepting, reading, writing, registering].map(|group| scope.spawn(group));
        groups.into_iter().map(|group| group.join().unwrap()).sum()
    });
    let _ = writeln!(std::io::stderr().lock(), "injected: {made} faults of the kernel, none skipped");
}
