//! Tests of the connection state machine: phases, requested operations and deadlines, without a socket and a pump.

mod deadlines;
mod handles;
mod waits;

use super::phase::Phase;
use super::{CloseReason, Connection, Limits};
use crate::buffer::{BLOCK_BYTES, BufferPool};
use crate::service::{Context, Discard, Echo, Host, Input, Output, Service, Wait};
use crate::socket::ByteStream;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Service that writes fixed bytes and returns a fixed wait.
struct ScriptedService {
    writes: &'static [u8],
    wait: Wait,
}

impl Service for ScriptedService {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        output.write(self.writes);
        self.wait
    }
}

/// The owner and the socket of a connection whose service asks for neither.
struct Nothing;

impl Host for Nothing {}

impl ByteStream for Nothing {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection with what a pump needs to drive it.
struct Harness<S> {
    connection: Connection<S>,
    pool: BufferPool,
    limits: Limits,
    now: Instant,
}

impl<S: Service> Harness<S> {
    /// Creates a connection whose service was called once.
    fn new(service: S) -> Self {
        let now = Instant::now();
        let limits = Limits { buffer_bytes: 8, idle: Some(SECOND * 10), linger: SECOND * 5, ..Limits::default() };
        let mut harness =
            Self { connection: Connection::new(Some(service), now), pool: BufferPool::new(), limits, now };
        assert!(harness.connection.wants_service(), "the service is called before any input");
        harness.serve();
        harness
    }

    fn serve(&mut self) {
        self.connection.serve(&mut self.pool, &self.limits, self.now, &mut Nothing, &Nothing);
    }

    /// Begins a drain of a connection that has read everything.
    fn drain(&mut self) {
        self.limits.drain_by = Some(self.now + SECOND * 60);
        self.connection.handle_read_blocked();
        self.connection.handle_drain();
    }

    fn receive(&mut self, bytes: &[u8]) {
        let room = self.connection.reading(&mut self.pool, &self.limits);
        room[..bytes.len()].copy_from_slice(bytes);
        let short = bytes.len() < room.len();
        self.connection.handle_received(bytes.len(), short, self.now);
    }

    fn send(&mut self, count: usize) {
        self.connection.handle_sent(count, &self.limits, self.now);
    }

    fn shut(&mut self) {
        assert!(self.connection.wants_shut());
        self.connection.handle_shut(self.now);
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_deadline(&self.limits, self.now);
    }

    /// Operations that it wants of a socket that is ready for everything: read, write, shut down.
    fn wants(&mut self) -> [bool; 3] {
        self.connection.handle_event(true, true, false);
        [self.connection.wants_read(&self.limits), self.connection.wants_write(), self.connection.wants_shut()]
    }

    /// Time until the next deadline.
    fn deadline(&self) -> Option<Duration> {
        self.connection.next_deadline(&self.limits).map(|instant| instant - self.now)
    }
}

/// Creates a connection in the phase `Lingering`.
fn lingering() -> Harness<ScriptedService> {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Close });
    harness.shut();
    harness
}

/// Memory of an idle connection besides its service and its socket. It has 16 bytes each for the two buffers, the times
/// and the counters, 8 for the rare state, and 8 for the phase, the close reason, the wait, the end of the input and four
/// flags.
#[test]
fn a_connection_takes_64_bytes_and_its_service() {
    assert_eq!(size_of::<Connection<Echo>>(), 72);
    assert_eq!(size_of::<Connection<Box<dyn Service>>>(), 64 + size_of::<Box<dyn Service>>());
}

#[test]
fn each_phase_wants_its_operations() {
    let mut harness = Harness::new(ScriptedService { writes: b"bye", wait: Wait::Close });
    assert_eq!(harness.wants(), [true, true, false], "finishing: input is read and discarded");
    harness.receive(b"more");
    assert_eq!(harness.connection.buffered_bytes(), [0, 3]);
    harness.send(3);
    assert_eq!(harness.wants(), [true, false, true]);
    harness.shut();
    assert_eq!(harness.wants(), [true, false, false], "lingering");
    assert_eq!(harness.connection.closed(), None);
    harness.connection.handle_end();
    assert_eq!(harness.wants(), [false, false, false], "closed");
    assert_eq!(harness.connection.closed(), Some(CloseReason::Completed));
    assert_eq!(harness.deadline(), None);
    assert!(!harness.connection.wants_service());
}

#[test]
fn read_readiness_persists_until_a_short_read() {
    let mut harness = Harness::new(Discard);
    assert!(harness.connection.wants_read(&harness.limits), "readable until a read blocks");
    harness.connection.handle_read_blocked();
    assert!(!harness.connection.wants_read(&harness.limits));
    harness.connection.handle_event(true, false, false);
    harness.receive(b"12345678");
    assert!(!harness.connection.wants_read(&harness.limits), "the buffer is full");
    harness.serve();
    assert!(harness.connection.wants_read(&harness.limits), "the read filled the buffer");
    harness.receive(b"1");
    harness.serve();
    assert!(!harness.connection.wants_read(&harness.limits), "the read was short");
    harness.connection.handle_event(false, false, true);
    harness.receive(b"1");
    harness.serve();
    assert!(harness.connection.wants_read(&harness.limits), "the read was short, but a hang-up was reported");
    harness.connection.handle_end();
    assert!(!harness.connection.wants_read(&harness.limits), "nothing follows the end of input");
}

#[test]
fn write_readiness_persists_until_a_short_write() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    assert!(harness.connection.wants_write());
    harness.send(2);
    assert!(!harness.connection.wants_write(), "the write was short");
    harness.connection.handle_event(false, true, false);
    assert!(harness.connection.wants_write());
    harness.connection.handle_write_blocked(harness.now);
    assert!(!harness.connection.wants_write());
    harness.connection.handle_event(true, false, false);
    assert!(!harness.connection.wants_write());
    harness.connection.handle_event(false, false, true);
    assert!(harness.connection.wants_write(), "a hang-up is a hint to try both directions");
}

#[test]
fn waiting_for_writable_stops_reading() {
    let mut harness = Harness::new(ScriptedService { writes: b"12345678", wait: Wait::Writable });
    assert_eq!(harness.wants(), [false, true, false]);
    harness.send(5);
    assert!(!harness.connection.wants_service(), "3 of 8 bytes are left");
    harness.send(1);
    assert!(harness.connection.wants_service(), "2 of 8 bytes are left");
}

#[test]
fn waiting_for_either_continues_reading() {
    let mut harness = Harness::new(ScriptedService { writes: b"12345678", wait: Wait::Either });
    assert_eq!(harness.wants(), [true, true, false]);
    harness.receive(b"1234");
    assert!(harness.connection.wants_service(), "input arrived");
    harness.serve();
    harness.send(5);
    assert!(!harness.connection.wants_service(), "3 of 8 bytes are left");
    harness.send(1);
    assert!(harness.connection.wants_service(), "2 of 8 bytes are left");
    harness.serve();
    harness.receive(b"5678");
    harness.serve();
    assert_eq!(harness.wants(), [false, true, false], "the input is full, and room may still become free");
    harness.connection.handle_end();
    harness.serve();
    assert_eq!(harness.wants(), [false, true, false], "the input has ended, and room may still become free");
    assert_eq!(harness.connection.closed(), None);
}

#[test]
fn waiting_for_either_with_empty_output_means_input() {
    let silent = || Harness::new(ScriptedService { writes: b"", wait: Wait::Either });
    let mut harness = silent();
    harness.connection.handle_end();
    harness.serve();
    harness.shut();
    assert_eq!(harness.connection.closed(), Some(CloseReason::PeerClosed));
    let mut harness = silent();
    harness.receive(b"12345678");
    harness.serve();
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::NoProgress));
    let mut harness = silent();
    harness.drain();
    harness.serve();
    harness.connection.handle_read_blocked();
    harness.connection.finish_if_drained(&harness.limits);
    assert!(harness.connection.wants_shut(), "treated as waiting for input");
}

#[test]
fn buffer_limits_finish_a_connection_that_cannot_continue() {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Input });
    harness.receive(b"1234567");
    harness.serve();
    assert!(!harness.connection.wants_shut(), "there is room for one more byte");
    harness.receive(b"8");
    harness.serve();
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::FrameTooLarge));

    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Writable });
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::ReplyTooLarge));
}

#[test]
fn an_abort_sends_the_output_first() {
    let mut harness = Harness::new(ScriptedService { writes: b"no", wait: Wait::Abort });
    assert_eq!(harness.wants(), [true, true, false]);
    harness.send(2);
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::ProtocolError));
}

#[test]
fn a_service_that_waits_for_a_deadline_may_have_a_full_input() {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Deadline(Instant::now() + SECOND) });
    harness.receive(b"12345678");
    harness.serve();
    assert_eq!(harness.wants(), [false, false, false]);
    assert_eq!(harness.connection.closed(), None);
}

#[test]
fn no_lingering_after_the_peers_end() {
    let mut harness = Harness::new(Echo);
    harness.receive(b"ping");
    harness.connection.handle_end();
    harness.serve();
    assert_eq!(harness.wants(), [false, true, false]);
    harness.send(4);
    assert!(harness.connection.ends_with_close());
    harness.shut();
    assert_eq!(harness.connection.closed(), Some(CloseReason::PeerClosed));
}

#[test]
fn only_a_connection_with_nothing_in_flight_is_drained() {
    let mut harness = Harness::new(Echo);
    harness.connection.finish_if_drained(&harness.limits);
    assert!(!harness.connection.wants_shut(), "not draining");
    harness.drain();
    harness.connection.finish_if_drained(&harness.limits);
    assert!(!harness.connection.wants_shut(), "the service must be told, and the socket be read once more");
    harness.serve();
    harness.receive(b"ping");
    harness.connection.finish_if_drained(&harness.limits);
    assert!(!harness.connection.wants_shut(), "input is unserved");
    harness.serve();
    harness.connection.finish_if_drained(&harness.limits);
    assert!(!harness.connection.wants_shut(), "output is unsent");
    harness.send(4);
    harness.connection.handle_wake();
    harness.connection.finish_if_drained(&harness.limits);
    assert!(!harness.connection.wants_shut(), "a call of the service was requested");
    harness.serve();
    harness.connection.finish_if_drained(&harness.limits);
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::Drained));
}

#[test]
fn an_error_sets_the_reason_until_everything_is_sent() {
    let reset = io::Error::from(ErrorKind::ConnectionReset);
    let mut open = Harness::new(Echo);
    open.connection.handle_error(&reset);
    assert_eq!(open.connection.closed(), Some(CloseReason::Reset));
    let mut finishing = Harness::new(ScriptedService { writes: b"bye", wait: Wait::Close });
    finishing.connection.handle_error(&reset);
    assert_eq!(finishing.connection.closed(), Some(CloseReason::Reset));
    let mut lingering = lingering();
    lingering.connection.handle_error(&reset);
    assert_eq!(lingering.connection.closed(), Some(CloseReason::Completed));
}

#[test]
fn errors_of_a_vanished_peer_count_as_resets() {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
    for kind in [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected] {
        assert_eq!(CloseReason::from_error(&kind.into()), CloseReason::Reset, "{kind}");
    }
    assert_eq!(CloseReason::from_error(&TimedOut.into()), CloseReason::Failed(TimedOut));
}

#[test]
fn a_closed_connection_releases_its_storage() {
    let mut harness = Harness::new(ScriptedService { writes: b"1234", wait: Wait::Input });
    harness.receive(b"12");
    harness.connection.release(&mut harness.pool);
    assert_eq!(harness.connection.storage_bytes_of_each(), [2, 4], "leftover bytes keep storage that just fits");
    harness.receive(b"3");
    assert_eq!(harness.connection.storage_bytes_of_each(), [BLOCK_BYTES, 4]);
    harness.connection.close(CloseReason::Stopped);
    assert_eq!(harness.wants(), [false, false, false], "unsent output is not sent any more");
    harness.connection.release(&mut harness.pool);
    assert_eq!(harness.connection.storage_bytes_of_each(), [0, 0]);
    assert_eq!(harness.connection.closed(), Some(CloseReason::Stopped));
}

/// It is asked for an error instead of being read, as long as something is unknown about its input.
#[test]
fn a_hang_up_that_cannot_be_read_is_a_reason_to_ask_for_an_error() {
    let mut full = Harness::new(ScriptedService { writes: b"", wait: Wait::Deadline(Instant::now() + SECOND) });
    full.receive(b"12345678");
    full.serve();
    assert!(!full.connection.wants_error(), "no hang-up was reported");
    full.connection.handle_event(false, false, true);
    assert!(full.connection.wants_error());
    full.connection.handle_no_error();
    assert!(full.connection.wants_error(), "input may be left behind the full buffer");
    let mut ended = Harness::new(ScriptedService { writes: b"", wait: Wait::Wake });
    ended.connection.handle_end();
    ended.connection.handle_event(false, false, true);
    assert!(ended.connection.wants_error());
    ended.connection.handle_no_error();
    assert!(!ended.connection.wants_error(), "until the next event");
}

#[test]
fn the_reason_is_known_once_only_the_end_is_missing() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Wake });
    harness.send(3);
    assert_eq!(harness.connection.ending(), None, "it is open");
    harness.connection.service_mut().expect("a service").wait = Wait::Close;
    harness.serve();
    assert_eq!(harness.connection.ending(), None, "output is unsent");
    harness.send(3);
    assert_eq!(harness.connection.ending(), Some(CloseReason::Completed));
    harness.shut();
    assert_eq!(harness.connection.ending(), Some(CloseReason::Completed), "lingering");
}

#[test]
fn a_close_cuts_only_a_connection_with_work_left() {
    let mut idle = Harness::new(Echo);
    idle.connection.close(CloseReason::Stopped);
    assert!(!idle.connection.is_cut());
    let mut unserved = Harness::new(Echo);
    unserved.receive(b"ping");
    unserved.connection.close(CloseReason::Stopped);
    assert!(unserved.connection.is_cut(), "its input is unanswered");
    let mut unsent = Harness::new(Echo);
    unsent.receive(b"ping");
    unsent.serve();
    unsent.connection.close(CloseReason::Stopped);
    assert!(unsent.connection.is_cut());
    let mut finishing = Harness::new(ScriptedService { writes: b"", wait: Wait::Close });
    finishing.connection.close(CloseReason::Stopped);
    assert!(!finishing.connection.is_cut(), "everything was sent");
}

#[test]
fn a_service_that_waits_for_a_wake_is_called_when_the_output_falls_to_a_quarter() {
    for (writes, counts, is_called) in [
        (&b"12"[..], &[1, 1][..], false),
        (b"123", &[1], true),
        (b"12345678", &[5], false),
        (b"12345678", &[5, 1], true),
    ] {
        let mut harness = Harness::new(ScriptedService { writes, wait: Wait::Wake });
        for count in counts {
            harness.send(*count);
        }
        assert_eq!(harness.connection.wants_service(), is_called, "{writes:?} less {counts:?}");
    }
}
