//! How long the service waits, and what it does without room; its answers are a matter of the conformance table.

use super::{GRACE, Request, Search};
use crate::buffer::{Buffer, BufferPool};
use crate::service::{Input, Output, Service, Wait};
use std::time::{Duration, Instant};

/// A service with its buffers, and a clock that the test moves.
struct Scene {
    service: Search,
    input: Buffer,
    output: Buffer,
    pool: BufferPool,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let (input, output) = (Buffer::new(), Buffer::new());
        Self { service: Search::new(1000), input, output, pool: BufferPool::new(), now: Instant::now() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let waiting = Output::new(&mut self.input, &mut self.pool, 1 << 20).write(bytes);
        assert_eq!(waiting, bytes.len());
    }

    /// Serves with room for so many bytes of output.
    fn serve(&mut self, limit: usize, has_ended: bool) -> Wait {
        let mut input = Input::new(&mut self.input, has_ended);
        let mut output = Output::new(&mut self.output, &mut self.pool, limit);
        self.service.serve(&mut input, &mut output, self.now)
    }
}

fn ring(keeps_alive: bool) -> Vec<u8> {
    Request::Search("ring".to_owned()).message(keeps_alive)
}

#[test]
fn the_end_comes_a_while_after_the_answer() {
    let mut scene = Scene::new();
    assert_eq!(scene.serve(4096, false), Wait::Input, "a silent peer is a matter of the timeouts");
    scene.receive(&ring(false));
    let end = scene.now + GRACE;
    assert_eq!(scene.serve(4096, false), Wait::Deadline(end));
    scene.now += GRACE / 2;
    assert_eq!(scene.serve(4096, false), Wait::Deadline(end), "a call for no reason changes nothing");
    scene.now = end;
    assert_eq!(scene.serve(4096, false), Wait::Close);
}

#[test]
fn another_message_is_waited_for_when_it_has_begun() {
    let mut scene = Scene::new();
    let (first, second) = (ring(false), ring(false));
    scene.receive(&[&first[..], &second[..1]].concat());
    assert_eq!(scene.serve(4096, false), Wait::Input);
    scene.now += 2 * GRACE;
    scene.receive(&second[1..]);
    assert_eq!(scene.serve(4096, false), Wait::Deadline(scene.now + GRACE));
    assert!(scene.input.is_empty());
}

#[test]
fn who_keeps_the_connection_keeps_it_until_it_says_otherwise() {
    let mut scene = Scene::new();
    scene.receive(&[ring(false), ring(true)].concat());
    assert_eq!(scene.serve(4096, false), Wait::Input);
    scene.now += Duration::from_secs(100);
    assert_eq!(scene.serve(4096, false), Wait::Input);
    scene.receive(&ring(false));
    assert_eq!(scene.serve(4096, false), Wait::Deadline(scene.now + GRACE));
    assert_eq!(scene.serve(4096, true), Wait::Input, "its end is the end");
}

#[test]
fn without_room_the_request_stays_where_it_is() {
    let mut scene = Scene::new();
    let request = ring(true);
    scene.receive(&request.repeat(3));
    // An answer has 165 bytes.
    assert_eq!(scene.serve(340, false), Wait::Writable);
    assert_eq!((scene.output.len(), scene.input.len()), (330, request.len()));
    scene.output.clear();
    assert_eq!(scene.serve(340, true), Wait::Input);
    assert_eq!((scene.output.len(), scene.input.len()), (165, 0));
}

#[test]
fn a_refusal_is_explained_and_an_idle_service_is_small() {
    let mut scene = Scene::new();
    assert_eq!(scene.service.error_detail(), None);
    scene.receive(b"\0\x02{}");
    assert_eq!(scene.serve(4096, false), Wait::Abort);
    assert_eq!(scene.service.error_detail().as_deref(), Some("Missing required header 'byteorder'."));
    assert!(size_of::<Search>() <= 48, "{} bytes for each connection", size_of::<Search>());
}
