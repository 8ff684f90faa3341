//! How many system calls a message costs.

use super::scene::{Scene, pattern};
use super::script::{Script, SocketInput, SocketOutput};
use crate::buffer::BLOCK_BYTES;
use crate::connection::{CloseReason, Limits};
use crate::service::Echo;

fn echo(socket: Script) -> Scene<Echo> {
    Scene::new(Echo, socket, Limits::default())
}

#[test]
fn a_message_costs_one_read_and_one_write() {
    let mut scene = echo(Script::default());
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (0, 0), "a connection that opens costs no call");
    for count in 1..=3 {
        scene.socket.arrive_bytes(b"ping");
        assert_eq!(scene.run(), None);
        assert_eq!((scene.socket.reads, scene.socket.writes), (count, count));
        scene.assert_owns_no_heap();
    }
    assert_eq!(scene.socket.written, b"pingpingping");
}

#[test]
fn a_read_that_fills_the_room_is_followed_by_another() {
    let mut scene = echo(Script::new([SocketInput::Bytes(pattern(BLOCK_BYTES))]));
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (2, 1));
}

#[test]
fn after_a_hang_up_a_short_read_is_not_the_last() {
    let mut scene = echo(Script::new([SocketInput::Last(b"ping".to_vec())]));
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!((scene.socket.reads, scene.socket.writes), (2, 1));
    assert_eq!(scene.socket.written, b"ping");
}

#[test]
fn a_hang_up_is_only_a_hint() {
    let mut scene = echo(Script::new([SocketInput::Bytes(b"ping".to_vec())]));
    scene.connection.handle_event(false, false, true);
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (2, 1));
    scene.socket.arrive_bytes(b"pong");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, b"pingpong");
}

#[test]
fn a_layer_that_holds_bytes_is_read_until_it_blocks() {
    let mut scene = echo(Script::default());
    scene.socket.holds_bytes = true;
    for part in [b"pi", b"ng"] {
        scene.socket.arrive_bytes(part);
    }
    scene.connection.handle_event(true, false, false);
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (3, 2));
    assert_eq!(scene.socket.written, b"ping");
}

#[test]
fn an_interrupted_call_is_made_again_at_once() {
    let script = Script::new([SocketInput::Signal, SocketInput::Signal, SocketInput::Bytes(b"ping".to_vec())]);
    let mut scene = echo(script.taking([SocketOutput::Signal, SocketOutput::Takes(4)]));
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (3, 2));
    assert_eq!(scene.socket.written, b"ping");
}

#[test]
fn an_event_for_nothing_costs_one_read() {
    let mut scene = echo(Script::new([SocketInput::Nothing]));
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (1, 0));
    scene.assert_owns_no_heap();
}

#[test]
fn a_short_write_waits_for_the_socket() {
    let script = Script::new([SocketInput::Bytes(b"ping".to_vec())]);
    let mut scene = echo(script.taking([SocketOutput::Takes(3), SocketOutput::Full]));
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.reads, scene.socket.writes), (1, 3));
    assert_eq!(scene.socket.written, b"ping");
}

#[test]
fn the_storage_of_a_leftover_is_not_read_into() {
    let mut scene = echo(Script::new([SocketInput::Bytes(b"hello".to_vec())]).stalled());
    assert_eq!(scene.run(), None);
    assert_eq!(scene.connection.storage_bytes_of_each(), [0, 5], "what was left over pins no block");
    let reads = scene.socket.reads;
    scene.socket.stalled = false;
    scene.socket.arrive_bytes(&pattern(2 * BLOCK_BYTES + 100));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.reads - reads, 3, "every read is offered a whole block");
}
