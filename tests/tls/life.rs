//! Life of a TLS connection: normal end, half-close, and reload of the server's files.

use super::support::{Program, bytes, echo, expect_end, expect_refusal, handed_over_to, works};
use super::{Authority, address, client, peer, server};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;

#[test]
fn input_before_a_half_close_is_answered() {
    let authority = Authority::new();
    let mut server = server(&authority, &[]);
    let mut peer = peer(&authority, address(&server));
    let message = bytes(1, 60_000);
    peer.write_all(&message).unwrap();
    peer.conn.send_close_notify();
    peer.flush().unwrap();
    peer.sock.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    // An end of input without close_notify would be an error here.
    peer.read_to_end(&mut reply).unwrap();
    assert!(reply == message, "{} bytes came back", reply.len());
    server.terminate().expect_counts(&[("closed by peer", 1)]);
}

#[test]
fn a_drain_sends_close_notify() {
    let authority = Authority::new();
    let mut server = server(&authority, &[]);
    let mut peer = peer(&authority, address(&server));
    echo(&mut peer, b"hello");
    server.signal(Signal::TERM);
    expect_end(&mut peer);
    drop(peer);
    server.await_exit().expect_counts(&[("drained", 1)]);
}

#[test]
fn a_reload_keeps_existing_connections() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--workers", "2"]);
    let mut early = peer(&authority, address(&server));
    echo(&mut early, b"before");
    authority.issue("server", &["localhost", "127.0.0.1"], 3000);
    server.signal(Signal::HUP);
    server.await_stderr("TLS files reloaded: certificate SHA-256 ");
    echo(&mut early, b"after");
    let mut late = peer(&authority, address(&server));
    echo(&mut late, b"hello");
    let shown = |peer: &super::Peer| peer.conn.peer_certificates().unwrap()[0].to_vec();
    assert_ne!(shown(&early), shown(&late));
    // A file that cannot be used changes nothing.
    fs::write(authority.path("server.pem"), "no certificate").unwrap();
    server.signal(Signal::HUP);
    server.await_stderr("error: TLS reload failed; previous files stay in use: cannot use ");
    let mut last = peer(&authority, address(&server));
    echo(&mut last, b"hello");
    assert_eq!(shown(&late), shown(&last));
    echo(&mut early, b"still here");
    drop((early, late, last));
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn a_new_process_reads_the_files_itself() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    let address = address(&server);
    let mut early = peer(&authority, address);
    echo(&mut early, b"before");
    server.signal(Signal::USR2);
    server.await_stderr("handover complete: PID ");
    let mut late = peer(&authority, address);
    echo(&mut late, b"hello");
    echo(&mut early, b"still here");
    let line = server.await_stderr("handover complete: PID ");
    rustix::process::kill_process(handed_over_to(&line).unwrap(), Signal::TERM).unwrap();
    // Whichever process accepted it sends close_notify.
    server.signal(Signal::TERM);
    expect_end(&mut late);
}

/// A FIFO would block the reader. Nor may any of the signals below delay a connection.
#[test]
fn only_regular_files_are_read() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--workers", "1"]);
    let mut early = peer(&authority, address(&server));
    let (fifo, large) = (authority.path("server.fifo"), authority.path("large.pem"));
    assert!(works(Command::new("mkfifo").arg(&fifo)));
    fs::write(&large, vec![b'\n'; (1 << 20) + 1]).unwrap();
    fs::rename(authority.path("server.pem"), authority.path("kept.pem")).unwrap();
    fs::rename(&fifo, authority.path("server.pem")).unwrap();
    server.signal(Signal::HUP);
    server.await_stderr("error: TLS reload failed; previous files stay in use: cannot use ");
    let error_detail = server.await_stderr("it is a FIFO; give a regular file");
    assert!(error_detail.contains(&authority.path("server.pem")), "{error_detail}");
    echo(&mut early, b"still here");
    // Signals that arrive during a reload cause one further reload.
    fs::rename(authority.path("server.pem"), &fifo).unwrap();
    fs::rename(authority.path("kept.pem"), authority.path("server.pem")).unwrap();
    for _ in 0..100 {
        server.signal(Signal::HUP);
    }
    server.await_stderr("TLS files reloaded: ");
    echo(&mut peer(&authority, address(&server)), b"hello");
    let folder = Path::new(&fifo).parent().unwrap().to_str().unwrap();
    let key = authority.path("server.key");
    for (file, reason) in
        [(fifo.as_str(), "a FIFO"), (folder, "a folder"), ("/dev/zero", "a device"), (&large, "larger than 1 MiB")]
    {
        for (cert, key) in [(file, key.as_str()), (&*authority.path("server.pem"), file)] {
            let refused = Program::server(&["127.0.0.1", "0", "--tls-cert", cert, "--tls-key", key]);
            expect_refusal(refused, 1, &["cannot use", file, reason]);
        }
        expect_refusal(client(address(&server), &["--tls-ca", file]), 1, &["cannot use", file, reason]);
    }
    drop(early);
    assert_eq!(server.terminate().code, Some(0));
}
