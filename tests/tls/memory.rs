//! The server's memory limit with TLS, measured as resident memory: what a peer can make a session hold, before and
//! after authentication.

use super::support::{NARROW, Program, connect, connect_narrow, echo, skipped};
use super::{Authority, Peer, address, client, logging_server, peer, server};
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The counted memory of an idle session, in bytes.
const SESSION: u64 = 10 * 1024;

/// Additional memory per connection, and per worker once, as without TLS.
const PER_CONNECTION: u64 = 300;
const FIXED: u64 = 2 << 20;

/// A server with one worker that has already served a peer, and its resident memory.
fn warm_server(authority: &Authority, arguments: &[&str]) -> (Program, Option<u64>) {
    let fixed = ["--workers", "1", "--handshake-timeout", "5m"];
    let server = logging_server(authority, &[&fixed, arguments, &NARROW[..]].concat());
    let mut first = peer(authority, address(&server));
    first.write_all(&vec![0; 64 << 10]).unwrap();
    first.read_exact(&mut vec![0; 64 << 10]).unwrap();
    drop(first);
    server.await_closed(1);
    let before = server.resident_bytes();
    if before.is_none() {
        skipped("the memory of TLS", "the memory of a process cannot be read here");
    }
    (server, before)
}

#[track_caller]
fn expect_growth(server: &Program, before: u64, held: u64, peers: usize) {
    let grown = server.resident_bytes().unwrap().saturating_sub(before);
    let bound = held + peers as u64 * PER_CONNECTION + FIXED;
    assert!(grown <= bound, "{peers} peers took {grown} bytes, {bound} at most");
}

/// The first `count` bytes of a ClientHello of 64 KiB, in records.
fn unfinished_hello(count: usize) -> Vec<u8> {
    let message = [&[1, 0, 0xff, 0xff][..], &vec![0; count]].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    message.chunks(16 << 10).flat_map(record).collect()
}

/// Without the accounting each of them took 68 KB, none of it counted.
#[test]
fn unfinished_handshakes_are_counted() {
    const PEERS: usize = 200;
    let authority = Authority::new();
    let (server, before) = warm_server(&authority, &["--memory-limit", "2MiB"]);
    let Some(before) = before else { return };
    let hello = unfinished_hello(27 << 10);
    let to = address(&server);
    let mut peers: Vec<_> = (0..PEERS).filter_map(|_| TcpStream::connect(to).ok()).collect();
    for peer in &mut peers {
        // The server may have closed it by now.
        let _ = peer.write_all(&hello);
    }
    server.await_stderr("memory limit");
    expect_growth(&server, before, 2 << 20, PEERS);
}

/// A record of 16 KiB that fails to decode leaves 192 KiB behind until the connection closes.
#[test]
fn records_of_many_messages_are_counted() {
    const PEERS: usize = 40;
    let authority = Authority::new();
    let (server, before) = warm_server(&authority, &["--memory-limit", "2MiB"]);
    let Some(before) = before else { return };
    let record = [&[22, 3, 1, 0x40, 0][..], &[1, 0, 0, 0].repeat(4096)].concat();
    let mut peers: Vec<_> = (0..PEERS).map(|_| connect(address(&server))).collect();
    for peer in &mut peers {
        // The server may have closed it by now.
        let _ = peer.write_all(&record);
    }
    server.await_stderr("memory limit");
    expect_growth(&server, before, 2 << 20, PEERS);
}

#[test]
fn connections_are_counted_from_accept() {
    const PEERS: usize = 150;
    let authority = Authority::new();
    let (mut server, before) = warm_server(&authority, &["--memory-limit", "1MiB"]);
    let Some(before) = before else { return };
    let to = address(&server);
    // A connection that is reset at once may never have been reported as connected.
    let peers: Vec<_> = (0..PEERS).filter_map(|_| TcpStream::connect(to).ok()).collect();
    let most = (1 << 20) / usize::try_from(SESSION).unwrap();
    server.await_closed(1 + PEERS - most);
    expect_growth(&server, before, 1 << 20, PEERS);
    drop(peers);
    server.await_closed(1 + PEERS);
    assert_eq!(server.terminate().counted("memory limit"), (PEERS - most) as u64);
}

#[test]
fn a_handshake_that_is_too_large_fails() {
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let mut peer = connect(address(&server));
    peer.write_all(&unfinished_hello(30 << 10)).unwrap();
    let mut alert = Vec::new();
    peer.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 47], "illegal_parameter");
    server.await_stderr(r#"reason="handshake failed" tls_fault="the peer's handshake is too large"#);
    drop(peer);
    server.terminate().expect_counts(&[("handshake failed", 1)]);
}

#[test]
fn a_large_client_certificate_is_accepted() {
    let authority = Authority::new();
    let names: Vec<_> = (0..600).map(|number| format!("client-{number}.department.example.org")).collect();
    authority.issue("large", &names.iter().map(String::as_str).collect::<Vec<_>>(), 4000);
    let mut server = server(&authority, &["--tls-client-ca", &authority.path("ca.pem")]);
    let (ca, cert, key) = (authority.path("ca.pem"), authority.path("large.pem"), authority.path("large.key"));
    let exit = client(address(&server), &["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    server.terminate().expect_counts(&[("closed by peer", 1)]);
}

/// A processed record leaves nothing behind. Without the shrinking a session kept the 18 KB of its largest record.
#[test]
fn idle_sessions_hold_what_is_counted() {
    const PEERS: usize = 300;
    let authority = Authority::new();
    let (server, before) = warm_server(&authority, &[]);
    let Some(before) = before else { return };
    let mut peers: Vec<_> = (0..PEERS).map(|_| peer(&authority, address(&server))).collect();
    for peer in &mut peers {
        echo(peer, &[1; 16 << 10]);
    }
    expect_growth(&server, before, PEERS as u64 * SESSION, PEERS);
}

/// Sends until the connection is blocked, or the server has closed it.
fn push(authority: &Authority, address: SocketAddr) -> Peer {
    let session = ClientConnection::new(authority.client_config(), "localhost".try_into().unwrap()).unwrap();
    let mut peer = StreamOwned::new(session, connect_narrow(address));
    peer.sock.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while peer.write(&[0; 16 << 10]).is_ok() {}
    peer
}

#[test]
fn connections_blocked_in_both_directions_are_counted() {
    const PEERS: usize = 80;
    let authority = Authority::new();
    let (mut server, before) = warm_server(&authority, &["--memory-limit", "6MiB"]);
    let Some(before) = before else { return };
    let to = address(&server);
    let peers: Vec<Peer> = std::thread::scope(|scope| {
        let pushing: Vec<_> = (0..PEERS).map(|_| scope.spawn(|| push(&authority, to))).collect();
        pushing.into_iter().map(|pushing| pushing.join().unwrap()).collect()
    });
    server.await_stderr("memory limit");
    // A third of the limit is for holes of the heap, where connections were that the limit has closed.
    expect_growth(&server, before, 8 << 20, PEERS);
    let sockets: Vec<TcpStream> = peers.into_iter().map(|peer| peer.sock).collect();
    drop(sockets);
    server.await_closed(1 + PEERS);
    let closed = server.terminate().counted("memory limit");
    assert!(0 < closed && closed < PEERS as u64, "{closed} of {PEERS} were closed");
}
