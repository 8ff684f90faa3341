//! Tests of the close timing and of missing output room. The conformance table covers the answers.

use super::{KEEP_OPEN, Request, Search};
use crate::buffer::{Buffer, BufferPool};
use crate::service::{Input, Output, Service, Wait, with_context};
use std::time::{Duration, Instant};

/// A service with its buffers and a simulated clock.
struct Harness {
    service: Search,
    input: Buffer,
    output: Buffer,
    pool: BufferPool,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        let (input, output) = (Buffer::new(), Buffer::new());
        Self { service: Search::new(1000), input, output, pool: BufferPool::new(), now: Instant::now() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let waiting = Output::new(&mut self.input, &mut self.pool, 1 << 20).write(bytes);
        assert_eq!(waiting, bytes.len());
    }

    /// Calls the service with room for `limit` bytes of output.
    fn serve(&mut self, limit: usize, has_ended: bool) -> Wait {
        let mut input = Input::new(&mut self.input, has_ended);
        let mut output = Output::new(&mut self.output, &mut self.pool, limit);
        with_context(self.now, false, |context| self.service.serve(&mut input, &mut output, context))
    }
}

fn ring(keeps_alive: bool) -> Vec<u8> {
    Request::Search("ring".to_owned()).message(keeps_alive)
}

#[test]
fn the_connection_closes_after_a_pause() {
    let mut harness = Harness::new();
    assert_eq!(harness.serve(4096, false), Wait::Input, "the timeouts handle a silent peer");
    harness.receive(&ring(false));
    let end = harness.now + KEEP_OPEN;
    assert_eq!(harness.serve(4096, false), Wait::Deadline(end));
    harness.now += KEEP_OPEN / 2;
    assert_eq!(harness.serve(4096, false), Wait::Deadline(end), "a spurious call changes nothing");
    harness.now = end;
    assert_eq!(harness.serve(4096, false), Wait::Close);
}

#[test]
fn a_partial_message_postpones_the_close() {
    let mut harness = Harness::new();
    let (first, second) = (ring(false), ring(false));
    harness.receive(&[&first[..], &second[..1]].concat());
    assert_eq!(harness.serve(4096, false), Wait::Input);
    harness.now += 2 * KEEP_OPEN;
    harness.receive(&second[1..]);
    assert_eq!(harness.serve(4096, false), Wait::Deadline(harness.now + KEEP_OPEN));
    assert!(harness.input.is_empty());
}

#[test]
fn keep_alive_lasts_until_a_message_without_it() {
    let mut harness = Harness::new();
    harness.receive(&[ring(false), ring(true)].concat());
    assert_eq!(harness.serve(4096, false), Wait::Input);
    harness.now += Duration::from_secs(100);
    assert_eq!(harness.serve(4096, false), Wait::Input);
    harness.receive(&ring(false));
    assert_eq!(harness.serve(4096, false), Wait::Deadline(harness.now + KEEP_OPEN));
    assert_eq!(harness.serve(4096, true), Wait::Input, "the peer's end closes the connection");
}

#[test]
fn without_room_the_request_stays_in_the_input() {
    let mut harness = Harness::new();
    let request = ring(true);
    harness.receive(&request.repeat(3));
    // An answer has 165 bytes.
    assert_eq!(harness.serve(340, false), Wait::Writable);
    assert_eq!((harness.output.len(), harness.input.len()), (330, request.len()));
    harness.output.clear();
    assert_eq!(harness.serve(340, true), Wait::Input);
    assert_eq!((harness.output.len(), harness.input.len()), (165, 0));
}

#[test]
fn errors_are_described_and_an_idle_service_is_small() {
    let mut harness = Harness::new();
    assert_eq!(harness.service.error_detail(), None);
    harness.receive(b"\0\x02{}");
    assert_eq!(harness.serve(4096, false), Wait::Abort);
    assert_eq!(harness.service.error_detail().as_deref(), Some("Missing required header 'byteorder'."));
    assert!(size_of::<Search>() <= 48, "{} bytes for each connection", size_of::<Search>());
}
