//! The state machine alone: phases, wishes and deadlines, without a socket and without a pump.

mod deadlines;

use super::{CloseReason, Connection, Limits};
use crate::buffer::{BufferPool, LENT_BYTES};
use crate::service::{Discard, Echo, Input, Output, Service, Wait};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

impl<S> Connection<S> {
    /// How many bytes wait in the input and in the output.
    pub(crate) fn buffered_of_each(&self) -> [usize; 2] {
        [self.input.len(), self.output.len()]
    }

    /// How much heap the input and the output own, in bytes.
    pub(crate) fn storage_of_each(&self) -> [usize; 2] {
        [self.input.storage_bytes(), self.output.storage_bytes()]
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Says what it was given to say, waits for what it was told to wait for.
struct Puppet {
    says: &'static [u8],
    waits: Wait,
}

impl Service for Puppet {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
        output.write(self.says);
        self.waits
    }
}

/// A connection, and the hands of a pump.
struct Bench<S> {
    connection: Connection<S>,
    pool: BufferPool,
    limits: Limits,
    now: Instant,
}

impl<S: Service> Bench<S> {
    /// A connection whose service was called for the first time.
    fn new(service: S) -> Self {
        let now = Instant::now();
        let limits = Limits { buffer_bytes: 8, idle: Some(SECOND * 10), linger: SECOND * 5, ..Limits::default() };
        let mut bench = Self { connection: Connection::new(service, now), pool: BufferPool::new(), limits, now };
        assert!(bench.connection.wants_service(), "the service may want to speak first");
        bench.serve();
        bench
    }

    fn serve(&mut self) {
        self.connection.serve(&mut self.pool, &self.limits, self.now);
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

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_deadline(&self.limits, self.now);
    }

    /// What it wants of a socket that is ready for anything: to read, to write, to shut.
    fn wishes(&mut self) -> [bool; 3] {
        self.connection.handle_event(true, true, false);
        [self.connection.wants_read(&self.limits), self.connection.wants_write(), self.connection.wants_shut()]
    }

    /// How long until the next deadline.
    fn deadline(&self) -> Option<Duration> {
        self.connection.next_deadline(&self.limits).map(|instant| instant - self.now)
    }
}

/// A connection that is in its last phase but one.
fn lingering() -> Bench<Puppet> {
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Close });
    bench.shut();
    bench
}

/// Every idle connection costs this much besides its service and its socket: 48 bytes for the two buffers, 40 for the times,
/// 16 for the counters, 16 for the phase, the reason, what the service waits for, seven facts and what was delivered.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection<()>>() <= 120, "{} bytes", size_of::<Connection<()>>());
}

#[test]
fn each_phase_has_its_wishes() {
    let mut bench = Bench::new(Puppet { says: b"bye", waits: Wait::Close });
    assert_eq!(bench.wishes(), [true, true, false], "finishing: input is read to be discarded");
    bench.receive(b"more");
    assert_eq!(bench.connection.buffered_of_each(), [0, 3]);
    bench.send(3);
    assert_eq!(bench.wishes(), [true, false, true]);
    bench.shut();
    assert_eq!(bench.wishes(), [true, false, false], "lingering");
    assert_eq!(bench.connection.closed(), None);
    bench.connection.handle_end();
    assert_eq!(bench.wishes(), [false, false, false], "closed");
    assert_eq!(bench.connection.closed(), Some(CloseReason::Completed));
    assert_eq!(bench.deadline(), None);
    assert!(!bench.connection.wants_service());
}

#[test]
fn readiness_is_remembered() {
    let mut bench = Bench::new(Discard);
    assert!(bench.connection.wants_read(&bench.limits), "until a read says otherwise");
    bench.connection.handle_read_blocked();
    assert!(!bench.connection.wants_read(&bench.limits));
    bench.connection.handle_event(true, false, false);
    bench.receive(b"12345678");
    assert!(!bench.connection.wants_read(&bench.limits), "the buffer is full");
    bench.serve();
    assert!(bench.connection.wants_read(&bench.limits), "the read filled the room");
    bench.receive(b"1");
    bench.serve();
    assert!(!bench.connection.wants_read(&bench.limits), "the read was short");
    bench.connection.handle_event(false, false, true);
    bench.receive(b"1");
    bench.serve();
    assert!(bench.connection.wants_read(&bench.limits), "the read was short, but the end is near");
    bench.connection.handle_end();
    assert!(!bench.connection.wants_read(&bench.limits), "behind the end is nothing");
}

#[test]
fn writability_is_remembered() {
    let mut bench = Bench::new(Puppet { says: b"123", waits: Wait::Input });
    assert!(bench.connection.wants_write());
    bench.send(2);
    assert!(!bench.connection.wants_write(), "the write was short");
    bench.connection.handle_event(false, true, false);
    assert!(bench.connection.wants_write());
    bench.connection.handle_write_blocked(bench.now);
    assert!(!bench.connection.wants_write());
    bench.connection.handle_event(true, false, false);
    assert!(!bench.connection.wants_write());
    bench.connection.handle_event(false, false, true);
    assert!(bench.connection.wants_write(), "a hang-up is a hint to try");
}

#[test]
fn waiting_for_room_stops_reading() {
    let mut bench = Bench::new(Puppet { says: b"12345678", waits: Wait::Writable });
    assert_eq!(bench.wishes(), [false, true, false]);
    bench.send(5);
    assert!(!bench.connection.wants_service(), "3 of 8 bytes are left");
    bench.send(1);
    assert!(bench.connection.wants_service(), "2 of 8 bytes are left");
}

#[test]
fn waiting_for_input_or_room_reads_on() {
    let mut bench = Bench::new(Puppet { says: b"12345678", waits: Wait::Either });
    assert_eq!(bench.wishes(), [true, true, false]);
    bench.receive(b"1234");
    assert!(bench.connection.wants_service(), "input came");
    bench.serve();
    bench.send(5);
    assert!(!bench.connection.wants_service(), "3 of 8 bytes are left");
    bench.send(1);
    assert!(bench.connection.wants_service(), "2 of 8 bytes are left");
    bench.serve();
    bench.receive(b"5678");
    bench.serve();
    assert_eq!(bench.wishes(), [false, true, false], "the input is full, and room may still come");
    bench.connection.handle_end();
    bench.serve();
    assert_eq!(bench.wishes(), [false, true, false], "the input has ended, and room may still come");
    assert_eq!(bench.connection.closed(), None);
}

#[test]
fn with_all_the_room_there_is_only_input_can_come() {
    let silent = || Bench::new(Puppet { says: b"", waits: Wait::Either });
    let mut bench = silent();
    bench.connection.handle_end();
    bench.serve();
    bench.shut();
    assert_eq!(bench.connection.closed(), Some(CloseReason::PeerClosed));
    let mut bench = silent();
    bench.receive(b"12345678");
    bench.serve();
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::FrameTooLarge));
    let mut bench = silent();
    bench.connection.handle_read_blocked();
    bench.connection.handle_drain();
    bench.connection.handle_read_blocked();
    bench.connection.finish_if_drained();
    assert!(bench.connection.wants_shut(), "it is as quiet as one that waits for input");
}

#[test]
fn limits_end_a_conversation_that_cannot_go_on() {
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Input });
    bench.receive(b"1234567");
    bench.serve();
    assert!(!bench.connection.wants_shut(), "there is room for one more byte");
    bench.receive(b"8");
    bench.serve();
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::FrameTooLarge));

    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Writable });
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::ReplyTooLarge));
}

#[test]
fn whoever_is_refused_is_told_first() {
    let mut bench = Bench::new(Puppet { says: b"no", waits: Wait::Abort });
    assert_eq!(bench.wishes(), [true, true, false]);
    bench.send(2);
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::ProtocolError));
}

#[test]
fn a_service_that_waits_for_an_instant_may_have_a_full_input() {
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Deadline(Instant::now() + SECOND) });
    bench.receive(b"12345678");
    bench.serve();
    assert_eq!(bench.wishes(), [false, false, false]);
    assert_eq!(bench.connection.closed(), None);
}

#[test]
fn after_the_peers_end_there_is_no_lingering() {
    let mut bench = Bench::new(Echo);
    bench.receive(b"ping");
    bench.connection.handle_end();
    bench.serve();
    assert_eq!(bench.wishes(), [false, true, false]);
    bench.send(4);
    assert!(bench.connection.ends_with_close());
    bench.shut();
    assert_eq!(bench.connection.closed(), Some(CloseReason::PeerClosed));
}

#[test]
fn only_a_quiet_conversation_is_drained() {
    let mut bench = Bench::new(Echo);
    bench.connection.finish_if_drained();
    assert!(!bench.connection.wants_shut(), "nobody drains");
    bench.connection.handle_read_blocked();
    bench.connection.handle_drain();
    bench.connection.finish_if_drained();
    assert!(!bench.connection.wants_shut(), "there is one more look to take");
    bench.receive(b"ping");
    bench.connection.finish_if_drained();
    assert!(!bench.connection.wants_shut(), "there is something to serve");
    bench.serve();
    bench.connection.finish_if_drained();
    assert!(!bench.connection.wants_shut(), "there is something to send");
    bench.send(4);
    bench.connection.handle_wake();
    bench.connection.finish_if_drained();
    assert!(!bench.connection.wants_shut(), "there is news for the service");
    bench.serve();
    bench.connection.finish_if_drained();
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::Drained));
}

#[test]
fn an_error_is_news_until_everything_is_sent() {
    let reset = io::Error::from(ErrorKind::ConnectionReset);
    let mut open = Bench::new(Echo);
    open.connection.handle_error(&reset);
    assert_eq!(open.connection.closed(), Some(CloseReason::Reset));
    let mut finishing = Bench::new(Puppet { says: b"bye", waits: Wait::Close });
    finishing.connection.handle_error(&reset);
    assert_eq!(finishing.connection.closed(), Some(CloseReason::Reset));
    let mut lingering = lingering();
    lingering.connection.handle_error(&reset);
    assert_eq!(lingering.connection.closed(), Some(CloseReason::Completed));
}

#[test]
fn errors_of_a_peer_that_went_away_are_resets() {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
    for kind in [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected] {
        assert_eq!(CloseReason::from_error(&kind.into()), CloseReason::Reset, "{kind}");
    }
    assert_eq!(CloseReason::from_error(&TimedOut.into()), CloseReason::Failed(TimedOut));
}

#[test]
fn a_closed_connection_gives_everything_back() {
    let mut bench = Bench::new(Puppet { says: b"1234", waits: Wait::Input });
    bench.receive(b"12");
    bench.connection.release(&mut bench.pool);
    assert_eq!(bench.connection.storage_of_each(), [2, 4], "a leftover keeps what it needs");
    bench.receive(b"3");
    assert_eq!(bench.connection.storage_of_each(), [LENT_BYTES, 4]);
    bench.connection.close(CloseReason::Stopped);
    assert_eq!(bench.wishes(), [false, false, false], "unsent output is no wish any more");
    bench.connection.release(&mut bench.pool);
    assert_eq!(bench.connection.storage_of_each(), [0, 0]);
    assert_eq!(bench.connection.closed(), Some(CloseReason::Stopped));
}
