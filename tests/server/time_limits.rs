//! Time limits: silent peers, peers that do not read, and long connections are closed; others are not.

use super::support::{
    PATIENCE, Program, bytes, closing, connect, connect_narrow, echo, expect_end, more_than_fits, push_until_blocked,
    read_to_end, uninterrupted,
};
use super::{logging_server, still_serves};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A limit under test. Longer than the pauses of a busy machine, of a few seconds, and short enough for a test.
const LIMIT: &str = "4s";
const LIMIT_TIME: Duration = Duration::from_secs(4);

/// Tolerance for the resolution of the server's clock and of ours.
const ROUNDING: Duration = Duration::from_millis(20);

/// How long the server lingers for the end of input after closing a connection.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Arguments with `option` set, and all other time limits disabled.
fn only<'a>(option: &'a str, value: &'a str) -> Vec<&'a str> {
    let mut arguments = vec![option, value];
    for other in ["--idle-timeout", "--first-byte-timeout", "--write-timeout", "--lifetime"] {
        if other != option {
            arguments.extend([other, "0"]);
        }
    }
    arguments
}

/// Closes the peer, and expects that the log names its connection and the `reason`.
#[track_caller]
fn expect_logged(server: &Program, peer: TcpStream, reason: &str) {
    let name = peer.local_addr().unwrap();
    drop(peer);
    server.await_stderr(&closing(name, reason));
}

/// Sends without reading until the connection fails.
fn send_until_closed(mut peer: TcpStream) -> (TcpStream, ErrorKind) {
    peer.set_nonblocking(false).unwrap();
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < PATIENCE, "never cut");
        if let Err(error) = peer.write_all(&[b'x'; 4096]) {
            return (peer, error.kind());
        }
    }
}

#[test]
fn a_peer_without_a_first_byte_is_closed() {
    let mut server = logging_server(&only("--first-byte-timeout", LIMIT));
    let mut spoke = connect(server.address());
    echo(&mut spoke, b"!");
    let since = Instant::now();
    let mut silent = connect(server.address());
    expect_end(&mut silent);
    assert!(since.elapsed() + ROUNDING >= LIMIT_TIME, "closed after {:?}", since.elapsed());
    expect_logged(&server, silent, "first-byte timeout");
    // After one byte the limit no longer applies.
    echo(&mut spoke, b"after a long silence");
    drop(spoke);
    server.await_closed(2);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2), ("first-byte timeout", 1)]);
}

#[test]
fn a_silent_peer_is_closed() {
    let mut server = logging_server(&only("--idle-timeout", LIMIT));
    let mut peer = connect(server.address());
    let since = Instant::now();
    echo(&mut peer, b"!");
    expect_end(&mut peer);
    assert!(since.elapsed() + ROUNDING >= LIMIT_TIME, "closed after {:?}", since.elapsed());
    expect_logged(&server, peer, "idle timeout");
    still_serves(&mut server).expect_counts(&[("closed by peer", 1), ("idle timeout", 1)]);
}

/// The close is logged when it happens, not when the peer has closed as well. On a busy machine the line may be late, but
/// not each time.
#[test]
fn a_close_is_logged_at_once() {
    let limit = "500ms";
    for (arguments, reason) in [
        (only("--idle-timeout", limit), "idle timeout"),
        (only("--first-byte-timeout", limit), "first-byte timeout"),
        (only("--lifetime", limit), "lifetime over"),
        (vec!["--service", "daytime"], "completed"),
    ] {
        let is_at_once = |_| {
            let mut server = logging_server(&arguments);
            let mut peer = connect(server.address());
            read_to_end(&mut peer);
            let since = Instant::now();
            server.await_stderr(&closing(peer.local_addr().unwrap(), reason));
            let took = since.elapsed();
            drop(peer);
            server.await_closed(1);
            let exit = server.terminate();
            assert_eq!(exit.told(&["Closing connection to "]), 1, "{exit:#?}");
            exit.expect_counts(&[(reason, 1)]);
            took < LINGER_TIME
        };
        assert!((0..3).any(is_at_once), "{reason} is logged after {LINGER_TIME:?}, three times");
    }
}

#[test]
fn a_peer_that_sends_but_never_reads_is_closed() {
    let mut server = logging_server(&only("--write-timeout", LIMIT));
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, b"before");
    let peers: Vec<_> = (0..3).map(|_| connect_narrow(server.address())).collect();
    std::thread::scope(|scope| {
        let cut: Vec<_> = peers.into_iter().map(|peer| scope.spawn(|| send_until_closed(peer))).collect();
        for cut in cut {
            let (peer, error) = cut.join().unwrap();
            assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            expect_logged(&server, peer, "write timeout");
        }
    });
    echo(&mut neighbour, b"after, and after a long silence");
    drop(neighbour);
    server.await_closed(4);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2), ("write timeout", 3)]);
}

/// The time counts from the last byte that the peer took, so a slow reader is not closed.
#[test]
fn a_slow_reader_is_not_closed() {
    const STEPS: usize = 20;
    // Small buffers, so that the server itself always has pending output.
    let limits = ["--send-buffer", "32KiB", "--recv-buffer", "32KiB"];
    let mut server = logging_server(&[&only("--write-timeout", "6s")[..], &limits[..]].concat());
    let peers = [connect_narrow(server.address())];
    let data = bytes(1, 4 << 20);
    let sent = push_until_blocked(&peers, &data)[0];
    assert!(sent < data.len(), "the server took all of it");
    let [mut peer] = peers;
    peer.shutdown(Shutdown::Write).unwrap();
    let since = Instant::now();
    let mut back = vec![0; sent];
    for step in back.chunks_mut(sent.div_ceil(STEPS)) {
        peer.read_exact(step).unwrap_or_else(|error| panic!("{error}: {:#?}", server.stderr()));
        // The sleep is the slowness under test.
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(since.elapsed() > Duration::from_secs(7), "not slow enough: {:?}", since.elapsed());
    assert!(back == data[..sent]);
    expect_end(&mut peer);
    drop(peer);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2)]);
}

/// Exchanges messages without pause until the server closes, checks every answer, and returns the stream.
fn exchange_until_the_end(mut peer: TcpStream) -> TcpStream {
    const MESSAGE: usize = 64;
    for round in 0.. {
        let message = bytes(round, MESSAGE);
        // The server may have finished already; its earlier output is still readable.
        let is_sent = peer.write_all(&message).is_ok();
        let mut reply = [0; MESSAGE];
        match uninterrupted(|| peer.read(&mut reply)) {
            Ok(0) => break,
            Ok(count) => {
                peer.read_exact(&mut reply[count..]).expect("an answer that has begun comes whole");
                assert!(is_sent && reply[..] == message);
            }
            Err(error) => panic!("not finished in order after {round} messages: {error}"),
        }
    }
    peer
}

/// Sends and reads without pause. The echo matches without a gap, up to a normal end of input.
fn stream_until_the_end(peer: &TcpStream) -> usize {
    let data = bytes(7, 1 << 20);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut peer = peer;
            while peer.write_all(&data).is_ok() {}
        });
        let mut back = 0;
        let mut reader = peer;
        let mut room = vec![0; 64 << 10];
        loop {
            match uninterrupted(|| reader.read(&mut room)) {
                Ok(0) => break,
                Ok(count) => {
                    for (index, byte) in room[..count].iter().enumerate() {
                        assert!(*byte == data[(back + index) % data.len()], "a wrong byte at {}", back + index);
                    }
                    back += count;
                }
                Err(error) => panic!("not finished in order after {back} bytes: {error}"),
            }
        }
        // Stop sending at end of input.
        peer.shutdown(Shutdown::Both).ok();
        sending.join().unwrap();
        back
    })
}

#[test]
fn a_busy_connection_closes_normally_at_its_lifetime() {
    // Shorter than the others, as it takes all CPUs.
    let lifetime = Duration::from_secs(3);
    let mut server = logging_server(&only("--lifetime", "3s"));
    let address = server.address();
    let since = Instant::now();
    std::thread::scope(|scope| {
        let talking: Vec<_> = (0..8).map(|_| scope.spawn(move || exchange_until_the_end(connect(address)))).collect();
        let streaming = connect(address);
        let streamed = stream_until_the_end(&streaming);
        assert!(streamed > 64 << 10, "only {streamed} bytes came back");
        expect_logged(&server, streaming, "lifetime over");
        for talking in talking {
            expect_logged(&server, talking.join().unwrap(), "lifetime over");
        }
    });
    assert!(since.elapsed() + ROUNDING >= lifetime, "over after {:?}", since.elapsed());
    // Silent connections have the same lifetime.
    expect_end(&mut connect(address));
    still_serves(&mut server).expect_counts(&[("closed by peer", 1), ("lifetime over", 10)]);
}

/// Output pending at the end of the lifetime is still sent.
#[test]
fn pending_output_is_sent_after_the_lifetime() {
    let mut server = logging_server(&only("--lifetime", LIMIT));
    // Prepared before the lifetime starts, because on a busy machine it takes a good part of that.
    let data = bytes(3, 16 << 20);
    let mut peers = [connect_narrow(server.address())];
    echo(&mut peers[0], b"!");
    let since = Instant::now();
    let sent = push_until_blocked(&peers, &data)[0];
    // Waits for the end of the lifetime, which began before the echo. Only then are the answers read.
    std::thread::sleep((LIMIT_TIME + ROUNDING).saturating_sub(since.elapsed()));
    let [mut peer] = peers;
    let back = read_to_end(&mut peer);
    assert!(!back.is_empty() && back.len() <= sent, "{sent} were sent, {} came back", back.len());
    assert!(back == data[..back.len()]);
    expect_logged(&server, peer, "lifetime over");
    still_serves(&mut server);
}

#[test]
fn zero_disables_a_limit() {
    let mut server = logging_server(&only("--idle-timeout", "0"));
    let mut silent = connect(server.address());
    let mut idle = connect(server.address());
    echo(&mut idle, b"!");
    let stuck = [connect_narrow(server.address())];
    push_until_blocked(&stuck, &more_than_fits());
    // Longer than the limit of the tests above; the sleep is the observed interval.
    std::thread::sleep(LIMIT_TIME + ROUNDING);
    echo(&mut silent, b"at last");
    echo(&mut idle, b"at last");
    stuck[0].shutdown(Shutdown::Write).unwrap();
    let [mut stuck] = stuck;
    assert!(!read_to_end(&mut stuck).is_empty());
    drop((silent, idle, stuck));
    server.await_closed(3);
    still_serves(&mut server).expect_counts(&[("closed by peer", 4)]);
}

/// All limits at once, each shorter than the test, and 200 connections within all of them.
#[test]
fn all_limits_together_close_no_connection_within_them() {
    const THREADS: usize = 4;
    const PEERS: usize = 200;
    let limits = ["--idle-timeout", "6s", "--first-byte-timeout", "6s", "--write-timeout", "6s", "--lifetime", "5m"];
    let mut server = logging_server(&limits);
    let address = server.address();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                let since = Instant::now();
                let mut peers: Vec<_> = (0..PEERS / THREADS).map(|_| connect(address)).collect();
                let mut round = 0;
                while since.elapsed() < Duration::from_secs(8) {
                    for peer in &mut peers {
                        echo(peer, &bytes(round, 64));
                    }
                    round += 1;
                    // Some pause, which leaves the machine to others.
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    server.await_closed(PEERS);
    still_serves(&mut server).expect_counts(&[("closed by peer", PEERS as u64 + 1)]);
}

#[test]
fn wrong_values_are_refused() {
    for option in ["--first-byte-timeout", "--write-timeout", "--lifetime"] {
        for value in ["5", "-1s", "soon", ""] {
            let refused = Program::server(&["127.0.0.1", "0", &format!("{option}={value}")]);
            super::support::expect_refusal(refused, 2, &[option, &format!("{value:?}"), "1m30s"]);
        }
    }
}
