//! Connections for a few messages each: how many there are, what becomes of messages that are due meanwhile, and of servers
//! that take no more of them.

use super::fake::{Fake, echo, take};
use super::load::{Run, load, start};
use super::server;
use std::io::Write;
use std::sync::mpsc;

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
    let work = ["-c", "4", "--duration", "1s", "--workers", "2", "--reconnect-every"];
    for rate in [&[][..], &["--rate", "100"]] {
        let runs = ["1", "3", "1000000"].map(|every| start(server.address(), &[&work[..], &[every], rate].concat()));
        for run in runs.map(Run::of) {
            assert!(run.record.errors.is_empty() && run.code == Some(0), "{run:?}");
            let (connections, messages) = (&run.record.connections, &run.record.messages);
            assert_eq!((connections.verified, messages.due), (4, (!rate.is_empty()).then_some(100)), "{run:?}");
            assert!(connections.opened >= 4 && connections.opened <= messages.sent + 4, "{run:?}");
        }
    }
}

/// A server that goes away between two connections: those that follow are refused, and the run ends.
#[test]
fn a_server_that_takes_no_more() {
    for duration in [&[][..], &["--duration", "30s"], &["--duration", "30s", "--rate", "100"]] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, tell) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let mut streams: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
            // Nobody is answered before nobody listens any more.
            drop(listener);
            told.send(()).unwrap();
            for stream in &mut streams {
                let message = take(stream, 64);
                stream.write_all(&message).unwrap();
            }
            streams.into_iter().for_each(echo);
        });
        let run = load(address, &[&["-c", "3", "--messages", "5", "--reconnect-every", "1"][..], duration].concat());
        tell.recv().unwrap();
        assert_eq!((run.code, run.record.errors.get("refused")), (Some(1), Some(&3)), "{run:?}");
        assert_eq!((run.record.connections.opened, run.record.connections.failed), (3, 3), "{run:?}");
        assert_eq!(run.record.messages.verified, 3, "{run:?}");
        assert!(run.record.duration_s < 15.0, "{run:?}");
        server.join().unwrap();
    }
}

/// A server that closes after each message is nothing else than one that was not told to.
#[test]
fn a_server_that_ends_first() {
    let fake = Fake::new(|_, mut stream| {
        let message = take(&mut stream, 64);
        super::fake::answer_and_end(stream, &message);
        None
    });
    let run = load(fake.address(), &["-c", "3", "--messages", "4", "--reconnect-every", "1"]);
    run.expect_success(12);
    let run = load(fake.address(), &["-c", "3", "--messages", "4", "--reconnect-every", "2", "--pipeline", "1"]);
    assert_eq!((run.code, run.record.errors.get("closed_early")), (Some(1), Some(&3)), "{run:?}");
}
