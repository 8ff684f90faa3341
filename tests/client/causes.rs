//! Failures of connections under load: each is counted by cause, the other connections go on and take the rest of the
//! schedule, the report names the cause, and the exit status is 1.

use super::fake_server::{Fake, answer, answer_and_end, deaf, take};
use super::load::Run;
use super::silence::black_hole;
use super::support::{PATIENCE, Program, await_until, in_own_network, reset, skipped, works};
use super::{Outcome, client, logging_client, server};
use multiconn::results::RunResults;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// 100 messages in one second.
const LOAD: [&str; 6] = ["--rate", "100", "--duration", "1s", "--json", "-"];

/// Four connections: two to a healthy server, two to `bad`.
fn half_to(bad: SocketAddr, well: SocketAddr, further: &[&str]) -> Program {
    let work = ["-c", "4", "--size", "64", "--target", &bad.to_string(), "--connect-timeout", "3s"];
    client(well, &[&LOAD[..], &work, further].concat())
}

/// Expects that `failed` connections failed for `cause`, that the report shows `words`, and that the others completed.
#[track_caller]
fn expect_cause(run: &Run, cause: &str, words: &str, failed: u64) {
    let (results, messages) = (&run.results, &run.results.messages);
    assert_eq!((run.code, results.errors.len(), results.errors.get(cause)), (Some(1), 1, Some(&failed)), "{run:?}");
    let (connections, wanted) = (&results.connections, results.connections.requested);
    assert_eq!((connections.failed, connections.completed), (failed, wanted - failed), "{run:?}");
    assert_eq!((messages.due, messages.no_connection, messages.pending), (Some(100), 0, 0), "{run:?}");
    // On a slow machine, a failed connection may have been assigned a few messages.
    assert!(messages.answered >= 50 && messages.answered + messages.unanswered() == 100, "{run:?}");
    assert!((1.0..9.0).contains(&results.measured_s), "{run:?}");
    // Long texts span several lines.
    let text = run.stderr.iter().flat_map(|line| line.split_whitespace()).collect::<Vec<_>>().join(" ");
    assert!(text.contains(": failed") && text.contains(&format!(" {failed} {words}")), "{run:?}");
}

/// Runs against `bad` and a healthy server.
#[track_caller]
fn expect_half(bad: SocketAddr, cause: &str, words: &str) {
    let well = server();
    expect_cause(&Run::of(half_to(bad, well.address(), &[])), cause, words, 2);
}

#[test]
fn target_refuses() {
    let refusing = deaf(Ipv4Addr::LOCALHOST);
    expect_half(refusing.1, "refused", "connection refused: nothing listens there");
}

#[test]
fn target_resets() {
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 64);
        reset(stream);
        None
    });
    expect_half(fake.address(), "reset", "reset by peer");
}

#[test]
fn target_never_answers_a_connect() {
    let Some((_listener, _filling, address)) = black_hole() else { return };
    expect_half(address, "connect_timeout", "timed out connecting");
}

#[test]
fn target_closes_in_the_middle_of_a_reply() {
    let fake = Fake::new(|_, mut stream| {
        let message = take(&mut stream, 64);
        answer_and_end(stream, &message[..30]);
        None
    });
    expect_half(fake.address(), "closed_early", "closed early by peer");
}

#[test]
fn target_replies_with_too_many_bytes() {
    let fake = Fake::new(|_, mut stream| {
        let message = take(&mut stream, 64);
        answer(stream, &[&message[..], b"and more"].concat());
        None
    });
    expect_half(fake.address(), "mismatch", "echo mismatch");
}

/// In a network namespace with ten ports, of which the server takes one. With source addresses, the system chooses a
/// port only at the connect.
#[test]
fn no_local_port_is_left() {
    const PORTS: u64 = 10;
    let script = "ip link set lo up && echo 50000 50009 >/proc/sys/net/ipv4/ip_local_port_range";
    let network = ["--user", "--map-root-user", "--net", "sh", "-c"];
    if !works(Command::new("unshare").args(network).arg(script)) {
        return skipped("running out of ports", "a network of our own takes the right to unshare");
    }
    let script = format!("{script} && exec \"$0\" \"$@\"");
    let start = |arguments: &[&str]| {
        let mut command = Program::client_under(&[&["unshare"], &network[..], &[&script]].concat());
        Program::spawn(command.args(["--embedded", "-c", "30"]).args(arguments))
    };
    for further in [&[][..], &["--source", "127.0.0.1"], &["--retries", "3", "--retry-delay", "1ms"]] {
        let run = Run::of(start(&[&LOAD[..], further].concat()));
        let failed = run.results.connections.failed;
        assert!((30 - PORTS..30).contains(&failed), "{run:?}");
        expect_cause(
            &run,
            "out_of_ports",
            "out of ports: no local port is free for this target; widen net.ipv4.ip_local_port_range",
            failed,
        );
    }
    let outcome = Outcome::of(start(&["--hold", "100ms"]));
    let cause = outcome.causes.keys().next().unwrap();
    for part in ["out of ports: no local port is free", "net.ipv4.ip_local_port_range", "source addresses"] {
        assert!(cause.contains(part), "{outcome:#?}");
    }
    outcome.expect_failures(&[(cause, outcome.failed)]);
    assert_eq!(outcome.messages.1, 2 * outcome.opened, "{outcome:#?}");
}

/// Ports are free again when their connections are closed: with retries all connections get one, one after the other.
#[test]
fn connects_wait_for_a_free_port() {
    let script = "ip link set lo up && echo 50000 50003 >/proc/sys/net/ipv4/ip_local_port_range";
    in_own_network("connects that wait for a free port", script, || {
        let is_out = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&is_out);
        // Resets leave no port in TIME_WAIT.
        let fake = Fake::new(move |_, stream| {
            await_until("a client without a free port", || seen.load(Ordering::Relaxed));
            reset(stream);
            None
        });
        let program = logging_client(fake.address(), &["12", "--retries", "20", "--retry-delay", "20ms"]);
        program.await_stderr("out of ports: ");
        is_out.store(true, Ordering::Relaxed);
        let outcome = Outcome::of(program);
        outcome.expect_failures(&[("reset by peer", 12)]);
    });
}

/// Whether a run reports that it searched for ports, in a network namespace in which TIME-WAIT occupies all ports but one.
/// The server closes first, so that this one is free again after each connection.
fn long_search_is_reported() -> bool {
    const PORTS: usize = 12_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let run = |rate: &str| {
        let closing = Fake::on(listener.try_clone().unwrap(), |_, _| None);
        let connects = ["-c", "600", "--connect-rate", rate, "--retries", "1000", "--retry-delay", "20ms"];
        let mut program = client(address, &[&connects[..], &["--messages", "0", "--json", "-"]].concat());
        let exit = program.await_exit_within(PATIENCE * 3);
        drop(closing);
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        (RunResults::from_json(exit.stdout.last().unwrap()).unwrap(), exit)
    };
    let (results, exit) = run("3k");
    assert_eq!(results.connections.port_search, None, "{exit:#?}");
    // The listener has a port, too, and its last client.
    for _ in 0..PORTS - 1 - 2 {
        drop(TcpStream::connect(address).unwrap());
        drop(listener.accept().unwrap());
    }
    let (results, exit) = run("100");
    let Some(search) = results.connections.port_search else { return false };
    assert_eq!(search.local_ports, PORTS as u64);
    assert!(search.connect_cpu_ns >= 200_000 && search.tcp_sockets > 11_900, "{search:?}");
    assert!(results.to_string().contains("\n  port search  each connect takes "), "{results}");
    let warnings = exit.stderr.iter().filter(|line| line.contains("warning: each connect takes"));
    assert_eq!(warnings.count(), 1, "{exit:#?}");
    true
}

/// TIME-WAIT lasts 60 s: if that is over before the run is, on a busy machine, the next attempt has a new namespace.
#[test]
fn a_long_search_for_a_port_is_reported() {
    let script = "ip link set lo up && cd /proc/sys/net/ipv4 && echo 20000 31999 >ip_local_port_range \
                  && echo 0 >tcp_tw_reuse && echo 30000 >tcp_max_tw_buckets";
    for _ in 0..5 {
        let mut is_reported = None;
        in_own_network("a long search for a free port", script, || is_reported = Some(long_search_is_reported()));
        // None if the test is skipped.
        if is_reported != Some(false) {
            return;
        }
    }
    panic!("one of five runs reports it");
}

/// EADDRNOTAVAIL means both that no port is free and that the address does not exist.
#[test]
fn source_address_does_not_exist() {
    let script = "ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
    in_own_network("connecting to ::1 without IPv6", script, || {
        let outcome = Outcome::of(Program::client(&["::1", "65432"]));
        outcome.expect_failures(&[("the address is not available here", 1)]);
    });
}

/// The descriptor limit is checked before the run; here it is lowered while connections are opened.
#[cfg(target_os = "linux")]
#[test]
fn no_descriptor_is_left() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let well = server();
    let slowly = ["-c", "30", "--connect-rate", "5", "--size", "64", "-v"];
    let program = client(well.address(), &[&LOAD[..], &slowly].concat());
    await_until("three connections", || {
        program.stderr().iter().filter(|line| line.starts_with("Starting ")).count() >= 3
    });
    let few = Rlimit { current: Some(5), maximum: Some(5) };
    if let Err(error) = prlimit(Some(program.pid()), Resource::Nofile, few) {
        return skipped("running out of descriptors", &format!("the limits of another process are not ours: {error}"));
    }
    let run = Run::of(program);
    let failed = run.results.connections.failed;
    // The third may have no socket yet when it is named.
    assert!((1..=28).contains(&failed), "{run:?}");
    expect_cause(&run, "out_of_descriptors", "too many open files: raise the limit on descriptors", failed);
}
