//! Services that panic: whatever they do, it is one connection's end, and the others on the same loop never notice.

use super::misbehaving_service::{PANIC_AT, odd};
use super::support::{PATIENCE, Program, connect};
use super::{Running, Upper, expect_upper};
use multiconn::connection::CloseReason;
use multiconn::service::{Input, Output, Service, Wait};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

/// The connection ends, in whatever way, and nothing more comes before that.
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

/// Every other one; and each gives its place back, or the next one would wait for ever.
#[test]
fn a_service_that_cannot_be_made_ends_alone() {
    let server = Running::start_with(
        |config| (config.workers, config.max_connections) = (1, Some(2)),
        |opened| {
            assert!(opened.number % 2 == 1, "a panic that the test asked for");
            Upper
        },
    );
    let mut neighbour = connect(server.address);
    for round in 0..5 {
        expect_upper(&mut neighbour, format!("round {round}").as_bytes());
        match TcpStream::connect_timeout(&server.address, PATIENCE) {
            Ok(mut peer) => {
                peer.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
                // It may have ended already.
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

/// Panics when its connection is over.
struct SoreLoser(Upper);

impl Service for SoreLoser {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        self.0.serve(input, output, now)
    }
}

impl Drop for SoreLoser {
    fn drop(&mut self) {
        panic!("a panic that the test asked for");
    }
}

/// The connection has ended before, for a reason of its own.
#[test]
fn a_service_that_panics_at_its_end_ends_alone() {
    let server =
        Running::start_with(|config| (config.workers, config.max_connections) = (1, Some(1)), |_| SoreLoser(Upper));
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

/// Peers who can bring a panic about must not fill the log with it: it tells of the first, and then now and then.
#[test]
fn panics_do_not_fill_the_log() {
    let mut server = Program::spawn(&mut odd(Path::new("/nobody/is/here")));
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
    let (reports, warnings) = (count("a panic that the test asked for"), count("panics so far: "));
    assert!((1..=seconds).contains(&reports), "{reports} reports in {seconds} s");
    assert!((1..=2 * seconds).contains(&warnings), "{warnings} warnings of two workers in {seconds} s");
}

/// What the service has to say of its end is asked for by the log alone.
#[test]
fn a_service_that_panics_over_its_complaint_ends_alone() {
    let mut command = odd(Path::new("/nobody/is/here"));
    let mut server = Program::spawn(command.env("RUST_LOG", "multiconn=debug"));
    let address = server.address();
    let mut neighbours: Vec<_> = (0..20).map(|_| connect(address)).collect();
    for _ in 0..10 {
        expect_upper(&mut connect(address), b"one after the other");
    }
    server.await_stderr("panicked: a panic that the test asked for (number ");
    for neighbour in &mut neighbours {
        expect_upper(neighbour, b"on either worker");
    }
    drop(neighbours);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// Half a server would be worse than none: a service manager could not see it, and start another one.
#[test]
fn a_worker_that_panics_ends_the_server() {
    let mut command = odd(Path::new("/nobody/is/here"));
    // A backtrace is written in pieces, into which the log of another thread can fall.
    command.env("RUST_LOG", "multiconn=debug").env(PANIC_AT, "(number 21)").env("RUST_BACKTRACE", "0");
    let mut server = Program::spawn(&mut command);
    let mut peers: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    for peer in &mut peers {
        expect_upper(peer, b"on either worker");
    }
    // The one that is one too many.
    drop((TcpStream::connect(server.address()), peers));
    let exit = server.await_exit();
    assert!(!matches!(exit.code, Some(0) | None), "{exit:#?}");
    assert!(
        exit.stderr.iter().any(|line| line.ends_with("shutting down: a worker panicked: a log that panics")),
        "{exit:#?}"
    );
    assert!(exit.stderr.iter().any(|line| line.contains("Panic(\"a log that panics\")")), "{exit:#?}");
}
