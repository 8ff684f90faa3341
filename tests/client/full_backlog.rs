//! A Unix socket whose backlog is full: the system says so at once and never tells when there is room again, so the
//! client has to try again by itself.

use super::Outcome;
use super::fake_server::echo;
use super::support::Program;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A listener in whose backlog one connection waits; a second one finds no room (unix(7), `EAGAIN`).
fn narrow(folder: &Path) -> (Socket, PathBuf) {
    let path = folder.join("m.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    (socket, path)
}

#[test]
fn who_finds_no_room_waits_and_is_served() {
    const CONNECTIONS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = narrow(folder.path());
    let client = Program::client(&["--unix", path.to_str().unwrap(), "-c", "40", "-v"]);
    // The first one waits in the backlog; the second one finds it full.
    client.await_stderr("Starting connection 2 to ");
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let (stream, _) = listener.accept().unwrap();
            // Only reads and writes follow, which are the same for both kinds of stream.
            scope.spawn(|| echo(TcpStream::from(stream)));
        }
    });
    let outcome = Outcome::of(client);
    outcome.expect_tutorial(40);
    // However often it was tried, a connection starts once.
    let starts = outcome.stderr.iter().filter(|line| line.starts_with("Starting connection ")).count();
    assert_eq!(starts, CONNECTIONS, "{outcome:#?}");
}

/// They wait at the same time, so that all of them together wait no longer than one.
#[test]
fn who_finds_no_room_gives_up_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, path) = narrow(folder.path());
    let timeouts = ["--connect-timeout", "300ms", "--reply-timeout", "300ms"];
    let since = Instant::now();
    let arguments = [&["--unix", path.to_str().unwrap(), "-c", "100"][..], &timeouts].concat();
    let outcome = Outcome::of(Program::client(&arguments));
    let took = since.elapsed();
    outcome.expect_failures(&[("timed out connecting", 99), ("timed out waiting for a reply", 1)]);
    assert!((Duration::from_millis(300)..Duration::from_secs(8)).contains(&took), "it took {took:?}");
}
