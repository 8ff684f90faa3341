//! `--reconnect-every`: number of connections, messages due between two connections, and servers that stop accepting.

use super::fake_server::{Fake, RARE_ADDRESS, echo, take};
use super::load::{Run, load, start};
use super::support::{Program, expect_refusal};
use super::{client, server};
use multiconn::results::RunResults;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

/// Expected counts of a run that ends with its messages.
#[test]
fn a_connection_for_each_message() {
    let server = server();
    let each = ["-c", "4", "--messages", "5", "--reconnect-every", "1"];
    for further in [&[][..], &["--workers", "2"], &["--max-connecting", "1"], &["--rate", "100"]] {
        let run = load(server.address(), &[&each[..], further].concat());
        run.expect_success(20);
        let connections = &run.results.connections;
        assert_eq!((connections.requested, connections.opened, connections.completed), (4, 20, 4), "{run:?}");
        assert_eq!((run.results.histograms.connect.count(), run.results.bytes.received), (20, 20 * 64), "{run:?}");
        assert!(connections.most_open <= 4, "{run:?}");
    }
}

/// Where no reply is expected, the messages sent are those that count.
#[test]
fn connections_without_replies_are_replaced() {
    let server = server();
    let each = ["-c", "5", "--expect", "none", "--json", "-"];
    for (further, messages, connections) in [
        (&["--messages", "3", "--reconnect-every", "2"][..], 15, 10),
        (&["--messages", "4", "--reconnect-every", "1", "--rate", "500"], 20, 20),
    ] {
        let exit = client(server.address(), &[&each[..], further].concat()).await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        assert_eq!((exit.code, results.messages.sent, results.error_count()), (Some(0), messages, 0), "{exit:#?}");
        assert_eq!((results.connections.opened, results.connections.completed), (connections, 5), "{exit:#?}");
    }
}

/// A connection continues with the messages after those of its predecessor.
#[test]
fn messages_are_sent_in_turn_over_all_connections() {
    let server = server();
    for text in
        [&["--message", "a", "--message", "bcd", "--messages", "5"][..], &["--search", "ring", "--search", "🐶"]]
    {
        let own = ["-c", "2", "--reconnect-every", "1", "--json", "-", "-v"];
        let search = Program::server(&["--service", "search", "127.0.0.1", "0"]);
        let address = if text[0] == "--search" { search.address() } else { server.address() };
        let run = Run::of(client(address, &[text, &own].concat()));
        let count = if text[0] == "--search" { 4 } else { 10 };
        run.expect_success(count);
        assert_eq!(run.results.connections.opened, count, "{:?}", run.results);
        let sent =
            |part: &str| run.stderr.iter().filter(|line| line.starts_with("Sending ") && line.contains(part)).count();
        match text[0] {
            "--search" => assert_eq!((sent("ring"), sent("\\xf0\\x9f")), (2, 2), "{:#?}", run.stderr),
            _ => assert_eq!((sent("b'a'"), sent("b'bcd'")), (6, 4), "{:#?}", run.stderr),
        }
    }
}

/// Where a message ends with its connection, there is one connection per message.
#[test]
fn messages_that_end_with_their_connection() {
    let server = server();
    for until in [&["--messages", "3"][..], &["--duration", "300ms"], &["--duration", "300ms", "--rate", "50"]] {
        let run =
            load(server.address(), &[&["--frame", "end", "-c", "2", "--reconnect-every", "1"][..], until].concat());
        assert!(run.code == Some(0) && run.results.errors.is_empty(), "{run:?}");
        assert!(run.results.connections.opened >= run.results.messages.sent, "{run:?}");
        let run = client(server.address(), &[&["--frame", "end", "-c", "2"][..], until].concat());
        expect_refusal(run, 2, &["--frame", "--reconnect-every"]);
    }
    let held = client(server.address(), &["--hold", "1s", "--reconnect-every", "3"]);
    expect_refusal(held, 2, &["--hold", "--reconnect-every"]);
}

/// The last connection of each sends the remaining messages; the shares of the schedule are equal.
#[test]
fn a_number_of_messages_that_does_not_divide() {
    let server = server();
    for further in [&[][..], &["--rate", "2000"], &["--rate", "100k"], &["--rate", "200", "--arrivals", "poisson"]] {
        for workers in ["1", "2"] {
            let uneven = ["-c", "3", "--messages", "10", "--reconnect-every", "4", "--workers", workers];
            let run = load(server.address(), &[&uneven[..], further].concat());
            run.expect_success(30);
            assert_eq!(run.results.connections.opened, 9, "{run:?}");
        }
    }
}

/// More messages are due than one connection takes: they wait for its replacement and are sent on a connection.
#[test]
fn a_backlog_is_passed_on_from_connection_to_connection() {
    let server = server();
    let hasty = ["-c", "1", "--messages", "3000", "--rate", "1M", "--reconnect-every", "700"];
    let run = load(server.address(), &hasty);
    run.expect_success(3000);
    assert_eq!((run.results.connections.opened, run.results.messages.due), (5, Some(3000)), "{run:?}");
}

#[test]
fn reconnects_last_as_long_as_the_load() {
    let server = server();
    let work = ["-c", "4", "--workers", "2", "--reconnect-every"];
    // Not longer without a rate: used ports stay taken for a minute.
    for rate in [&["--duration", "200ms"][..], &["--duration", "1s", "--rate", "100"]] {
        let runs = ["1", "3", "1000000"].map(|every| start(server.address(), &[&work[..], &[every], rate].concat()));
        for run in runs.map(Run::of) {
            assert!(run.results.errors.is_empty() && run.code == Some(0), "{run:?}");
            let (connections, messages) = (&run.results.connections, &run.results.messages);
            assert_eq!((connections.completed, messages.due), (4, rate.contains(&"--rate").then_some(100)), "{run:?}");
            assert!(connections.opened >= 4 && connections.opened <= messages.sent + 4, "{run:?}");
        }
    }
}

/// Each connection is busy for 50 ms with its only message; messages due meanwhile wait for the next one.
#[test]
fn waiting_for_a_connection_is_not_send_delay() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "50ms"]);
    let run = load(server.address(), &["--rate", "200", "-c", "2", "--duration", "2s", "--reconnect-every", "1"]);
    let times = &run.results.histograms;
    assert!(run.results.messages.no_connection > 50 && times.blocked.count() > 4, "{run:?}");
    assert!(times.send_delay.at(0.5) < times.blocked.at(0.5), "{run:?}");
}

/// Accepts three connections, stops listening, echoes one message on each, and then everything.
fn server_of_three() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((RARE_ADDRESS, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut streams: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        // Replies are sent only after listening has stopped.
        drop(listener);
        for stream in &mut streams {
            let message = take(stream, 64);
            stream.write_all(&message).unwrap();
        }
        streams.into_iter().for_each(echo);
    });
    (address, server)
}

/// A server that disappears between two connections: the following ones are refused, and the run ends.
#[test]
fn server_stops_accepting() {
    const RETRIED: &[&str] = &["--duration", "30s", "--rate", "500", "--retries", "2", "--retry-delay", "100ms"];
    for duration in [&[][..], &["--duration", "30s"], &["--duration", "30s", "--rate", "100"], RETRIED] {
        let (address, server) = server_of_three();
        let run = load(address, &[&["-c", "3", "--messages", "5", "--reconnect-every", "1"][..], duration].concat());
        assert_eq!((run.code, run.results.errors.get("refused")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!((run.results.connections.opened, run.results.connections.failed), (3, 3), "{run:?}");
        assert_eq!(run.results.messages.answered, 3, "{run:?}");
        assert!(run.results.duration_s < 15.0, "{run:?}");
        server.join().unwrap();
    }
}

/// A connect that waits for a retry when the load ends counts as refused and is not retried.
#[test]
fn no_connect_is_retried_after_the_end() {
    for workers in ["1", "2"] {
        let (address, server) = server_of_three();
        let patient = ["--retries", "9", "--retry-delay", "20s", "--reconnect-every", "1", "-v"];
        let run = load(address, &[&["-c", "3", "--duration", "3s", "--workers", workers], &patient[..]].concat());
        assert_eq!((run.code, run.results.errors.get("refused")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!((run.results.connections.opened, run.results.connections.failed), (3, 3), "{run:?}");
        let starts = run.stderr.iter().filter(|line| line.starts_with("Starting connection ")).count();
        assert_eq!(starts, 6, "{run:?}");
        // The first delay is ten seconds or more.
        assert!((3.0..9.0).contains(&run.results.duration_s), "{run:?}");
        server.join().unwrap();
    }
}

/// A server that closes after each message counts as closing early, as without the option.
#[test]
fn server_closes_first() {
    let fake = Fake::new(|_, mut stream| {
        let message = take(&mut stream, 64);
        super::fake_server::answer_and_end(stream, &message);
        None
    });
    let run = load(fake.address(), &["-c", "3", "--messages", "4", "--reconnect-every", "1"]);
    run.expect_success(12);
    let run = load(fake.address(), &["-c", "3", "--messages", "4", "--reconnect-every", "2", "--pipeline", "1"]);
    assert_eq!((run.code, run.results.errors.get("closed_early")), (Some(1), Some(&3)), "{run:?}");
}
