//! Servers that do not answer, and addresses where none is.

use super::fake_server::{Fake, answer_and_end, deaf, take};
use super::load::Run;
use super::support::{PATIENCE, Program, await_until, has_ipv6, skipped, works};
use super::{Outcome, client, outcome};
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A timeout that the tests give, and how long the program may take to act on it on a busy machine.
const TIMEOUT: &str = "300ms";
const TIMES: std::ops::Range<Duration> = Duration::from_millis(300)..Duration::from_secs(8);

/// Runs `run` and expects it to last as long as [`TIMEOUT`] lets it.
#[track_caller]
fn timed(run: impl FnOnce() -> Outcome) -> Outcome {
    let since = Instant::now();
    let outcome = run();
    assert!(TIMES.contains(&since.elapsed()), "it took {:?}: {outcome:#?}", since.elapsed());
    outcome
}

#[test]
fn a_server_that_never_answers() {
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        Some(stream)
    });
    let outcome = timed(|| outcome(fake.address(), &["20", "--reply-timeout", TIMEOUT]));
    outcome.expect_failures(&[("timed out waiting for a reply", 20)]);
    assert_eq!((outcome.opened, outcome.messages, outcome.bytes), (20, (40, 0), (20 * 44, 0)), "{outcome:#?}");
}

/// It answers a part and falls silent: what counts is the last byte that came.
#[test]
fn a_server_that_falls_silent() {
    let fake = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, 44);
        std::io::Write::write_all(&mut stream, &sent[..30]).unwrap();
        Some(stream)
    });
    let outcome = timed(|| outcome(fake.address(), &["--reply-timeout", TIMEOUT]));
    outcome.expect_failures(&[("timed out waiting for a reply", 1)]);
    assert_eq!((outcome.messages, outcome.bytes), ((2, 1), (44, 30)), "{outcome:#?}");
}

/// The socket's buffer stays full. A message of which a part is in it was not sent, and the bytes are counted.
#[test]
fn a_server_that_neither_reads_nor_answers() {
    const TOO_LARGE: [&str; 4] = ["--size", "64MiB", "--reply-timeout", TIMEOUT];
    let cause = "timed out sending: the server accepts no bytes";
    let fake = Fake::new(|_, stream| Some(stream));
    for expected in ["echo", "any", "none"] {
        let arguments = [&["3", "--expect", expected][..], &TOO_LARGE].concat();
        let outcome = timed(|| outcome(fake.address(), &arguments));
        outcome.expect_failures(&[(cause, 3)]);
        assert_eq!(outcome.messages, (0, 0), "{outcome:#?}");
        assert!((1..(3 * 64) << 20).contains(&outcome.bytes.0), "{outcome:#?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let path = path.to_str().unwrap();
    let unix = Program::server(&["--unix", path, "--service", "stall"]);
    unix.await_stdout("Listening on ");
    let secured = Program::server(&["127.0.0.1", "0", "--service", "stall", "--tls-self-signed"]);
    let line = secured.await_stdout(" (tls, ");
    let port = line.split([':', ' ']).find(|word| word.parse::<u16>().is_ok()).unwrap();
    for place in [&["--unix", path][..], &["127.0.0.1", port, "--tls", "--tls-insecure"]] {
        let outcome = timed(|| Outcome::of(Program::client(&[place, &TOO_LARGE].concat())));
        outcome.expect_failures(&[(cause, 1)]);
        assert!(outcome.messages == (0, 0) && outcome.bytes.0 > 0, "{outcome:#?}");
    }
}

/// Of many messages those are sent that the socket's buffer has room for.
#[test]
fn a_server_that_reads_none_of_many_messages() {
    let fake = Fake::new(|_, stream| Some(stream));
    // Long enough for a busy machine to fill the buffer before the first reply is due.
    let arguments = ["--size", "1000", "--messages", "100000", "--reply-timeout", "3s"];
    let outcome = outcome(fake.address(), &arguments);
    outcome.expect_failures(&[("timed out sending: the server accepts no bytes", 1)]);
    assert!((1..100_000).contains(&outcome.messages.0), "{outcome:#?}");
    assert_eq!(outcome.messages.0, outcome.bytes.0 / 1000, "{outcome:#?}");
}

/// As long as the server accepts bytes, a message that is on its way is not given up, however long all of it takes.
#[test]
fn a_server_that_reads_slowly() {
    const CHUNK: u64 = 128 << 10;
    // With small buffers, little is left to read when the last byte is sent.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(128 << 10).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(16).unwrap();
    let fake = Fake::on(listener.into(), |_, mut stream| {
        for _ in 0..32 {
            take(&mut stream, CHUNK);
            std::thread::sleep(Duration::from_millis(100));
        }
        answer_and_end(stream, b"done");
        None
    });
    let work = ["--size", "4MiB", "--expect", "any", "--send-buffer", "64KiB", "--reply-timeout", "2s"];
    let exit = client(fake.address(), &work).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// What is measured of it is the same in the results.
#[test]
fn a_load_on_a_server_that_reads_nothing() {
    let fake = Fake::new(|_, stream| Some(stream));
    for further in [&["--rate", "10"][..], &[]] {
        let work = ["--size", "64MiB", "--duration", "1s", "--reply-timeout", TIMEOUT, "--json", "-"];
        let run = Run::of(client(fake.address(), &[&work[..], further].concat()));
        let (record, messages) = (&run.record, &run.record.messages);
        assert_eq!((run.code, record.errors.get("send_timeout")), (Some(1), Some(&1)), "{run:?}");
        assert_eq!((messages.sent, messages.verified, messages.timed_out), (0, 0, messages.withheld), "{run:?}");
        assert!(messages.withheld >= 1 && (1..64 << 20).contains(&record.bytes.sent), "{run:?}");
        assert!(run.stderr[0].starts_with("FAILED: ") && record.hints[0].contains("not sent, or not whole"), "{run:?}");
        assert!(!run.stderr.iter().any(|line| line.contains("the client was the limit")), "{run:?}");
    }
}

#[test]
fn nobody_listens() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    for (connections, count, workers) in [("1", 1, "1"), ("500", 500, "1"), ("500", 500, "2")] {
        let outcome = outcome(address, &[connections, "--workers", workers]);
        outcome.expect_failures(&[("connection refused: nothing listens there", count)]);
        assert_eq!((outcome.opened, outcome.most_open, outcome.messages), (0, 0, (0, 0)), "{outcome:#?}");
    }
}

#[test]
fn a_unix_socket_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let run = |path: &std::path::Path| Outcome::of(Program::client(&["--unix", path.to_str().unwrap(), "-c", "3"]));
    let path = folder.path().join("m.sock");
    run(&path).expect_failures(&[("no such file or folder", 3)]);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    run(&path).expect_failures(&[("connection refused: nothing listens there", 3)]);
    std::fs::write(folder.path().join("file"), "").unwrap();
    run(&folder.path().join("file")).expect_failures(&[("connection refused: nothing listens there", 3)]);
}

/// A listener whose queue is full, so that the system drops whoever knocks (listen(2)); and what fills the queue.
/// Nothing when this system answers all the same.
pub(crate) fn black_hole() -> Option<(Socket, Vec<TcpStream>, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    while filling.len() < 16 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => filling.push(stream),
            Err(_) => return Some((socket, filling, address)),
        }
    }
    skipped("a connect that is not answered", "a listener with a full queue answers here");
    None
}

#[test]
fn a_connect_that_is_not_answered() {
    let Some((_listener, _filling, address)) = black_hole() else { return };
    for workers in ["1", "2"] {
        let arguments = ["20", "--connect-timeout", TIMEOUT, "--workers", workers];
        let outcome = timed(|| outcome(address, &arguments));
        outcome.expect_failures(&[("timed out connecting", 20)]);
        assert_eq!((outcome.opened, outcome.messages), (0, (0, 0)), "{outcome:#?}");
    }
}

/// Only as many connects as may be in progress at a time wait; then it is the next ones' turn.
#[test]
fn connects_that_are_not_answered_wait_in_turn() {
    let Some((_listener, _filling, address)) = black_hole() else { return };
    let since = Instant::now();
    let outcome = outcome(address, &["6", "--connect-timeout", "100ms", "--max-connecting", "2"]);
    outcome.expect_failures(&[("timed out connecting", 6)]);
    assert!(since.elapsed() >= Duration::from_millis(300), "three turns took {:?}", since.elapsed());
    assert!(since.elapsed() < PATIENCE, "three turns took {:?}", since.elapsed());
}

/// A name has an address for each server, and whichever is tried first, only one of them listens.
#[test]
fn all_addresses_of_a_name_are_tried() {
    const WHAT: &str = "a name with several addresses";
    if !works(Command::new("unshare").args(["--mount", "mount", "--version"])) {
        return skipped(WHAT, "a hosts file of our own takes the right to unshare");
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 twofold.test\n127.0.0.2 twofold.test\n").unwrap();
    let script = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let wrapper = ["unshare", "--mount", "sh", "-c", &script];
    if !works(Command::new(wrapper[0]).args(&wrapper[1..]).args(["getent", "ahosts", "twofold.test"])) {
        return skipped(WHAT, "names are not looked up in a hosts file of our own");
    }
    for host in ["127.0.0.1", "127.0.0.2"] {
        let server = Program::server(&[host, "0"]);
        let port = server.address().port().to_string();
        let mut command = Program::client_under(&wrapper);
        Outcome::of(Program::spawn(command.args(["twofold.test", &port, "30"]))).expect_tutorial(30);
    }
}

/// Where `localhost` has an IPv6 address, it is tried first, and refuses.
#[test]
fn localhost_over_ipv4_only() {
    let server = Program::server(&["127.0.0.1", "0"]);
    let port = server.address().port().to_string();
    Outcome::of(Program::client(&["localhost", &port, "30"])).expect_tutorial(30);
    if has_ipv6("localhost over IPv6 only") {
        let server = Program::server(&["::1", "0"]);
        let port = server.address().port().to_string();
        let names_it = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).unwrap().any(|it| it.is_ipv6());
        if !names_it {
            return skipped("localhost over IPv6 only", "localhost has no IPv6 address here");
        }
        Outcome::of(Program::client(&["localhost", &port, "30"])).expect_tutorial(30);
    }
}

/// The tutorials' loops burn a whole CPU while they wait. Ours sleeps, whatever it waits for.
#[test]
fn waiting_costs_no_cpu_time() {
    let (come, coming) = mpsc::channel();
    let fake = Fake::new(move |index, stream| {
        come.send(index).unwrap();
        Some(stream)
    });
    let stuck = client(fake.address(), &["5", "--size", "16MiB"]);
    let held = client(fake.address(), &["5", "--pipeline", "1"]);
    for _ in 0..10 {
        coming.recv_timeout(PATIENCE).unwrap();
    }
    let Some(_) = held.cpu_ticks() else {
        return skipped("CPU time while waiting", "the CPU time of a process cannot be read here");
    };
    let pause = Duration::from_millis(300);
    // What is measured is the passing of time itself. At first the messages are still being made.
    await_until("a pause in which both take no more than 3 ticks of 10 ms", || {
        let before = [&stuck, &held].map(|program| program.cpu_ticks().unwrap());
        std::thread::sleep(pause);
        let after = [&stuck, &held].map(|program| program.cpu_ticks().unwrap());
        before.into_iter().zip(after).all(|(before, after)| after - before <= 3)
    });
}
