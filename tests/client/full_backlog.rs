//! Unix socket with a full backlog: connect fails at once and no event announces room, so the client has to retry.

use super::Outcome;
use super::fake_server::echo;
use super::support::Program;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A listener with one connection in its backlog; a second one finds it full (unix(7), `EAGAIN`).
fn narrow(folder: &Path) -> (Socket, PathBuf) {
    let path = folder.join("m.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    (socket, path)
}

#[test]
fn a_connect_to_a_full_backlog_waits_and_succeeds() {
    const CONNECTIONS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = narrow(folder.path());
    let client = Program::client(&["--unix", path.to_str().unwrap(), "-c", "40", "-v"]);
    // The first one waits in the backlog; the second one finds it full.
    client.await_stderr("Starting connection 2 to ");
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let (stream, _) = listener.accept().unwrap();
            // The rest uses only reads and writes, which are the same for both kinds of stream.
            scope.spawn(|| echo(TcpStream::from(stream)));
        }
    });
    let outcome = Outcome::of(client);
    outcome.expect_tutorial(40);
    // A connection is started once, however often it was retried.
    let starts = outcome.stderr.iter().filter(|line| line.starts_with("Starting connection ")).count();
    assert_eq!(starts, CONNECTIONS, "{outcome:#?}");
}

/// They wait at the same time, so all of them together wait no longer than one.
#[test]
fn a_connect_to_a_full_backlog_times_out() {
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
