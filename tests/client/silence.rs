//! Servers that do not reply, and addresses where nothing listens.

use super::fake_server::{Fake, answer_and_end, deaf, take};
use super::load::Run;
use super::support::{PATIENCE, Program, await_until, has_ipv6, skipped, works};
use super::{Outcome, client, outcome};
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Timeout given to the client, and the time until it may act on it on a busy machine.
const TIMEOUT: &str = "300ms";
const TIMES: std::ops::Range<Duration> = Duration::from_millis(300)..Duration::from_secs(8);

/// Runs `run` and expects it to last as long as [`TIMEOUT`].
#[track_caller]
fn timed(run: impl FnOnce() -> Outcome) -> Outcome {
    let since = Instant::now();
    let outcome = run();
    assert!(TIMES.contains(&since.elapsed()), "it took {:?}: {outcome:#?}", since.elapsed());
    outcome
}

#[test]
fn server_never_answers() {
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        Some(stream)
    });
    let outcome = timed(|| outcome(fake.address(), &["20", "--reply-timeout", TIMEOUT]));
    outcome.expect_failures(&[("timed out waiting for a reply", 20)]);
    assert_eq!((outcome.opened, outcome.messages, outcome.bytes), (20, (40, 0), (20 * 44, 0)), "{outcome:#?}");
}

/// It sends part of a reply: the timeout counts from the last byte received. It is shorter than the default.
#[test]
fn server_stops_in_the_middle_of_a_reply() {
    let fake = Fake::new(|_, mut stream| {
        let sent = take(&mut stream, 44);
        std::io::Write::write_all(&mut stream, &sent[..30]).unwrap();
        Some(stream)
    });
    let since = Instant::now();
    let outcome = outcome(fake.address(), &["--reply-timeout", "4s"]);
    let times = Duration::from_secs(4)..Duration::from_secs(10);
    assert!(times.contains(&since.elapsed()), "it took {:?}: {outcome:#?}", since.elapsed());
    outcome.expect_failures(&[("timed out waiting for a reply", 1)]);
    assert_eq!((outcome.messages, outcome.bytes), ((2, 1), (44, 30)), "{outcome:#?}");
}

/// The socket buffer stays full. A message that is only partly in it was not sent; the bytes are counted.
#[test]
fn server_neither_reads_nor_answers() {
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

/// Only the messages that fit into the socket buffer are sent.
#[test]
fn server_reads_none_of_many_messages() {
    let fake = Fake::new(|_, stream| Some(stream));
    // Long enough for a busy machine to fill the buffer before the first reply is due.
    let arguments = ["--size", "1000", "--messages", "100000", "--reply-timeout", "6s"];
    let outcome = outcome(fake.address(), &arguments);
    outcome.expect_failures(&[("timed out sending: the server accepts no bytes", 1)]);
    assert!((1..100_000).contains(&outcome.messages.0), "{outcome:#?}");
    assert_eq!(outcome.messages.0, outcome.bytes.0 / 1000, "{outcome:#?}");
}

/// While the server accepts bytes, a message does not time out, however long it takes in total.
#[test]
fn server_reads_slowly() {
    const CHUNK: u64 = 128 << 10;
    // With small buffers, little is left to read when the last byte is sent.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(128 << 10).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(16).unwrap();
    let fake = Fake::on(listener.into(), |_, mut stream| {
        for _ in 0..32 {
            take(&mut stream, CHUNK);
            std::thread::sleep(Duration::from_millis(150));
        }
        answer_and_end(stream, b"done");
        None
    });
    let work = ["--size", "4MiB", "--expect", "any", "--send-buffer", "64KiB", "--reply-timeout", "4s"];
    let exit = client(fake.address(), &work).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// The results contain the same values.
#[test]
fn a_load_on_a_server_that_never_reads() {
    let fake = Fake::new(|_, stream| Some(stream));
    for further in [&["--rate", "10"][..], &[]] {
        let work = ["--size", "64MiB", "--duration", "1s", "--reply-timeout", TIMEOUT, "--json", "-"];
        let run = Run::of(client(fake.address(), &[&work[..], further].concat()));
        let (results, messages) = (&run.results, &run.results.messages);
        assert_eq!((run.code, results.errors.get("send_timeout")), (Some(1), Some(&1)), "{run:?}");
        assert_eq!((messages.sent, messages.answered), (0, 0), "{run:?}");
        assert!(
            (1..=messages.timed_out).contains(&messages.unsent) && (1..64 << 20).contains(&results.bytes.sent),
            "{run:?}"
        );
        assert!(
            run.stderr[0].starts_with("FAILED: ") && results.notes[0].contains("not sent, or only in part"),
            "{run:?}"
        );
        assert!(!run.stderr.iter().any(|line| line.contains("client-limited")), "{run:?}");
    }
}

#[test]
fn nothing_listens() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    for (connections, count, workers) in [("1", 1, "1"), ("500", 500, "1"), ("500", 500, "2")] {
        let outcome = outcome(address, &[connections, "--workers", workers]);
        outcome.expect_failures(&[("connection refused: nothing listens there", count)]);
        assert_eq!((outcome.opened, outcome.most_open, outcome.messages), (0, 0, (0, 0)), "{outcome:#?}");
    }
}

#[test]
fn missing_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let run = |path: &std::path::Path| Outcome::of(Program::client(&["--unix", path.to_str().unwrap(), "-c", "3"]));
    let path = folder.path().join("m.sock");
    run(&path).expect_failures(&[("no such file or folder", 3)]);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    run(&path).expect_failures(&[("connection refused: nothing listens there", 3)]);
    std::fs::write(folder.path().join("file"), "").unwrap();
    run(&folder.path().join("file")).expect_failures(&[("connection refused: nothing listens there", 3)]);
}

/// A listener with a full queue, so that the system drops further SYNs (listen(2)), and the connections that fill it.
/// `None` when this system answers nevertheless.
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
fn unanswered_connect() {
    let Some((_listener, _filling, address)) = black_hole() else { return };
    for workers in ["1", "2"] {
        let arguments = ["20", "--connect-timeout", TIMEOUT, "--workers", workers];
        let outcome = timed(|| outcome(address, &arguments));
        outcome.expect_failures(&[("timed out connecting", 20)]);
        assert_eq!((outcome.opened, outcome.messages), (0, (0, 0)), "{outcome:#?}");
    }
}

/// Only as many connects as may be in progress wait at a time; then the next ones start.
#[test]
fn unanswered_connects_wait_in_turn() {
    let Some((_listener, _filling, address)) = black_hole() else { return };
    let since = Instant::now();
    let outcome = outcome(address, &["6", "--connect-timeout", "100ms", "--max-connecting", "2"]);
    outcome.expect_failures(&[("timed out connecting", 6)]);
    assert!(since.elapsed() >= Duration::from_millis(300), "three turns took {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(20), "three turns took {:?}", since.elapsed());
}

/// A name with an address per server, of which only one listens, whichever is tried first.
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

/// The tutorials' loops use a whole CPU while they wait; this client sleeps.
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
    // Measures the passing of time only. At first messages are still being generated.
    await_until("a pause in which both take no more than 3 ticks of 10 ms", || {
        let before = [&stuck, &held].map(|program| program.cpu_ticks().unwrap());
        std::thread::sleep(pause);
        let after = [&stuck, &held].map(|program| program.cpu_ticks().unwrap());
        before.into_iter().zip(after).all(|(before, after)| after - before <= 3)
    });
}
