//! Connections that the server closes with unsent output: the peer sees a reset, and cannot take a truncated reply for
//! a complete one. Slow readers are not closed.

use super::support::{
    Program, await_full, await_some, closing, connect, connect_narrow, connect_with_buffers, expect_end, expect_reset,
};
use super::{logging_server, server};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A server that sends endlessly, and a peer that does not read; output is queued in the kernel and in the server.
fn stuck(arguments: &[&str]) -> (Program, TcpStream) {
    let server = logging_server(&[&["--service", "chargen", "--workers", "1"], arguments].concat());
    let peer = connect_narrow(server.address());
    (server, peer)
}

#[track_caller]
fn expect_reset_for(server: &Program, peer: &mut TcpStream, reason: &str) {
    server.await_stderr(&closing(peer.local_addr().unwrap(), reason));
    expect_reset(peer);
}

#[test]
fn the_write_timeout_resets() {
    let (mut server, mut peer) = stuck(&["--write-timeout", "1s"]);
    expect_reset_for(&server, &mut peer, "write timeout");
    server.terminate().expect_counts(&[("write timeout", 1)]);
}

/// A connection at the end of its lifetime closes normally only if the peer reads the output.
#[test]
fn the_write_timeout_resets_after_a_lifetime() {
    let (mut server, mut peer) = stuck(&["--lifetime", "2s", "--write-timeout", "3s"]);
    expect_reset_for(&server, &mut peer, "write timeout");
    server.terminate().expect_counts(&[("write timeout", 1)]);
}

#[test]
fn the_idle_timeout_resets_while_output_waits() {
    let (mut server, mut peer) = stuck(&["--idle-timeout", "3s", "--write-timeout", "0"]);
    expect_reset_for(&server, &mut peer, "idle timeout");
    server.terminate().expect_counts(&[("idle timeout", 1)]);
}

#[test]
fn the_drain_timeout_resets() {
    let (mut server, mut peer) = stuck(&["--drain-timeout", "500ms"]);
    await_full(server.address(), &peer);
    server.signal(Signal::TERM);
    expect_reset_for(&server, &mut peer, "cut at the drain timeout");
    server.await_exit().expect_counts(&[("cut at the drain timeout", 1)]);
}

/// A delayed answer counts as output, although none of it exists yet.
#[test]
fn the_drain_timeout_resets_while_input_is_unanswered() {
    let mut server = server(&["-vv", "--reply-delay", "1h", "--drain-timeout", "500ms", "--workers", "1"]);
    let mut peer = connect(server.address());
    peer.write_all(b"a request").unwrap();
    server.await_stderr("Received b'a request'");
    server.signal(Signal::TERM);
    expect_reset_for(&server, &mut peer, "cut at the drain timeout");
    server.await_exit().expect_counts(&[("cut at the drain timeout", 1)]);
}

#[test]
fn a_second_signal_resets() {
    let (mut server, mut peer) = stuck(&["--drain-timeout", "1m"]);
    await_full(server.address(), &peer);
    server.signal(Signal::TERM);
    server.await_stderr("shutting down: ");
    server.signal(Signal::TERM);
    expect_reset_for(&server, &mut peer, "stopped");
    let exit = server.await_exit();
    assert_eq!((exit.code, exit.counted("stopped")), (Some(130), 1), "{exit:#?}");
}

#[test]
fn the_memory_limit_resets() {
    // One connection always fits the limit, 20 of these never do.
    let (server, first) = stuck(&["--memory-limit", "192KiB"]);
    let others = (1..20).filter_map(|_| TcpStream::connect(server.address()).ok());
    let mut peers: Vec<_> = std::iter::once(first).chain(others).collect();
    let index = await_some("one that is closed", || {
        let lines = server.stderr();
        let is_closed = |peer: &TcpStream| {
            let told = closing(peer.local_addr().unwrap(), "memory limit");
            lines.iter().any(|line| line.contains(&told))
        };
        peers.iter().position(is_closed)
    });
    expect_reset(&mut peers[index]);
}

/// No output is lost, so these close normally.
#[test]
fn a_connection_without_output_is_closed_normally() {
    let mut short_lived = server(&["--lifetime", "1s", "--workers", "1"]);
    expect_end(&mut connect(short_lived.address()));
    short_lived.terminate().expect_counts(&[("lifetime over", 1)]);
    let mut server = server(&["--drain-timeout", "1m", "--workers", "1"]);
    let mut peer = connect(server.address());
    server.signal(Signal::TERM);
    expect_end(&mut peer);
    drop(peer);
    server.await_exit().expect_counts(&[("drained", 1)]);
}

/// The kernel takes megabytes at once and then nothing for long. Only the peer's continued reading counts.
#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "needs the acknowledged bytes (TCP_INFO)")]
fn a_slow_and_steady_reader_is_not_closed() {
    const LIMIT: Duration = Duration::from_secs(6);
    let mut server = logging_server(&["--service", "chargen", "--write-timeout", "6s", "--idle-timeout", "6s"]);
    let mut peer = connect_with_buffers(server.address(), 16 << 10);
    let (mut room, since) = (vec![0; 16 << 10], Instant::now());
    while since.elapsed() < LIMIT * 3 / 2 {
        peer.read_exact(&mut room).unwrap_or_else(|error| panic!("{error}: {:#?}", server.stderr()));
        // The sleep is the slowness under test.
        std::thread::sleep(Duration::from_millis(200));
    }
    // The kernel would continue to send its buffer even after a close.
    let closed = server.stderr().into_iter().find(|line| line.contains("Closing connection"));
    assert_eq!(closed, None);
    drop(peer);
    server.await_closed(1);
    server.terminate().expect_counts(&[("reset by peer", 1)]);
}
