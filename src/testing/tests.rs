//! Tests of the simulation: what a peer sees, and which services a split exposes.

use super::Simulation;
use crate::codec::Framing;
use crate::connection::{CloseReason, Limits};
use crate::service::{Chargen, Context, Delayed, Echo, Framed, Input, Output, Replies, Service, Wait, reverse};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn buffers_of(buffer_bytes: usize) -> Limits {
    Limits { buffer_bytes, ..Limits::without_timeouts() }
}

fn backwards(message: &[u8], replies: &mut Replies<'_>) {
    replies.send_with(|reply| reverse(message, reply));
}

/// Numbers each line. The mistakes are those that a split finds.
#[derive(Default)]
struct Numbered {
    number: usize,
    /// Counts a line before there is room for its answer.
    counts_early: bool,
    /// Consumes a line although its answer was written in part.
    cuts_answers: bool,
    /// Takes the end of the input for the end of a line.
    takes_parts: bool,
}

impl Service for Numbered {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        while let Some(count) = self.line(input.bytes()) {
            let answer = [format!("{} ", self.number + 1).as_bytes(), &input.bytes()[..count]].concat();
            self.number += usize::from(self.counts_early);
            if self.cuts_answers {
                output.write(&answer);
            } else if !output.write_whole(&answer) {
                return Wait::Writable;
            }
            self.number += usize::from(!self.counts_early);
            input.consume(count);
        }
        Wait::Input
    }
}

impl Numbered {
    fn line(&self, bytes: &[u8]) -> Option<usize> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        end.or((self.takes_parts && !bytes.is_empty()).then_some(bytes.len()))
    }
}

/// The message of a failed check of `service`, or `None` if it passes.
fn failure(service: impl Fn() -> Numbered, stream: &[u8]) -> Option<String> {
    let server = Simulation::new(|_| service());
    let checked = catch_unwind(AssertUnwindSafe(|| server.assert_split_invariant(stream)));
    checked.err().map(|payload| *payload.downcast::<String>().expect("a formatted message"))
}

#[test]
fn services_that_depend_on_the_split_are_found() {
    let stream = b"one\ntwo\nthree\nfour\n";
    assert_eq!(failure(Numbered::default, stream), None);
    let counts_early = failure(|| Numbered { counts_early: true, ..Numbered::default() }, stream).expect("it is found");
    assert!(counts_early.contains("  buffers:  8 bytes"), "{counts_early}");
    assert!(
        counts_early.contains("  expected: 27 bytes, closed by peer: \"1 one\\n2 two\\n3 three\\n4 four\\n\""),
        "{counts_early}"
    );
    let cuts_answers = failure(|| Numbered { cuts_answers: true, ..Numbered::default() }, stream).expect("it is found");
    assert!(cuts_answers.contains("  the answers differ from byte "), "{cuts_answers}");
    let takes_parts = failure(|| Numbered { takes_parts: true, ..Numbered::default() }, stream).expect("it is found");
    assert!(takes_parts.contains("  sent:     \"o\" | \"ne\\ntwo\\nthree\\nfour\\n\", end\n"), "{takes_parts}");
}

/// A service whose mistake needs a pause: it drops an incomplete line that is older than 5 ms.
#[derive(Default)]
struct Impatient(Option<Instant>);

impl Service for Impatient {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if self.0.is_some_and(|begin| context.now() - begin > SECOND / 200) {
            input.clear();
        }
        while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
            if !output.write_whole(&input.bytes()[..=end]) {
                return Wait::Writable;
            }
            input.consume(end + 1);
            self.0 = None;
        }
        if !input.is_empty() {
            self.0.get_or_insert(context.now());
        }
        Wait::Input
    }
}

/// The seed of a failure begins with the schedule that failed.
#[test]
fn a_failure_is_repeated_by_its_seed() {
    let message = |server: &Simulation<'_>| {
        let checked = catch_unwind(AssertUnwindSafe(|| server.assert_split_invariant(&b"some line\n".repeat(20))));
        *checked.expect_err("a mistake").downcast::<String>().expect("a formatted message")
    };
    let server = Simulation::new(|_| Impatient::default());
    let first = message(&server);
    let (_, seed) = first.rsplit_once(".with_seed(").expect("a seed");
    let seed = seed.trim_end_matches(")`").parse().expect("a number");
    assert_eq!(message(&server.with_seed(seed)), first);
}

#[test]
fn services_without_mistakes_pass() {
    let stream: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert!(Simulation::new(|_| Echo).assert_split_invariant(&stream) == stream);
    let delayed = Simulation::new(|_| Delayed::new(Echo, SECOND));
    assert_eq!(delayed.assert_split_invariant(b"later"), b"later");
    assert_eq!(Simulation::new(|_| Echo).assert_split_invariant(b""), b"");
    // A frame larger than the given buffers closes in every split.
    let lines = Simulation::new(|_| Framed::new(Framing::LINES, 20, backwards)).with_limits(buffers_of(20));
    assert_eq!(lines.assert_split_invariant(b"one\na line that does not fit the buffer\n"), b"eno\n");
}

#[test]
fn a_stalled_peer_stops_the_service_from_reading() {
    let server = Simulation::new(|_| Echo).with_limits(buffers_of(10));
    let mut peer = server.connect();
    peer.stall_after(3);
    peer.send(&[b'x'; 50]);
    assert_eq!((peer.receive().len(), peer.unread_bytes()), (3, 30), "the rest of one buffer, and another");
    assert_eq!(peer.held_bytes(), 17);
    peer.stall_after(5);
    assert_eq!(peer.receive().len(), 5);
    peer.resume();
    assert_eq!((peer.receive().len(), peer.unread_bytes(), peer.held_bytes()), (42, 0, 0));
}

#[test]
fn a_service_that_writes_without_end_needs_a_stalled_peer() {
    let server = Simulation::new(|_| Chargen::default());
    let mut peer = server.connect();
    peer.stall_after(1000);
    assert_eq!(peer.receive().len(), 1000);
    assert_eq!(peer.receive().len(), 0);
}

#[test]
fn both_sides_end_and_reset() {
    let server = Simulation::new(|_| Echo);
    let mut peer = server.connect();
    peer.send(b"ping");
    assert!(!peer.received_end());
    peer.end();
    peer.end();
    assert_eq!((peer.receive().as_slice(), peer.received_end()), (&b"ping"[..], true));
    assert_eq!(peer.closed(), Some(CloseReason::PeerClosed));

    // Whether the connection reads, or waits to write.
    for bytes in [0, 100] {
        let mut peer = server.connect();
        peer.stall_after(10);
        peer.send(&vec![0; bytes]);
        assert_eq!(peer.closed(), None);
        peer.reset();
        assert_eq!((peer.closed(), peer.receive().len()), (Some(CloseReason::Reset), bytes.min(10)));
    }
}

#[test]
fn violations_and_forced_ends_are_visible() {
    let server = Simulation::new(|_| Framed::new(Framing::LINES, 100, backwards));
    let mut peer = server.connect();
    peer.send(b"incomplete");
    peer.end();
    assert_eq!(peer.closed(), Some(CloseReason::ProtocolError));
    assert_eq!(peer.error_detail().as_deref(), Some("the input ended 1 byte short of a whole frame"));

    let server = Simulation::new(|_| Echo);
    let [mut quiet, mut stalled] = [server.connect(), server.connect()];
    quiet.send(b"ping");
    stalled.stall_after(0);
    stalled.send(b"ping");
    server.drain(SECOND);
    assert_eq!((quiet.received_end(), stalled.received_end()), (true, false));
    quiet.end();
    server.advance(SECOND);
    assert_eq!((quiet.closed(), stalled.closed()), (Some(CloseReason::Drained), Some(CloseReason::DrainCut)));
    assert!(!stalled.received_end(), "the peer reads a reset");
}

/// Writes a dot at each call, and names the next instant.
struct Ticking(fn(Instant) -> Wait);

impl Service for Ticking {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        output.write(b".");
        (self.0)(context.now())
    }
}

#[test]
fn each_timer_expires_at_its_instant() {
    for wait in [|now| Wait::Deadline(now + SECOND), |now| Wait::PreciseDeadline(now + SECOND)] {
        let server = Simulation::new(|_| Ticking(wait)).with_limits(Limits::without_timeouts());
        let begin = server.now();
        let mut peer = server.connect();
        server.advance(SECOND * 10);
        assert_eq!((peer.receive().len(), server.now() - begin), (11, SECOND * 10));
        server.advance(SECOND.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(peer.receive().len(), 0);
        server.advance(Duration::from_nanos(1));
        assert_eq!(peer.receive().len(), 1);
    }
    for wait in [Wait::Deadline, Wait::PreciseDeadline] {
        let server = Simulation::new(|_| Ticking(wait)).with_limits(Limits::without_timeouts());
        let mut peer = server.connect();
        server.advance(Duration::from_millis(10));
        assert_eq!(peer.receive().len(), 11, "an instant in the past: once per tick");
    }
}

/// Counts the calls of `closed`.
struct Closings(std::rc::Rc<std::cell::Cell<usize>>);

impl Service for Closings {
    fn serve(&mut self, _input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        Wait::Input
    }

    fn closed(&mut self, _reason: CloseReason) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_service_learns_of_its_end_once() {
    let count = std::rc::Rc::default();
    let server = Simulation::new(|_| Closings(std::rc::Rc::clone(&count)));
    let mut peer = server.connect();
    peer.end();
    assert_eq!((peer.closed(), count.get()), (Some(CloseReason::PeerClosed), 1));
    server.drain(SECOND);
    peer.wake();
    server.advance(SECOND);
    assert_eq!(count.get(), 1);
}
