//! Simulation of one connection on a scripted socket, with a simulated loop and clock.

use super::script::Script;
use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::pump::{Observer, Pump, Turn, handle_deadline};
use crate::service::{Context, Input, Output, Service, Wait};
use std::time::{Duration, Instant};

/// Maximum number of turns. No test needs as many; more mean an endless loop.
const MAX_TURNS: usize = 100_000;

/// One second of simulated time.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Records the observed bytes, and supplies the simulated time.
#[derive(Debug)]
pub(super) struct RecordingObserver {
    pub(super) now: Instant,
    pub(super) received: Vec<u8>,
    pub(super) sent: Vec<u8>,
}

impl Observer for RecordingObserver {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn received(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
    }
}

pub(super) struct Simulation<S> {
    pub(super) connection: Connection<S>,
    pub(super) socket: Script,
    pub(super) limits: Limits,
    pub(super) observer: RecordingObserver,
    pub(super) yields: usize,
    pub(super) start: Instant,
    pool: BufferPool,
    /// The instant at which the loop will call the connection, and the limits it was computed with.
    armed: (Option<Instant>, Limits),
    /// Instants of the armed precise timers.
    precise_timers: Vec<Instant>,
}

impl<S: Service> Simulation<S> {
    /// Creates a connection as a worker does: the first event reports that there is something to read.
    pub(super) fn new(service: S, socket: Script, limits: Limits) -> Self {
        let start = Instant::now();
        let mut connection = Connection::new(service, start);
        connection.handle_read_blocked();
        let observer = RecordingObserver { now: start, received: Vec::new(), sent: Vec::new() };
        let armed = (None, limits.clone());
        Self {
            connection,
            socket,
            limits,
            observer,
            yields: 0,
            start,
            pool: BufferPool::new(),
            armed,
            precise_timers: Vec::new(),
        }
    }

    /// Runs one turn and checks the invariants that hold after every turn.
    pub(super) fn turn(&mut self) -> Turn {
        let (pool, memory) = (&mut self.pool, &MemoryAccount::unlimited());
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut self.observer };
        let precise_deadline = self.connection.precise_deadline();
        let turn = pump.turn(&mut self.connection, &mut self.socket);
        let (held, storage) = (self.connection.buffered_bytes(), self.connection.storage_bytes_of_each());
        for (held, storage) in held.into_iter().zip(storage) {
            assert!(held <= self.limits.buffer_bytes, "{held} bytes held, above the limit");
            assert!(storage <= self.limits.buffer_bytes.max(BLOCK_BYTES), "{storage} bytes of storage");
            assert!(held > 0 || storage == 0, "an empty buffer kept {storage} bytes of storage");
        }
        self.check_deadline();
        self.precise_timers.extend(
            self.connection.precise_deadline().filter(|_| self.connection.precise_deadline() != precise_deadline),
        );
        assert_eq!(self.observer.sent, self.socket.written);
        assert_eq!(self.connection.sent_bytes(), self.observer.sent.len() as u64);
        assert_eq!(self.connection.received_bytes(), self.observer.received.len() as u64);
        turn
    }

    /// A nearer deadline is reported; one that moves away is noticed when the old one expires.
    fn check_deadline(&mut self) {
        let (armed, limits) = &mut self.armed;
        if *limits != self.limits {
            // Real connections change their limits only for a drain.
            (*armed, *limits) = (self.connection.next_deadline(&self.limits), self.limits.clone());
        }
        let urgent = self.connection.urgent_deadline(&self.limits);
        *armed = [*armed, urgent].into_iter().flatten().min();
        if let Some(next) = self.connection.next_deadline(&self.limits) {
            assert!(armed.is_some_and(|armed| armed <= next), "no timer is armed for {:?}", next - self.start);
        }
    }

    /// Runs until the connection is over, or until it waits for an outside event.
    pub(super) fn run(&mut self) -> Option<CloseReason> {
        for _ in 0..MAX_TURNS {
            match self.turn() {
                Turn::Closed(reason) => return Some(reason),
                Turn::Yielded => self.yields += 1,
                Turn::Blocked => {
                    let (readable, writable, hang_up) = self.socket.next_event()?;
                    self.connection.handle_event(readable, writable, hang_up);
                }
            }
        }
        panic!("the connection never stops");
    }

    /// Advances the time, then continues as a loop does after a timer has expired, even an unneeded one.
    pub(super) fn advance(&mut self, time: Duration) -> Option<CloseReason> {
        self.observer.now += time;
        // An expired timer is no longer armed.
        self.armed.0 = self.armed.0.filter(|&armed| armed > self.observer.now);
        handle_deadline(&mut self.connection, &self.socket, &self.limits, self.observer.now);
        let now = self.observer.now;
        for _ in self.precise_timers.extract_if(.., |&mut precise_deadline| precise_deadline <= now) {
            self.connection.handle_precise_timer(now);
        }
        self.run()
    }

    /// The next precise timer, counted from the start.
    pub(super) fn precise_deadline(&self) -> Option<Duration> {
        self.precise_timers.iter().min().map(|&instant| instant - self.start)
    }

    /// The next deadline, counted from the start.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.connection.next_deadline(&self.limits).map(|instant| instant - self.start)
    }

    /// Number of armed precise timers.
    pub(super) fn precise_timers(&self) -> usize {
        self.precise_timers.len()
    }

    pub(super) fn assert_owns_no_heap(&self) {
        assert_eq!(self.connection.storage_bytes_of_each(), [0, 0]);
    }
}

/// A service made from a closure.
pub(super) struct FnService<F>(F);

pub(super) fn service_fn<F>(serve: F) -> FnService<F>
where
    F: FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait,
{
    FnService(serve)
}

impl<F> Service for FnService<F>
where
    F: FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait,
{
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        (self.0)(input, output, context.now())
    }
}

/// Answers each frame of that many bytes with the reversed frame.
#[derive(Debug)]
pub(super) struct ReverseFrames(pub(super) usize);

impl Service for ReverseFrames {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        while input.bytes().len() >= self.0 {
            let frame: Vec<u8> = input.bytes()[..self.0].iter().rev().copied().collect();
            if !output.write_whole(&frame) {
                return Wait::Writable;
            }
            input.consume(self.0);
        }
        Wait::Input
    }
}

/// Test bytes in which a lost, repeated or misplaced byte is detected: the pattern repeats after a prime number of
/// bytes.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}
