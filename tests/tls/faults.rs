//! Faulty TLS peers. Each is told the fault where possible, counted, and affects no other connection.

#![allow(clippy::float_cmp, reason = "the numbers of a page are whole and below 2^53")]

use super::support::{
    PATIENCE, Page, Program, await_until, bytes, connect, connect_narrow, echo, expect_closed, expect_end, reset,
    uninterrupted,
};
use super::{Authority, Peer, address, client, logging_server, peer, server};
use rustls::{ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn plain_text_on_a_tls_port() {
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    for opening in [&b"hi"[..], b"hello there", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = connect(address(&server));
        stream.write_all(opening).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.len() <= 7, "more than an alert: {answer:?}");
    }
    server.await_stderr("warning: plain text on a TLS port; connection closed peer=127.0.0.1:");
    server.await_stderr(r#"reason="handshake failed" tls_fault="the peer speaks HTTP without TLS"#);
    let exit = Program::client(&["127.0.0.1", &address(&server).port().to_string()]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("the server expects TLS)")), "{exit:#?}");
    server.terminate().expect_counts(&[("handshake failed", 4)]);
}

#[test]
fn tls_on_a_plain_port() {
    let server = Program::server(&["127.0.0.1", "0"]);
    let exit = client(server.address(), &["--tls-insecure"]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("it speaks plain text, not TLS")), "{exit:#?}");
    server.await_stderr("warning: TLS on a plain-text port: the server has no certificate peer=127.0.0.1:");
}

/// The client has sent its end, and still checks what the server sends.
#[test]
fn surplus_output_of_a_server_is_reported() {
    let authority = Authority::new();
    let ca = authority.path("ca.pem");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.server_config_for(&[version]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let exit = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut server = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                let mut sent = [0; 100];
                while let Ok(count @ 1..) = server.read(&mut sent) {
                    server.write_all(&sent[..count]).unwrap();
                }
                server.write_all(b"extra").unwrap();
                server.conn.send_close_notify();
                server.flush().unwrap();
            });
            client(address, &["--tls-ca", &ca]).await_exit()
        });
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        let told = "    connection 1, byte 44: received 5 bytes more than it sent: b'extra'".to_owned();
        assert!(exit.stdout.contains(&told), "{exit:#?}");
    }
}

#[test]
fn a_connection_closed_in_the_handshake() {
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let mut peer = peer(&authority, address(&server));
    echo(&mut peer, b"hello");
    drop(peer.sock.try_clone().unwrap().shutdown(std::net::Shutdown::Write));
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest);
    server.await_stderr("truncated by peer");
    drop(connect(address(&server)));
    server.await_stderr("the peer closed the connection during the handshake");
    server.terminate().expect_counts(&[("truncated by peer", 1), ("handshake failed", 1)]);
}

#[test]
fn a_silent_peer_is_closed_at_the_handshake_timeout() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--handshake-timeout", "3s"]);
    let address = address(&server);
    let mut silent = connect(address);
    let mut trickle = connect(address);
    // The start of a record that never becomes complete, byte by byte.
    for byte in [22, 3, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0] {
        if trickle.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(350));
    }
    expect_closed(&mut silent);
    expect_closed(&mut trickle);
    let mut done = peer(&authority, address);
    echo(&mut done, b"in time");
    std::thread::sleep(Duration::from_millis(3100));
    echo(&mut done, b"and long after");
    drop(done);
    let exit = server.terminate();
    assert_eq!(exit.counted("handshake timeout"), 2, "{exit:#?}");
}

/// Each byte of a handshake is flipped once: the handshake ends in time, and other connections are unaffected.
#[test]
fn every_flipped_byte_ends_the_handshake() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--handshake-timeout", "5s"]);
    let address = address(&server);
    let mut neighbour = peer(&authority, address);
    echo(&mut neighbour, b"Nothing has happened yet.");
    let mut hello = Vec::new();
    let mut session =
        rustls::ClientConnection::new(authority.client_config(), "localhost".try_into().unwrap()).unwrap();
    session.write_tls(&mut hello).unwrap();
    let streams: Vec<_> = (0..hello.len())
        .map(|at| {
            let mut damaged = hello.clone();
            damaged[at] ^= 0x55;
            let mut stream = connect(address);
            stream.write_all(&damaged).unwrap();
            stream
        })
        .collect();
    for mut stream in streams {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    echo(&mut neighbour, b"Nothing happened here.");
    let mut damaged = peer(&authority, address);
    echo(&mut damaged, b"hello");
    // An unencrypted record: the receiver sends an alert and closes.
    damaged
        .sock
        .write_all(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
        .unwrap();
    let error = uninterrupted(|| damaged.read(&mut [0])).expect_err("an alert comes").to_string();
    assert!(error.contains("BadRecordMac") || error.contains("DecryptError"), "{error}");
    drop(damaged);
    drop(neighbour);
    let exit = server.terminate();
    assert_eq!((exit.code, exit.counted("damaged input")), (Some(0), 1), "{exit:#?}");
    assert!(!exit.stderr.iter().any(|line| line.contains("panicked")), "{exit:#?}");
}

/// A peer that sends and does not read: buffered bytes are bounded, and all arrive when the peer finally reads.
#[test]
fn a_slow_reader_receives_everything() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--workers", "1"]);
    let address = address(&server);
    let name = "localhost".try_into().unwrap();
    let session = rustls::ClientConnection::new(authority.client_config(), name).unwrap();
    let mut peer = Peer::new(session, connect_narrow(address));
    echo(&mut peer, b"hello");
    peer.sock.set_nonblocking(true).unwrap();
    let before = server.resident_bytes();
    let message = bytes(7, 32 << 20);
    let sent = push_until_blocked(&mut peer, &message);
    assert!(sent < message.len(), "the server takes everything");
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        assert!(after < before + (1 << 20), "{} bytes more", after - before);
    }
    let mut neighbour = super::peer(&authority, address);
    echo(&mut neighbour, b"Nobody waits for that one.");
    let reply = read_back(&mut peer, sent);
    assert!(reply == message[..sent], "the reply differs");
    reset(peer.sock);
    drop(neighbour);
    assert_eq!(server.terminate().code, Some(0));
}

/// Sends until the connection is blocked; returns how many bytes of plaintext were taken, all of which are in transit.
fn push_until_blocked(peer: &mut Peer, message: &[u8]) -> usize {
    let mut sent = 0;
    let mut moved = Instant::now();
    while sent < message.len() && moved.elapsed() < Duration::from_millis(300) {
        let end = message.len().min(sent + 16_384);
        match peer.conn.writer().write(&message[sent..end]) {
            Ok(0) => {}
            Ok(count) => sent += count,
            Err(error) => panic!("{error}"),
        }
        while peer.conn.wants_write() {
            match peer.conn.write_tls(&mut peer.sock) {
                Ok(_) => moved = Instant::now(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        if peer.conn.wants_write() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    sent
}

/// Reads `count` bytes, and meanwhile flushes what is still in transit.
fn read_back(peer: &mut Peer, count: usize) -> Vec<u8> {
    let mut reply = Vec::new();
    let begin = Instant::now();
    while reply.len() < count {
        assert!(begin.elapsed() < 3 * PATIENCE, "{} of {count} bytes came back", reply.len());
        let _ = peer.conn.write_tls(&mut peer.sock);
        if peer.conn.read_tls(&mut peer.sock).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        peer.conn.process_new_packets().unwrap();
        let mut room = [0; 16_384];
        while let Ok(count @ 1..) = peer.conn.reader().read(&mut room) {
            reply.extend_from_slice(&room[..count]);
        }
    }
    reply
}

/// A connection that ends in the middle of the server's output, without close_notify.
#[test]
fn a_truncated_reply_is_reported() {
    let authority = Authority::new();
    let real = server(&authority, &[]);
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, to) = (relay.local_addr().unwrap(), address(&real));
    // A proxy that forwards the handshake, and closes both sides once the first message has arrived.
    let thread = std::thread::spawn(move || {
        let (near, _) = relay.accept().unwrap();
        let far = connect(to);
        let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut near_in, &mut far_out);
        });
        // ServerHello to Finished, two tickets and a little of the first reply.
        let _ = forward(far, near.try_clone().unwrap(), 40_000);
        near.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let ca = authority.path("ca.pem");
    let exit = client(at, &["--tls-ca", &ca, "--size", "1MiB", "--server-name", "localhost"]).await_exit();
    thread.join().unwrap();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let told = exit.stdout.iter().any(|line| line.contains("truncated by peer") || line.contains("reset by peer"));
    assert!(told, "{exit:#?}");
}

fn forward(mut from: TcpStream, mut to: TcpStream, max_bytes: usize) -> std::io::Result<()> {
    let (mut room, mut carried) = (vec![0; 4096], 0);
    while carried < max_bytes {
        let count = uninterrupted(|| from.read(&mut room))?;
        to.write_all(&room[..count])?;
        carried += count;
    }
    Ok(())
}

#[test]
fn an_idle_peer_receives_close_notify() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--idle-timeout", "4s"]);
    let mut peer = peer(&authority, address(&server));
    echo(&mut peer, b"hello");
    expect_end(&mut peer);
    drop(peer);
    server.terminate().expect_counts(&[("idle timeout", 1)]);
}

/// The page of the admin listener of a program.
fn page(program: &Program) -> Page {
    let mut stream = connect(program.address_of(", metrics)"));
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Page::read(answer.split_once("\r\n\r\n").unwrap().1)
}

#[test]
fn handshakes_are_counted_by_result() {
    let (authority, other) = (Authority::new(), Authority::new());
    let [trusted, unknown] = [&authority, &other].map(|authority| {
        server(authority, &["--workers", "1", "--metrics", "127.0.0.1:0", "--handshake-timeout", "5s"])
    });
    let targets = [&trusted, &unknown].map(|server| address(server).to_string());
    let arguments = ["--target", &targets[0], "--target", &targets[1], "-c", "4", "--rate", "100", "--duration", "1m"];
    let tls = ["--tls", "--tls-ca", &authority.path("ca.pem"), "--metrics", "127.0.0.1:0"];
    let client = Program::client(&[&arguments[..], &tls].concat());
    connect(address(&trusted)).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _silent = connect(address(&trusted));
    for (program, name, results) in [
        (
            &trusted,
            "multiconn_tls_handshakes_total",
            &[("completed", 2.0), ("http", 1.0), ("handshake_timeout", 1.0)][..],
        ),
        (&unknown, "multiconn_tls_handshakes_total", &[("completed", 0.0), ("alert_48", 2.0)]),
        (&client, "multiconn_client_tls_handshakes_total", &[("completed", 2.0), ("unknown_issuer", 2.0)]),
    ] {
        await_until(&format!("{name} {results:?}"), || {
            let page = page(program);
            let count = |result: &str| page.sum(name, &[&format!("result=\"{result}\"")]);
            let total: f64 = results.iter().map(|(_, count)| count).sum();
            results.iter().all(|(result, expected)| count(result) == *expected) && page.sum(name, &[]) == total
        });
    }
}
