//! The limits in time: who is silent, who takes nothing, who stays too long; and that nobody else is cut.

use super::support::{
    PATIENCE, Program, bytes, connect, connect_narrow, echo, expect_end, more_than_fits, push_until_blocked,
    read_to_end, uninterrupted,
};
use super::{server, still_serves};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A limit under test. Longer than a busy machine's pauses, shorter than anybody's patience with tests.
const LIMIT: &str = "1s";
const LIMIT_TIME: Duration = Duration::from_secs(1);

/// Time is measured in steps by the server's clock and by ours.
const ROUNDING: Duration = Duration::from_millis(20);

/// How long the server waits for the end of a peer that it has ended itself.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Every limit in time but `option`, switched off.
fn only<'a>(option: &'a str, value: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["-v", option, value];
    for other in ["--idle-timeout", "--first-byte-timeout", "--write-timeout", "--lifetime"] {
        if other != option {
            arguments.extend([other, "0"]);
        }
    }
    arguments
}

/// The peer leaves, too, and the log tells of its connection, by name, that it was closed for `reason`.
#[track_caller]
fn expect_told(server: &Program, peer: TcpStream, reason: &str) {
    let name = peer.local_addr().unwrap();
    drop(peer);
    server.await_stderr(&format!("Closing connection to {name}: {reason} (number "));
}

/// A peer that goes on sending, never reads, and finds out that it was cut.
fn send_until_cut(mut peer: TcpStream) -> (TcpStream, ErrorKind) {
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
fn who_says_nothing_at_first_is_closed() {
    let mut server = server(&only("--first-byte-timeout", LIMIT));
    let mut spoke = connect(server.address());
    echo(&mut spoke, b"!");
    let since = Instant::now();
    let mut silent = connect(server.address());
    expect_end(&mut silent);
    assert!(since.elapsed() + ROUNDING >= LIMIT_TIME, "closed after {:?}", since.elapsed());
    expect_told(&server, silent, "first-byte timeout");
    // One byte was enough, for ever.
    echo(&mut spoke, b"after a long silence");
    drop(spoke);
    server.await_closed(2);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2), ("first-byte timeout", 1)]);
}

#[test]
fn who_is_silent_is_closed() {
    let mut server = server(&only("--idle-timeout", LIMIT));
    let mut peer = connect(server.address());
    echo(&mut peer, b"!");
    let since = Instant::now();
    expect_end(&mut peer);
    assert!(since.elapsed() + ROUNDING >= LIMIT_TIME, "closed after {:?}", since.elapsed());
    expect_told(&server, peer, "idle timeout");
    still_serves(&mut server).expect_counts(&[("closed by peer", 1), ("idle timeout", 1)]);
}

/// The log says so when it happens, and not when the peer has closed, too.
#[test]
fn an_end_is_logged_at_once() {
    for (arguments, reason) in [
        (only("--idle-timeout", LIMIT), "idle timeout"),
        (only("--first-byte-timeout", LIMIT), "first-byte timeout"),
        (only("--lifetime", LIMIT), "lifetime over"),
        (vec!["-v", "--service", "daytime"], "completed"),
    ] {
        let mut server = server(&arguments);
        let mut peer = connect(server.address());
        read_to_end(&mut peer);
        let since = Instant::now();
        server.await_stderr(&format!("Closing connection to {}: {reason} (number ", peer.local_addr().unwrap()));
        assert!(since.elapsed() < LINGER_TIME, "{reason} is logged after {:?}", since.elapsed());
        drop(peer);
        server.await_closed(1);
        let exit = server.terminate();
        assert_eq!(exit.told(&["Closing connection to "]), 1, "{exit:#?}");
        exit.expect_counts(&[(reason, 1)]);
    }
}

#[test]
fn who_never_reads_is_cut_though_it_goes_on_sending() {
    let mut server = server(&only("--write-timeout", LIMIT));
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, b"before");
    let peers: Vec<_> = (0..3).map(|_| connect_narrow(server.address())).collect();
    std::thread::scope(|scope| {
        let cut: Vec<_> = peers.into_iter().map(|peer| scope.spawn(|| send_until_cut(peer))).collect();
        for cut in cut {
            let (peer, error) = cut.join().unwrap();
            assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            expect_told(&server, peer, "write timeout");
        }
    });
    echo(&mut neighbour, b"after, and after a long silence");
    drop(neighbour);
    server.await_closed(4);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2), ("write timeout", 3)]);
}

/// The time counts from the last byte taken: slowness is no fault.
#[test]
fn who_reads_slowly_is_not_cut() {
    const STEPS: usize = 20;
    // Small buffers, so that the server itself has something to wait for, all the time.
    let limits = ["--send-buffer", "32KiB", "--recv-buffer", "32KiB"];
    let mut server = server(&[&only("--write-timeout", "3s")[..], &limits[..]].concat());
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
        // Being slow is what is tested.
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(since.elapsed() > Duration::from_millis(3500), "not slow enough: {:?}", since.elapsed());
    assert!(back == data[..sent]);
    expect_end(&mut peer);
    drop(peer);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2)]);
}

/// Asks and is answered without pause until the server ends it; returns whether everything was as it should be.
fn talk_until_the_end(mut peer: TcpStream) -> TcpStream {
    const MESSAGE: usize = 64;
    for round in 0.. {
        let message = bytes(round, MESSAGE);
        // The server may have finished already; what it sent before is still there.
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

/// One that sends without pause, and reads at the same time: what comes back is what was sent, without a gap, up to an
/// end in order.
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
        // Whoever is told the end stops sending.
        peer.shutdown(Shutdown::Both).ok();
        sending.join().unwrap();
        back
    })
}

#[test]
fn a_busy_connection_is_finished_in_order_when_its_life_is_over() {
    let mut server = server(&only("--lifetime", LIMIT));
    let address = server.address();
    let since = Instant::now();
    std::thread::scope(|scope| {
        let talking: Vec<_> = (0..8).map(|_| scope.spawn(move || talk_until_the_end(connect(address)))).collect();
        let streaming = connect(address);
        let streamed = stream_until_the_end(&streaming);
        assert!(streamed > 1 << 20, "only {streamed} bytes came back");
        expect_told(&server, streaming, "lifetime over");
        for talking in talking {
            expect_told(&server, talking.join().unwrap(), "lifetime over");
        }
    });
    assert!(since.elapsed() + ROUNDING >= LIMIT_TIME, "over after {:?}", since.elapsed());
    // The silent live no longer.
    expect_end(&mut connect(address));
    still_serves(&mut server).expect_counts(&[("closed by peer", 1), ("lifetime over", 10)]);
}

/// What waits on its way out when the life is over is still sent.
#[test]
fn what_was_answered_is_sent_after_the_end_of_a_life() {
    let mut server = server(&only("--lifetime", LIMIT));
    // Made before that life begins: a busy machine takes a good part of it for that.
    let data = bytes(3, 16 << 20);
    let mut peers = [connect_narrow(server.address())];
    echo(&mut peers[0], b"!");
    let since = Instant::now();
    let sent = push_until_blocked(&peers, &data)[0];
    // The end of that life is what is awaited; it began before the echo. Only then the answers are read.
    std::thread::sleep((LIMIT_TIME + ROUNDING).saturating_sub(since.elapsed()));
    let [mut peer] = peers;
    let back = read_to_end(&mut peer);
    assert!(!back.is_empty() && back.len() <= sent, "{sent} were sent, {} came back", back.len());
    assert!(back == data[..back.len()]);
    expect_told(&server, peer, "lifetime over");
    still_serves(&mut server);
}

#[test]
fn zero_is_never() {
    let mut server = server(&only("--idle-timeout", "0"));
    let mut silent = connect(server.address());
    let mut idle = connect(server.address());
    echo(&mut idle, b"!");
    let stuck = [connect_narrow(server.address())];
    push_until_blocked(&stuck, &more_than_fits());
    // Longer than the limit of the tests above: what is awaited is the passing of time itself.
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

/// All limits at once, each shorter than the test, and 200 connections that keep within them.
#[test]
fn all_limits_together_cut_nobody_who_keeps_them() {
    const THREADS: usize = 4;
    const PEERS: usize = 200;
    let limits = ["--idle-timeout", "3s", "--first-byte-timeout", "3s", "--write-timeout", "3s", "--lifetime", "1m"];
    let mut server = server(&limits);
    let address = server.address();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                let since = Instant::now();
                let mut peers: Vec<_> = (0..PEERS / THREADS).map(|_| connect(address)).collect();
                let mut round = 0;
                while since.elapsed() < Duration::from_millis(4500) {
                    for peer in &mut peers {
                        echo(peer, &bytes(round, 64));
                    }
                    round += 1;
                }
            });
        }
    });
    server.await_closed(PEERS);
    still_serves(&mut server).expect_counts(&[("closed by peer", PEERS as u64 + 1)]);
}

#[test]
fn wrong_values() {
    for option in ["--first-byte-timeout", "--write-timeout", "--lifetime"] {
        for value in ["5", "-1s", "soon", ""] {
            let refused = Program::server(&["127.0.0.1", "0", &format!("{option}={value}")]);
            super::support::expect_refusal(refused, 2, &[option, &format!("{value:?}"), "1m30s"]);
        }
    }
}
