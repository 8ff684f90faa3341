//! The tutorial's exchange: many connections to `multiconn-server`, each of which gets back what it sent.

use super::support::{Program, await_until, has_ipv6, skipped};
use super::{Outcome, TUTORIAL_BYTES, client, outcome, server};
use rustix::process::{Resource, getrlimit};

#[test]
fn one_connection_is_the_default() {
    let server = server();
    let outcome = outcome(server.address(), &[]);
    outcome.expect_tutorial(1);
    assert!(outcome.verdict.starts_with(&format!("1 connection to {}", server.address())), "{outcome:#?}");
    assert_eq!(outcome.stderr.len(), 0, "{outcome:#?}");
}

#[test]
fn over_ipv4_ipv6_and_by_name() {
    for host in ["127.0.0.1", "::1", "[::1]", "localhost"] {
        if host.contains("::1") && !has_ipv6("the main job over IPv6") {
            continue;
        }
        let server = Program::server(&[host, "0"]);
        let port = server.address().port().to_string();
        Outcome::of(Program::client(&[host, &port, "50"])).expect_tutorial(50);
    }
}

#[test]
fn over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock").to_str().unwrap().to_owned();
    let server = Program::server(&["--unix", &path]);
    server.await_stdout("Listening");
    // More than the backlog of 4,096 holds; with 512 connects in progress it is never full.
    for (connections, number) in [("1", 1), ("1000", 1000)] {
        let outcome = Outcome::of(Program::client(&["--unix", &path, "-c", connections]));
        outcome.expect_tutorial(number);
        assert!(outcome.verdict.contains(&path), "{outcome:#?}");
    }
}

#[test]
fn two_ways_to_give_the_number_of_connections() {
    let server = server();
    outcome(server.address(), &["300"]).expect_tutorial(300);
    outcome(server.address(), &["-c", "300"]).expect_tutorial(300);
    outcome(server.address(), &["--connections=300"]).expect_tutorial(300);
}

#[test]
fn with_an_embedded_server() {
    let outcome = Outcome::of(Program::client(&["--embedded", "-c", "1000"]));
    outcome.expect_tutorial(1000);
    assert!(outcome.verdict.starts_with("1,000 connections to 127.0.0.1:"), "{outcome:#?}");
}

/// The first connections are held until the last ones are open: all are open at the same time, by the client's count
/// and by the server's descriptors.
#[test]
fn ten_thousand_connections_at_the_same_time() {
    const CONNECTIONS: u64 = 10_000;
    let needed = CONNECTIONS + 100;
    if getrlimit(Resource::Nofile).maximum.is_some_and(|limit| limit < needed) {
        let why = format!("each program needs {needed} descriptors, and this machine allows fewer");
        return skipped("10,000 connections at the same time", &why);
    }
    let server = server();
    let address = server.address();
    let open = || server.open_descriptors().map(|open| open as u64);
    let before = open();
    let held = client(address, &["10000", "--hold", "5s"]);
    if let Some(before) = before {
        // The last workers may have started after the first count.
        await_until("10,000 connections in the server", || open() >= Some(before + CONNECTIONS));
    }
    let outcome = Outcome::of(held);
    outcome.expect_tutorial(CONNECTIONS);
    assert_eq!(outcome.most_open, CONNECTIONS, "{outcome:#?}");
    assert_eq!(outcome.bytes.1, CONNECTIONS * TUTORIAL_BYTES);
}

#[test]
fn held_connections_are_all_open_at_the_end() {
    let server = server();
    for workers in ["1", "3"] {
        let outcome = outcome(server.address(), &["600", "--hold", "50ms", "--workers", workers]);
        outcome.expect_tutorial(600);
        assert_eq!(outcome.most_open, 600, "{outcome:#?}");
    }
}
