//! A conversation on a scripted socket, under a simulated loop and a simulated clock.

use super::script::Script;
use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::pump::{Observer, Pump, Turn, handle_deadline};
use crate::service::{Input, Output, Service, Wait};
use std::time::{Duration, Instant};

/// More turns than any of these conversations needs: beyond that, it goes round for ever.
const TURNS: usize = 100_000;

/// A second of simulated time.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Writes down what the pump reports, and holds the clock.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) now: Instant,
    pub(super) received: Vec<u8>,
    pub(super) sent: Vec<u8>,
}

impl Observer for Witness {
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

pub(super) struct Scene<S> {
    pub(super) connection: Connection<S>,
    pub(super) socket: Script,
    pub(super) limits: Limits,
    pub(super) witness: Witness,
    pub(super) yields: usize,
    pub(super) start: Instant,
    pool: BufferPool,
    /// When the loop will look at the connection, and the limits for which that holds.
    armed: (Option<Instant>, Limits),
    /// The instants at which the loop will call an alarm.
    precise_timers: Vec<Instant>,
}

impl<S: Service> Scene<S> {
    /// A conversation that opens as a worker opens it: the first event will tell that there is something to read.
    pub(super) fn new(service: S, socket: Script, limits: Limits) -> Self {
        let start = Instant::now();
        let mut connection = Connection::new(service, start);
        connection.handle_read_blocked();
        let witness = Witness { now: start, received: Vec::new(), sent: Vec::new() };
        let armed = (None, limits.clone());
        Self {
            connection,
            socket,
            limits,
            witness,
            yields: 0,
            start,
            pool: BufferPool::new(),
            armed,
            precise_timers: Vec::new(),
        }
    }

    /// One turn, and what must hold after every turn.
    pub(super) fn turn(&mut self) -> Turn {
        let (pool, memory) = (&mut self.pool, &MemoryAccount::unlimited());
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut self.witness };
        let precise_deadline = self.connection.precise_deadline();
        let turn = pump.turn(&mut self.connection, &mut self.socket);
        let (held, storage) = (self.connection.buffered_bytes(), self.connection.storage_bytes_of_each());
        for (held, storage) in held.into_iter().zip(storage) {
            assert!(held <= self.limits.buffer_bytes, "{held} bytes held, whatever the limit says");
            assert!(storage <= self.limits.buffer_bytes.max(BLOCK_BYTES), "{storage} bytes of storage");
            assert!(held > 0 || storage == 0, "an empty buffer kept {storage} bytes of storage");
        }
        self.check_deadline();
        self.precise_timers.extend(
            self.connection.precise_deadline().filter(|_| self.connection.precise_deadline() != precise_deadline),
        );
        assert_eq!(self.witness.sent, self.socket.written);
        assert_eq!(self.connection.sent_bytes(), self.witness.sent.len() as u64);
        assert_eq!(self.connection.received_bytes(), self.witness.received.len() as u64);
        turn
    }

    /// A deadline that comes nearer is told; one that moves away is found out when the old one comes up.
    fn check_deadline(&mut self) {
        let (armed, limits) = &mut self.armed;
        if *limits != self.limits {
            // Nobody changes the limits of a real connection, but for a drain.
            (*armed, *limits) = (self.connection.next_deadline(&self.limits), self.limits.clone());
        }
        let told = self.connection.urgent_deadline(&self.limits);
        *armed = [*armed, told].into_iter().flatten().min();
        if let Some(next) = self.connection.next_deadline(&self.limits) {
            assert!(armed.is_some_and(|armed| armed <= next), "nobody will look at {:?}", next - self.start);
        }
    }

    /// Goes on until the conversation is over, or nothing more happens by itself.
    pub(super) fn run(&mut self) -> Option<CloseReason> {
        for _ in 0..TURNS {
            match self.turn() {
                Turn::Closed(reason) => return Some(reason),
                Turn::Yielded => self.yields += 1,
                Turn::Blocked => {
                    let (readable, writable, hang_up) = self.socket.next_event()?;
                    self.connection.handle_event(readable, writable, hang_up);
                }
            }
        }
        panic!("the conversation goes round for ever");
    }

    /// Lets time pass, then goes on as a loop does whose timer has come up, needed or not.
    pub(super) fn pass(&mut self, time: Duration) -> Option<CloseReason> {
        self.witness.now += time;
        // What has come up is no longer armed.
        self.armed.0 = self.armed.0.filter(|&armed| armed > self.witness.now);
        handle_deadline(&mut self.connection, &self.socket, &self.limits, self.witness.now);
        let now = self.witness.now;
        for _ in self.precise_timers.extract_if(.., |&mut precise_deadline| precise_deadline <= now) {
            self.connection.handle_precise_timer(now);
        }
        self.run()
    }

    /// The next alarm, counted from the start.
    pub(super) fn precise_deadline(&self) -> Option<Duration> {
        self.precise_timers.iter().min().map(|&instant| instant - self.start)
    }

    /// The next deadline, counted from the start.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.connection.next_deadline(&self.limits).map(|instant| instant - self.start)
    }

    /// How many alarms are to come.
    pub(super) fn precise_timers(&self) -> usize {
        self.precise_timers.len()
    }

    pub(super) fn assert_owns_no_heap(&self) {
        assert_eq!(self.connection.storage_bytes_of_each(), [0, 0]);
    }
}

/// A service that is a closure.
pub(super) struct Act<F>(F);

pub(super) fn act<F>(serve: F) -> Act<F>
where
    F: FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait,
{
    Act(serve)
}

impl<F> Service for Act<F>
where
    F: FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait,
{
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        (self.0)(input, output, now)
    }
}

/// Answers each frame of so many bytes with the frame backwards.
#[derive(Debug)]
pub(super) struct Frames(pub(super) usize);

impl Service for Frames {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
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

/// So many bytes, in which a byte that is lost, doubled or out of place shows: the pattern repeats after a prime number.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}
