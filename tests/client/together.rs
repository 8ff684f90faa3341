//! Connections stay open until the exchange of every connection is complete or has failed, so all are open at the same
//! time.

use super::fake_server::{Fake, deaf, echo, take};
use super::load::{Run, load};
use super::support::{Program, reset, uninterrupted};
use super::{Outcome, client, outcome, server};
use multiconn::results::RunResults;
use multiconn::units::{parse_duration, parse_rate};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An echo server that counts its open connections.
struct Counting {
    fake: Fake,
    most_open: Arc<AtomicU64>,
}

impl Counting {
    fn new() -> Self {
        let (open, most_open) = (AtomicU64::new(0), Arc::<AtomicU64>::default());
        let most = Arc::clone(&most_open);
        let fake = Fake::new(move |_, mut stream| {
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
                if stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
            None
        });
        Self { fake, most_open }
    }

    fn most_open(&self) -> u64 {
        self.most_open.load(Ordering::Relaxed)
    }
}

/// Connects start every 5 ms and an exchange takes less: each would be over before the next one begins.
#[test]
fn every_connection_stays_open_until_the_last_one_is_done() {
    const CONNECTIONS: u64 = 60;
    for more in [
        &[][..],
        &["--workers", "3"],
        &["--messages", "7", "--pipeline", "1"],
        &["--expect", "none"],
        &["--hold", "1ms"],
        &["--max-connecting", "1"],
        &["--rate", "5k", "--messages", "3", "--workers", "2"],
    ] {
        let counting = Counting::new();
        let arguments = [&["60", "--connect-rate", "200", "--json", "-"][..], more].concat();
        let exit = client(counting.fake.address(), &arguments).await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        let connections = &results.connections;
        assert_eq!((exit.code, connections.completed, connections.failed), (Some(0), CONNECTIONS, 0), "{exit:#?}");
        assert_eq!(connections.most_open, CONNECTIONS, "{exit:#?}");
        // Where no reply is expected, the last one can be complete before the server has accepted it.
        if !more.contains(&"none") {
            assert_eq!(counting.most_open(), CONNECTIONS, "{exit:#?}");
        }
        let opening_s = connections.opening_s.unwrap();
        assert!(opening_s > 0.0 && opening_s < results.duration_s, "{exit:#?}");
    }
}

/// A server that admits fewer connections than requested: the waiting ones are not served before the others close.
#[test]
fn a_server_with_a_lower_limit_does_not_serve_all() {
    let server = Program::server(&["127.0.0.1", "0", "--max-connections", "19"]);
    outcome(server.address(), &["19"]).expect_tutorial(19);
    let outcome = outcome(server.address(), &["20", "--reply-timeout", "6s"]);
    outcome.expect_failures(&[("timed out waiting for a reply", 1)]);
    assert_eq!((outcome.most_open, outcome.messages.1), (20, 38), "{outcome:#?}");
}

/// The server has sent all replies; it need not keep a connection without further messages.
#[test]
fn a_server_may_close_completed_connections() {
    let drops: [fn(std::net::TcpStream); 3] = [drop, reset, |stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    }];
    for drop_connection in drops {
        let fake = Fake::new(move |_, mut stream| {
            let message = take(&mut stream, 44);
            stream.write_all(&message).unwrap();
            drop_connection(stream);
            None
        });
        outcome(fake.address(), &["10", "--connect-rate", "100"]).expect_tutorial(10);
        // With --hold the server has to keep them.
        let held = outcome(fake.address(), &["10", "--hold", "20s"]);
        assert_eq!((held.code, held.failed, held.messages.1), (Some(1), 10, 20), "{held:#?}");
    }
    // The last one is opened 3.6 seconds after the first.
    let server = Program::server(&["127.0.0.1", "0", "--idle-timeout", "2s"]);
    outcome(server.address(), &["10", "--connect-rate", "2.5"]).expect_tutorial(10);
}

/// Bytes on a connection whose exchange is complete are still verified.
#[test]
fn surplus_is_found_while_others_are_waited_for() {
    let fake = Fake::new(|index, mut stream| {
        let message = take(&mut stream, 44);
        stream.write_all(&message).unwrap();
        if index == 0 {
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(b"more").unwrap();
        }
        echo(stream);
        None
    });
    let outcome = outcome(fake.address(), &["10", "--connect-rate", "50"]);
    outcome.expect_failures(&[("echo mismatch", 1)]);
    assert!(outcome.mismatches[0].contains("received 4 bytes more than it sent"), "{outcome:#?}");
}

/// A refused connection and an unanswered one delay the others until they have failed, and no longer.
#[test]
fn failed_connections_are_not_waited_for() {
    let (_socket, nobody) = deaf(Ipv4Addr::LOCALHOST);
    let silent = Fake::new(|_, stream| Some(stream));
    let server = server();
    // In parallel: each waits for the reply timeout.
    let runs = ["1", "2", "3"].map(|workers| {
        let [nobody, silent] = [nobody, silent.address()].map(|address| address.to_string());
        let targets = ["9", "--target", &nobody, "--target", &silent, "--reply-timeout", "6s", "--workers", workers];
        client(server.address(), &targets)
    });
    for outcome in runs.map(Outcome::of) {
        let causes = [("connection refused: nothing listens there", 3), ("timed out waiting for a reply", 3)];
        outcome.expect_failures(&causes);
        assert_eq!((outcome.most_open, outcome.opened, outcome.messages.1), (6, 6, 6), "{outcome:#?}");
    }
}

/// Requests ask the server to keep their connections.
#[test]
fn requests_are_kept_open_too() {
    let search = Program::server(&["--service", "search", "127.0.0.1", "0"]);
    // The server closes a connection after half a second unless it was asked to keep it.
    let run = ["30", "--search", "ring", "--connect-rate", "30", "--json", "-"];
    let run = Run::of(client(search.address(), &run));
    let connections = &run.results.connections;
    assert_eq!((run.code, connections.completed, connections.most_open), (Some(0), 30, 30), "{run:?}");
}

/// The last of eleven connects is due half a second after the first. The rate counts the ten that follow the first.
#[test]
fn the_report_shows_how_long_opening_took() {
    let server = server();
    let outcome = outcome(server.address(), &["11", "--connect-rate", "20"]);
    outcome.expect_tutorial(11);
    let opening = outcome.opening.unwrap();
    let (took, rate) = opening.split_once(", ").unwrap();
    let (took, rate) = (parse_duration(&took.replace(' ', "")).unwrap(), parse_rate(&rate.replace(' ', "")).unwrap());
    let opened = rate * took.as_secs_f64();
    assert!(took >= Duration::from_millis(500) && rate <= 20.0 && (9.8..10.2).contains(&opened), "{opening}");
    // A single connection has no rate, and with reconnects opening has no end.
    let one = super::outcome(server.address(), &["1"]);
    assert_eq!(one.opening, None);
    let following = load(server.address(), &["3", "--reconnect-every", "1", "--messages", "2"]);
    assert_eq!((following.results.connections.opened, following.results.connections.opening_s), (6, None));
}
