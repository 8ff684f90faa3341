//! Connections for a few messages each: how many there are, what becomes of messages that are due meanwhile, and of servers
//! that take no more of them.

use super::fake_server::{Fake, echo, take};
use super::load::{Run, load, start};
use super::support::{Program, expect_refusal};
use super::{client, server};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

/// What is known beforehand of a run that ends with its messages.
#[test]
fn a_connection_for_each_message() {
    let server = server();
    let each = ["-c", "4", "--messages", "5", "--reconnect-every", "1"];
    for further in [&[][..], &["--workers", "2"], &["--max-connecting", "1"], &["--rate", "100"]] {
        let run = load(server.address(), &[&each[..], further].concat());
        run.expect_success(20);
        let connections = &run.record.connections;
        assert_eq!((connections.wanted, connections.opened, connections.verified), (4, 20, 4), "{run:?}");
        assert_eq!((run.record.histograms.connect.count(), run.record.bytes.verified), (20, 20 * 64), "{run:?}");
        assert!(connections.most_open <= 4, "{run:?}");
    }
}

/// They go on where the one before has ended, and do not begin anew.
#[test]
fn messages_are_sent_in_turn_over_all_connections() {
    let server = server();
    for text in
        [&["--message", "a", "--message", "bcd", "--messages", "5"][..], &["--search", "ring", "--search", "🐶"]]
    {
        let own = ["-c", "2", "--reconnect-every", "1", "--json", "-", "-vv"];
        let search = Program::server(&["--service", "search", "127.0.0.1", "0"]);
        let address = if text[0] == "--search" { search.address() } else { server.address() };
        let run = Run::of(client(address, &[text, &own].concat()));
        let count = if text[0] == "--search" { 4 } else { 10 };
        run.expect_success(count);
        assert_eq!(run.record.connections.opened, count, "{:?}", run.record);
        let sent =
            |part: &str| run.stderr.iter().filter(|line| line.starts_with("Sending ") && line.contains(part)).count();
        match text[0] {
            "--search" => assert_eq!((sent("ring"), sent("\\xf0\\x9f")), (2, 2), "{:#?}", run.stderr),
            _ => assert_eq!((sent("b'a'"), sent("b'bcd'")), (6, 4), "{:#?}", run.stderr),
        }
    }
}

/// Where a message ends with its connection, there is one connection for each.
#[test]
fn messages_that_end_with_their_connection() {
    let server = server();
    for until in [&["--messages", "3"][..], &["--duration", "300ms"], &["--duration", "300ms", "--rate", "50"]] {
        let run =
            load(server.address(), &[&["--frame", "end", "-c", "2", "--reconnect-every", "1"][..], until].concat());
        assert!(run.code == Some(0) && run.record.errors.is_empty(), "{run:?}");
        assert!(run.record.connections.opened >= run.record.messages.sent, "{run:?}");
        let run = client(server.address(), &[&["--frame", "end", "-c", "2"][..], until].concat());
        expect_refusal(run, 2, &["framing end", "--reconnect-every 1"]);
    }
    let held = client(server.address(), &["--hold", "1s", "--reconnect-every", "3"]);
    expect_refusal(held, 2, &["--hold", "--reconnect-every"]);
}

/// The last connection of each takes what is left, and the schedule gives each its share.
#[test]
fn a_number_of_messages_that_does_not_divide() {
    let server = server();
    for further in [&[][..], &["--rate", "2000"], &["--rate", "100k"], &["--rate", "200", "--arrivals", "poisson"]] {
        for workers in ["1", "2"] {
            let uneven = ["-c", "3", "--messages", "10", "--reconnect-every", "4", "--workers", workers];
            let run = load(server.address(), &[&uneven[..], further].concat());
            run.expect_success(30);
            assert_eq!(run.record.connections.opened, 9, "{run:?}");
        }
    }
}

/// More is due than one connection takes: it waits for the next one, and goes on a connection nevertheless.
#[test]
fn a_backlog_is_passed_on_from_connection_to_connection() {
    let server = server();
    let hasty = ["-c", "1", "--messages", "3000", "--rate", "1M", "--reconnect-every", "700"];
    let run = load(server.address(), &hasty);
    run.expect_success(3000);
    assert_eq!((run.record.connections.opened, run.record.messages.due), (5, Some(3000)), "{run:?}");
}

#[test]
fn for_as_long_as_the_load_lasts() {
    let server = server();
    let work = ["-c", "4", "--workers", "2", "--reconnect-every"];
    // Not for longer without a rate: ports that were used stay taken for a minute.
    for rate in [&["--duration", "200ms"][..], &["--duration", "1s", "--rate", "100"]] {
        let runs = ["1", "3", "1000000"].map(|every| start(server.address(), &[&work[..], &[every], rate].concat()));
        for run in runs.map(Run::of) {
            assert!(run.record.errors.is_empty() && run.code == Some(0), "{run:?}");
            let (connections, messages) = (&run.record.connections, &run.record.messages);
            assert_eq!((connections.verified, messages.due), (4, rate.contains(&"--rate").then_some(100)), "{run:?}");
            assert!(connections.opened >= 4 && connections.opened <= messages.sent + 4, "{run:?}");
        }
    }
}

/// Each connection is busy for 50 ms with its one message; what is due meanwhile waits for the next one.
#[test]
fn waiting_for_a_connection_is_not_the_clients_lag() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "50ms"]);
    let run = load(server.address(), &["--rate", "200", "-c", "2", "--duration", "2s", "--reconnect-every", "1"]);
    let times = &run.record.histograms;
    assert!(run.record.messages.unconnected > 100 && times.held_back.count() > 20, "{run:?}");
    assert!(times.lag.at(0.5) < times.held_back.at(0.5), "{run:?}");
}

/// Listens for three connections, closes its ears, and echoes one message on each; then whatever comes.
fn server_of_three() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut streams: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        // Nobody is answered before nobody listens any more.
        drop(listener);
        for stream in &mut streams {
            let message = take(stream, 64);
            stream.write_all(&message).unwrap();
        }
        streams.into_iter().for_each(echo);
    });
    (address, server)
}

/// A server that goes away between two connections: those that follow are refused, and the run ends.
#[test]
fn a_server_that_takes_no_more() {
    const RETRIED: &[&str] = &["--duration", "30s", "--rate", "500", "--retries", "2", "--retry-delay", "100ms"];
    for duration in [&[][..], &["--duration", "30s"], &["--duration", "30s", "--rate", "100"], RETRIED] {
        let (address, server) = server_of_three();
        let run = load(address, &[&["-c", "3", "--messages", "5", "--reconnect-every", "1"][..], duration].concat());
        assert_eq!((run.code, run.record.errors.get("refused")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!((run.record.connections.opened, run.record.connections.failed), (3, 3), "{run:?}");
        assert_eq!(run.record.messages.verified, 3, "{run:?}");
        assert!(run.record.duration_s < 15.0, "{run:?}");
        server.join().unwrap();
    }
}

/// Whoever waits to be tried again when the load ends is what it was, refused, and is not dialled any more.
#[test]
fn nobody_is_tried_again_after_the_end() {
    for workers in ["1", "2"] {
        let (address, server) = server_of_three();
        let patient = ["--retries", "9", "--retry-delay", "20s", "--reconnect-every", "1", "-vv"];
        let run = load(address, &[&["-c", "3", "--duration", "1s", "--workers", workers], &patient[..]].concat());
        assert_eq!((run.code, run.record.errors.get("refused")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!((run.record.connections.opened, run.record.connections.failed), (3, 3), "{run:?}");
        let starts = run.stderr.iter().filter(|line| line.starts_with("Starting connection ")).count();
        assert_eq!(starts, 6, "{run:?}");
        // The first wait is one of ten seconds or more.
        assert!((1.0..9.0).contains(&run.record.duration_s), "{run:?}");
        server.join().unwrap();
    }
}

/// A server that closes after each message is nothing else than one that was not told to.
#[test]
fn a_server_that_ends_first() {
    let fake = Fake::new(|_, mut stream| {
        let message = take(&mut stream, 64);
        super::fake_server::answer_and_end(stream, &message);
        None
    });
    let run = load(fake.address(), &["-c", "3", "--messages", "4", "--reconnect-every", "1"]);
    run.expect_success(12);
    let run = load(fake.address(), &["-c", "3", "--messages", "4", "--reconnect-every", "2", "--pipeline", "1"]);
    assert_eq!((run.code, run.record.errors.get("closed_early")), (Some(1), Some(&3)), "{run:?}");
}
