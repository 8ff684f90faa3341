//! Servers with custom services.

use super::support::{await_until, bytes, connect, echo, expect_end, read_to_end};
use super::{Running, Upper, expect_upper};
use multiconn::connection::CloseReason;
use multiconn::service::Handle;
use multiconn::service::{Context, Echo, Input, Output, Service, Wait};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn a_custom_service_and_a_drain() {
    for workers in [1, 2] {
        let server = Running::start(workers, |_| Upper);
        let mut peers: Vec<_> = (0..20).map(|_| connect(server.address)).collect();
        for peer in &mut peers {
            expect_upper(peer, b"one's own");
        }
        // Each of them is distinct: the reply is larger than the buffers.
        let text: Vec<u8> = bytes(1, 1_000_000).into_iter().filter(|byte| *byte != b'?').collect();
        let mut peer = connect(server.address);
        let sending = peer.try_clone().unwrap();
        let sent = text.clone();
        let sender = std::thread::spawn(move || {
            (&sending).write_all(&sent).unwrap();
            sending.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_to_end(&mut peer) == text.to_ascii_uppercase());
        sender.join().unwrap();
        server.handle.drain();
        peers.iter_mut().for_each(expect_end);
        drop(peers);
        let summary = server.await_end();
        assert_eq!(summary.accepted, 21);
        assert_eq!(summary.closed, [(CloseReason::PeerClosed, 1), (CloseReason::Drained, 20)].into());
    }
}

#[test]
fn a_stop_ends_at_once() {
    let server = Running::start(2, |_| Echo);
    let mut peers: Vec<_> = (0..20).map(|_| connect(server.address)).collect();
    for peer in &mut peers {
        echo(peer, b"before");
    }
    // Nothing would make them end by themselves.
    server.handle.stop();
    let summary = server.await_end();
    assert_eq!((summary.accepted, summary.closed[&CloseReason::Stopped]), (20, 20));
    // A handle of a server that has ended does nothing.
    server.handle.drain();
    server.handle.stop();
}

/// A text written to the room reaches every connection in it.
#[derive(Default)]
struct Room {
    /// All text written so far.
    said: Vec<u8>,
    listeners: Vec<Handle>,
}

/// Writes the room's text; it learns of new text only by being woken.
struct Listener {
    room: Arc<Mutex<Room>>,
    heard: usize,
}

impl Listener {
    fn enter(room: &Arc<Mutex<Room>>, opened: &mut Context<'_>) -> Self {
        room.lock().unwrap().listeners.push(opened.handle());
        Self { room: Arc::clone(room), heard: 0 }
    }
}

impl Service for Listener {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        input.clear();
        let room = self.room.lock().unwrap();
        self.heard += output.write(&room.said[self.heard..]);
        if self.heard == room.said.len() { Wait::Input } else { Wait::Either }
    }
}

#[test]
fn a_waker_calls_a_service_from_another_thread() {
    for workers in [1, 2] {
        let room = Arc::<Mutex<Room>>::default();
        let theirs = Arc::clone(&room);
        let server = Running::start(workers, move |opened| Listener::enter(&theirs, opened));
        let mut peers: Vec<_> = (0..10).map(|_| connect(server.address)).collect();
        await_until("ten listeners", || room.lock().unwrap().listeners.len() == 10);
        for round in 0..20 {
            // More than a buffer holds: the rest follows when there is room, without another wake.
            let words = bytes(round, if round == 10 { 200_000 } else { 30 });
            let mut guard = room.lock().unwrap();
            guard.said.extend_from_slice(&words);
            let wakers = guard.listeners.clone();
            drop(guard);
            wakers.iter().for_each(Handle::wake);
            for peer in &mut peers {
                let mut heard = vec![0; words.len()];
                peer.read_exact(&mut heard).unwrap();
                assert!(heard == words, "round {round}");
            }
        }
        drop(peers);
        let wakers = room.lock().unwrap().listeners.clone();
        assert_eq!(server.drain().accepted, 10);
        // The connections have ended, and so has the server: a wake does nothing.
        wakers.iter().for_each(Handle::wake);
    }
}

/// Wakes itself in every call.
struct SelfWaking(Handle);

impl Service for SelfWaking {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        self.0.wake();
        output.take(input);
        Wait::Either
    }
}

#[test]
fn services_that_wake_themselves_for_ever_share_the_loop() {
    let server = Running::start(1, |opened| SelfWaking(opened.handle()));
    let mut peers: Vec<_> = (0..5).map(|_| connect(server.address)).collect();
    for round in 0..10 {
        for peer in &mut peers {
            echo(peer, format!("round {round}").as_bytes());
        }
    }
}

/// Sends a count once a millisecond until the connection ends.
struct Ticker(u8);

impl Service for Ticker {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        if self.0 == 100 || input.has_ended() {
            return Wait::Close;
        }
        self.0 += 1;
        output.write(&[self.0]);
        Wait::Deadline(now + Duration::from_millis(1))
    }
}

#[test]
fn a_service_that_sends_on_deadlines_and_closes() {
    let server = Running::start(1, |_| Ticker(0));
    let since = Instant::now();
    let mut peer = connect(server.address);
    let heard = read_to_end(&mut peer);
    assert_eq!(heard, (1..=100).collect::<Vec<u8>>());
    assert!(since.elapsed() >= Duration::from_millis(99), "it took only {:?}", since.elapsed());
    drop(peer);
    assert_eq!(server.drain().closed, [(CloseReason::Completed, 1)].into());
}
