//! TLS connections closed with unsent output: the peer sees a reset. Slow readers are not closed.

use super::support::{
    PATIENCE, Program, SocketState, await_full, await_until, closing, connect_with_buffers, expect_reset, is_peer_idle,
    socket_state,
};
use super::{Authority, Peer, address, logging_server};
use rustls::ClientConnection;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A server that sends endlessly, and a peer that has received some of it.
fn flooded_peer(arguments: &[&str]) -> (Program, TcpStream) {
    let authority = Authority::new();
    let server = logging_server(&authority, &[&["--service", "chargen"], arguments].concat());
    let session = ClientConnection::new(authority.client_config(), "localhost".try_into().unwrap()).unwrap();
    let mut peer = Peer::new(session, connect_with_buffers(address(&server), 16 << 10));
    peer.read_exact(&mut [0; 100]).unwrap();
    (server, peer.sock)
}

#[track_caller]
fn expect_reset_for(server: &Program, mut peer: TcpStream, reason: &str) {
    server.await_stderr(&closing(peer.local_addr().unwrap(), reason));
    expect_reset(&mut peer);
}

#[test]
fn the_write_timeout_resets() {
    let (server, peer) = flooded_peer(&["--write-timeout", "1s"]);
    expect_reset_for(&server, peer, "write timeout");
}

#[test]
fn a_peer_that_ends_without_close_notify_is_reset() {
    let (server, peer) = flooded_peer(&[]);
    await_full(address(&server), &peer);
    peer.shutdown(Shutdown::Write).unwrap();
    expect_reset_for(&server, peer, "truncated by peer");
}

/// An end of the input without close_notify is an error. The rest of the reply is in the TLS session by then, and nowhere
/// else.
#[test]
#[cfg(target_os = "linux")]
fn a_truncated_input_resets_while_tls_holds_a_reply() {
    const MESSAGE: [u8; 256] = [7; 256];
    let authority = Authority::new();
    let server = logging_server(&authority, &["--send-buffer", "4KiB"]);
    let to = address(&server);
    let session = ClientConnection::new(authority.client_config(), "localhost".try_into().unwrap()).unwrap();
    let mut peer = Peer::new(session, connect_with_buffers(to, 4 << 10));
    let at = peer.sock.local_addr().unwrap();
    // The states of both sockets after everything was read and answered as far as there was room.
    let mut states = [None; 2];
    let mut sent = 0;
    let in_sockets = |states: [Option<SocketState>; 2]| {
        states[0].map_or(0, |server| server.unacknowledged) + states[1].map_or(0, |peer| peer.unread)
    };
    // Four messages, in case the last one is still on its way.
    while sent < in_sockets(states) + 4 * MESSAGE.len() {
        peer.write_all(&MESSAGE).unwrap();
        sent += MESSAGE.len();
        await_until("the server to rest", || {
            let before = std::mem::replace(&mut states, [socket_state(to, at), socket_state(at, to)]);
            let [server, ours] = states.map(|state| state.expect("it is open"));
            let is_still = states == before && is_peer_idle([&peer.sock]);
            is_still && server.unread == 0 && ours.unacknowledged == 0
        });
    }
    peer.sock.shutdown(Shutdown::Write).unwrap();
    expect_reset_for(&server, peer.sock, "truncated by peer");
}

#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "needs the acknowledged bytes (TCP_INFO)")]
fn a_slow_and_steady_reader_is_not_closed() {
    const LIMIT: Duration = Duration::from_secs(6);
    let (server, mut peer) =
        flooded_peer(&["--write-timeout", "6s", "--idle-timeout", "6s", "--send-buffer", "200KiB"]);
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let since = Instant::now();
    let mut room = [0; 4 << 10];
    while since.elapsed() < LIMIT * 3 / 2 {
        peer.read_exact(&mut room).unwrap_or_else(|error| panic!("{error}: {:#?}", server.stderr()));
        // The sleep is the slowness under test.
        std::thread::sleep(Duration::from_millis(200));
    }
    // The kernel would continue to send its buffer even after a close.
    let closed = server.stderr().into_iter().find(|line| line.contains("Closing connection"));
    assert_eq!(closed, None);
}
