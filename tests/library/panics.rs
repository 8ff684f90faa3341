//! Panicking services end their own connection only; other connections on the same loop are not affected.

use super::misbehaving_service::{PANIC_AT, misbehaving_server_command};
use super::support::{PATIENCE, Program, connect};
use super::{Running, Upper, expect_upper};
use multiconn::connection::CloseReason;
use multiconn::service::{Context, Input, Output, Service, Wait};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

/// The connection ends in any way, without further bytes.
#[track_caller]
fn expect_cut(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = peer.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert!(rest.is_empty());
}

#[test]
fn a_service_that_panics_ends_alone() {
    let server = Running::start(1, |_| Upper);
    let mut neighbours: Vec<_> = (0..10).map(|_| connect(server.address)).collect();
    for round in 0..5 {
        let mut peer = connect(server.address);
        expect_upper(&mut peer, b"before");
        peer.write_all(b"?").unwrap();
        expect_cut(&mut peer);
        for neighbour in &mut neighbours {
            expect_upper(neighbour, format!("round {round}").as_bytes());
        }
    }
    drop(neighbours);
    let summary = server.drain();
    assert_eq!((summary.accepted, summary.closed[&CloseReason::ServicePanicked]), (15, 5));
}

/// Every other factory call panics. Each releases its place, or the next connection would wait for ever.
#[test]
fn a_panic_of_the_factory_ends_one_connection() {
    let server = Running::start_with(
        |config| (config.workers, config.max_connections) = (1, Some(2)),
        |opened| {
            assert!(opened.id() % 2 == 1, "a panic that the test asked for");
            Upper
        },
    );
    let mut neighbour = connect(server.address);
    for round in 0..5 {
        expect_upper(&mut neighbour, format!("round {round}").as_bytes());
        match TcpStream::connect_timeout(&server.address, PATIENCE) {
            Ok(mut peer) => {
                peer.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
                // It may have been closed already.
                let _ = peer.write_all(b"for nobody");
                expect_cut(&mut peer);
            }
            // The reset can arrive before connect(2) returns.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        expect_upper(&mut connect(server.address), b"the next one");
    }
    drop(neighbour);
    let summary = server.drain();
    assert_eq!((summary.accepted, summary.closed[&CloseReason::ServicePanicked]), (11, 5));
    assert_eq!(summary.closed.values().sum::<u64>(), 11);
}

/// Panics when it is dropped.
struct PanicsOnDrop(Upper);

impl Service for PanicsOnDrop {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        self.0.serve(input, output, context)
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a panic that the test asked for");
    }
}

/// The connection ended before, for another reason.
#[test]
fn a_service_that_panics_on_drop_ends_alone() {
    let server =
        Running::start_with(|config| (config.workers, config.max_connections) = (1, Some(1)), |_| PanicsOnDrop(Upper));
    for _ in 0..5 {
        expect_upper(&mut connect(server.address), b"one after the other");
    }
    let mut peer = connect(server.address);
    peer.write_all(b"?").unwrap();
    expect_cut(&mut peer);
    expect_upper(&mut connect(server.address), b"the next one");
    let summary = server.drain();
    assert_eq!((summary.accepted, summary.closed[&CloseReason::ServicePanicked]), (7, 1));
    assert_eq!(summary.closed.values().sum::<u64>(), 7);
}

/// Peers that can cause panics must not fill the log: it shows the first one, then one now and then.
#[test]
fn panics_do_not_fill_the_log() {
    let mut server = Program::spawn(&mut misbehaving_server_command(Path::new("/nobody/is/here")));
    let (address, since) = (server.address(), Instant::now());
    for _ in 0..1000 {
        let mut peer = connect(address);
        peer.write_all(b"?").unwrap();
        expect_cut(&mut peer);
    }
    let seconds = usize::try_from(since.elapsed().as_secs()).unwrap() + 1;
    expect_upper(&mut connect(address), b"all the same");
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("1,000 service panicked")), "{exit:#?}");
    let count = |part: &str| exit.stderr.iter().filter(|line| line.contains(part)).count();
    let (reports, warnings) = (count("a panic that the test asked for"), count("service panicked; connection closed"));
    assert!((1..=seconds).contains(&reports), "{reports} reports in {seconds} s");
    assert!((1..=2 * seconds).contains(&warnings), "{warnings} warnings of two workers in {seconds} s");
}

/// Only the log calls `error_detail`.
#[test]
fn a_service_that_panics_in_error_detail_ends_alone() {
    let mut command = misbehaving_server_command(Path::new("/nobody/is/here"));
    let mut server = Program::spawn(command.env("RUST_LOG", "multiconn=debug"));
    let address = server.address();
    let mut neighbours: Vec<_> = (0..20).map(|_| connect(address)).collect();
    for _ in 0..10 {
        expect_upper(&mut connect(address), b"one after the other");
    }
    server.await_stderr("error_detail=panicked: a panic that the test asked for");
    for neighbour in &mut neighbours {
        expect_upper(neighbour, b"on either worker");
    }
    drop(neighbours);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// A partly working server would be worse than none: a service manager could not detect it and restart it.
#[test]
fn a_worker_that_panics_ends_the_server() {
    let mut command = misbehaving_server_command(Path::new("/nobody/is/here"));
    // A backtrace is written in pieces, between which other threads can log.
    command.env("RUST_LOG", "multiconn=debug").env(PANIC_AT, "connection=21 ").env("RUST_BACKTRACE", "0");
    let mut server = Program::spawn(&mut command);
    let mut peers: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    for peer in &mut peers {
        expect_upper(peer, b"on either worker");
    }
    // The connection that exceeds the limit.
    drop((TcpStream::connect(server.address()), peers));
    let exit = server.await_exit();
    assert!(!matches!(exit.code, Some(0) | None), "{exit:#?}");
    assert!(
        exit.stderr.iter().any(|line| line.ends_with("shutting down: a worker panicked: a log that panics")),
        "{exit:#?}"
    );
    assert!(exit.stderr.iter().any(|line| line.contains("Panic(\"a log that panics\")")), "{exit:#?}");
    let told = exit.stdout.iter().filter(|line| line.starts_with("told: ")).count();
    assert_eq!(told, 20, "every service is told of its end: {exit:#?}");
}
