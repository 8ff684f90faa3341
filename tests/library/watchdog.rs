//! Watchdog: a worker that hangs stops the notifications to the service manager, which can then restart the server.

use super::misbehaving_service::misbehaving_server_command;
use super::support::{PATIENCE, Program, await_until, connect, socket_state};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Watchdog interval; notifications are sent twice as often.
const INTERVAL: Duration = Duration::from_millis(100);

/// Time without notifications after which the server counts as hung; systemd takes one interval.
const SILENCE: Duration = Duration::from_secs(1);

/// Whether the watchdog gets a notification within `patience`.
fn is_told(manager: &UnixDatagram, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut text = [0; 1000];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        manager.set_read_timeout(Some(left)).unwrap();
        match manager.recv(&mut text) {
            Ok(count) if &text[..count] == b"WATCHDOG=1" => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            Err(error) => panic!("the manager's socket: {error}"),
        }
    }
}

/// Whether the reply has arrived.
fn is_answered(mut peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let result = peer.read(&mut [0; 100]);
    peer.set_nonblocking(false).unwrap();
    result.is_ok_and(|count| count > 0)
}

/// One hanging worker of two is enough, although the other one continues to serve. After recovery, notifications
/// resume.
#[test]
fn a_worker_that_hangs_silences_the_watchdog() {
    let folder = tempfile::tempdir().unwrap();
    let (path, release) = (folder.path().join("notify"), folder.path().join("release"));
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = misbehaving_server_command(&release);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", INTERVAL.as_micros().to_string());
    let mut server = Program::spawn(&mut command);
    let mut hung = connect(server.address());
    for _ in 0..3 {
        assert!(is_told(&manager, PATIENCE), "while all is well");
    }
    hung.write_all(b"!").unwrap();
    let (local, remote) = (hung.peer_addr().unwrap(), hung.local_addr().unwrap());
    await_until("the read before the hang", || socket_state(local, remote).is_none_or(|state| state.unread == 0));
    await_until("silence", || !is_told(&manager, SILENCE));
    // The kernel distributes connections over both workers, or the other worker takes them all.
    let mut others: Vec<_> = (0..40).map(|_| connect(server.address())).collect();
    for peer in &mut others {
        peer.write_all(b"x").unwrap();
    }
    await_until("an answer of the other worker", || others.iter().any(is_answered));
    // One that was about to be sent may be late.
    let is_told_twice = is_told(&manager, SILENCE) && is_told(&manager, SILENCE);
    assert!(!is_told_twice, "one worker hangs, and the watchdog is told that all is well");
    assert!(!is_answered(&hung));
    std::fs::write(&release, "").unwrap();
    for _ in 0..3 {
        assert!(is_told(&manager, PATIENCE), "once it goes on");
    }
    await_until("the answer that was late", || is_answered(&hung));
    drop((hung, others));
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}
