//! Echo: all input comes back whole, in order, to the peer that sent it.

use super::support::{bytes, connect, connect_narrow, echo, echo_all, expect_end, push_all_and_read_back};
use super::{server, still_serves};
use std::net::Shutdown;

#[test]
fn one_connection() {
    let mut server = server(&[]);
    let mut peer = connect(server.address());
    echo(&mut peer, b"Message 1 from client.");
    echo(&mut peer, b"Message 2 from client.");
    // A peer that closes without a half-close first, as the tutorial's does.
    drop(peer);
    server.await_closed(1);
    still_serves(&mut server).expect_counts(&[("closed by peer", 2)]);
}

#[test]
fn two_hundred_connections_at_once_with_different_payloads() {
    let mut server = server(&["--workers", "2"]);
    let peers: Vec<_> = (0..200).map(|_| connect(server.address())).collect();
    std::thread::scope(|scope| {
        for (seed, mut peer) in (1..).zip(peers) {
            scope.spawn(move || {
                for round in 0..5 {
                    let size = usize::try_from(seed * 97 % 8000 + round).unwrap();
                    echo(&mut peer, &bytes(seed * 10 + round, size + 1));
                }
                echo_all(&mut peer, &bytes(seed, 20_000));
            });
        }
    });
    let exit = still_serves(&mut server);
    assert!(exit.stdout[1].starts_with("Served 201 connections"), "{exit:#?}");
}

#[test]
fn input_before_a_half_close_is_answered() {
    let mut server = server(&[]);
    for size in [1, 22, 1024, 65_536, 65_537, 200_000] {
        echo_all(&mut connect(server.address()), &bytes(7, size));
    }
    still_serves(&mut server);
}

#[test]
fn a_half_close_at_once_is_answered_by_the_end() {
    let mut server = server(&[]);
    for _ in 0..20 {
        let mut peer = connect(server.address());
        peer.shutdown(Shutdown::Write).unwrap();
        expect_end(&mut peer);
    }
    still_serves(&mut server);
}

#[test]
fn sixty_five_megabytes_before_the_first_read() {
    const SIZE: usize = 65_000_000;
    let mut server = server(&[]);
    let data = bytes(65, SIZE);
    let (before_reading, back) = push_all_and_read_back(connect(server.address()), &data);
    assert!(before_reading >= 64 * 1024, "only {before_reading} bytes were taken before the first read");
    assert_eq!(back.len(), SIZE);
    assert!(back == data, "byte {:?} is the first wrong one", back.iter().zip(&data).position(|(a, b)| a != b));
    still_serves(&mut server);
}

#[test]
fn a_peer_with_narrow_buffers_gets_every_byte() {
    let mut server = server(&["--buffer-limit", "1000"]);
    let data = bytes(3, 10_000_000);
    let (_, back) = push_all_and_read_back(connect_narrow(server.address()), &data);
    assert!(back == data);
    still_serves(&mut server);
}

#[test]
fn a_message_one_byte_at_a_time() {
    let mut server = server(&[]);
    let mut peer = connect(server.address());
    peer.set_nodelay(true).unwrap();
    for byte in b"Message 1 from client." {
        echo(&mut peer, std::slice::from_ref(byte));
    }
    drop(peer);
    // The same without waiting for the answers.
    let mut peer = connect(server.address());
    peer.set_nodelay(true).unwrap();
    for byte in &bytes(1, 500) {
        std::io::Write::write_all(&mut peer, std::slice::from_ref(byte)).unwrap();
    }
    peer.shutdown(Shutdown::Write).unwrap();
    assert!(super::support::read_to_end(&mut peer) == bytes(1, 500));
    still_serves(&mut server);
}

#[test]
fn discard_answers_nothing_and_closes_after_its_peer() {
    let mut server = server(&["--service", "discard"]);
    assert!(server.await_stdout("Listening").ends_with(" (tcp, discard)"));
    let mut peer = connect(server.address());
    std::io::Write::write_all(&mut peer, &bytes(1, 1_000_000)).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut peer);
    assert_eq!(server.terminate().code, Some(0));
}
