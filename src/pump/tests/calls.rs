//! Number of system calls per message.

use super::harness::Harness;
use super::services::pattern;
use crate::buffer::BLOCK_BYTES;
use crate::connection::{CloseReason, Limits};
use crate::service::Echo;
use crate::testing::{ScriptedSocket, SocketInput, SocketOutput};

fn echo(socket: ScriptedSocket) -> Harness<Echo> {
    Harness::new(Echo, socket, Limits::default())
}

#[test]
fn a_message_costs_one_read_and_one_write() {
    let mut sim = echo(ScriptedSocket::default());
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (0, 0), "opening a connection costs no call");
    for count in 1..=3 {
        sim.socket.push_bytes(b"ping");
        assert_eq!(sim.run(), None);
        assert_eq!((sim.socket.reads, sim.socket.writes), (count, count));
        sim.assert_owns_no_heap();
    }
    assert_eq!(sim.socket.written, b"pingpingping");
}

#[test]
fn a_read_that_fills_the_buffer_is_followed_by_another() {
    let mut sim = echo(ScriptedSocket::new([SocketInput::Bytes(pattern(BLOCK_BYTES))]));
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (2, 1));
}

#[test]
fn a_short_read_after_a_hang_up_is_followed_by_another() {
    let mut sim = echo(ScriptedSocket::new([SocketInput::Last(b"ping".to_vec())]));
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!((sim.socket.reads, sim.socket.writes), (2, 1));
    assert_eq!(sim.socket.written, b"ping");
}

#[test]
fn a_hang_up_is_only_a_hint() {
    let mut sim = echo(ScriptedSocket::new([SocketInput::Bytes(b"ping".to_vec())]));
    sim.connection.handle_event(false, false, true);
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (2, 1));
    sim.socket.push_bytes(b"pong");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, b"pingpong");
}

#[test]
fn a_layer_that_holds_bytes_is_read_until_it_blocks() {
    let mut sim = echo(ScriptedSocket::default());
    sim.socket.holds_bytes = true;
    for part in [b"pi", b"ng"] {
        sim.socket.push_bytes(part);
    }
    sim.connection.handle_event(true, false, false);
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (3, 2));
    assert_eq!(sim.socket.written, b"ping");
}

#[test]
fn an_interrupted_call_is_repeated_at_once() {
    let script = ScriptedSocket::new([SocketInput::Signal, SocketInput::Signal, SocketInput::Bytes(b"ping".to_vec())]);
    let mut sim = echo(script.with_outputs([SocketOutput::Signal, SocketOutput::Takes(4)]));
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (3, 2));
    assert_eq!(sim.socket.written, b"ping");
}

#[test]
fn a_spurious_event_costs_one_read() {
    let mut sim = echo(ScriptedSocket::new([SocketInput::Nothing]));
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (1, 0));
    sim.assert_owns_no_heap();
}

#[test]
fn a_short_write_waits_for_the_socket() {
    let script = ScriptedSocket::new([SocketInput::Bytes(b"ping".to_vec())]);
    let mut sim = echo(script.with_outputs([SocketOutput::Takes(3), SocketOutput::Full]));
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.reads, sim.socket.writes), (1, 3));
    assert_eq!(sim.socket.written, b"ping");
}

#[test]
fn exact_fit_storage_is_not_read_into() {
    let mut sim = echo(ScriptedSocket::new([SocketInput::Bytes(b"hello".to_vec())]).stalled());
    assert_eq!(sim.run(), None);
    assert_eq!(sim.connection.storage_bytes_of_each(), [0, 5], "leftover bytes keep no block");
    let reads = sim.socket.reads;
    sim.socket.resume();
    sim.socket.push_bytes(&pattern(2 * BLOCK_BYTES + 100));
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.reads - reads, 3, "every read gets a whole block");
}
