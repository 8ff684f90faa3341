//! Simulated kernel of one thread: clock, poll, listeners and streams, with faults that a seed determines.
//!
//! It exists only in builds with `--cfg multiconn_simulated` (`scripts/simulate`), where it takes the place of mio's poll
//! and of the sockets. Time passes in polls and, a little, in each call. Meanwhile bytes travel, and [`Script`]s, the
//! programs at the other ends, run. A call that a correct program never makes panics: a read after the end, a write on
//! a shut half, closing a socket that is still registered.

mod connect;
mod faults;
mod listener;
mod poll;
mod responder;
mod stream;
#[cfg(test)]
pub(crate) mod tests {
    pub(crate) mod seeds;
}

pub(crate) use connect::{ConnectFaults, Destination};
pub(crate) use faults::{Faults, Rng};
pub(crate) use listener::SimulatedListener;
pub(crate) use poll::{Event, Events, Poll, Waker};
pub(crate) use responder::{Answers, Conduct, Pace, Responder};
pub(crate) use stream::{Endpoint, SimulatedStream, Transfer};

use listener::Backlog;
use mio::Token;
use poll::Loop;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the simulation began.
pub(crate) type Nanos = u64;

/// A program at the other end of streams.
pub(crate) trait Script {
    /// Runs because its time has come, or something has happened on one of its streams.
    fn run(&mut self, kernel: &mut Kernel, number: usize);
}

/// What happens at an instant.
#[derive(Debug)]
enum Action {
    /// Bytes arrive at an endpoint.
    Deliver(usize, Vec<u8>),
    /// The end of the stream arrives at an endpoint.
    Finish(usize),
    /// A reset arrives at an endpoint.
    Reset(usize),
    /// An endpoint learns that its peer has room.
    Window(usize),
    /// The connect of an endpoint completes.
    Connect(usize),
    /// The connect of an endpoint is refused.
    Refuse(usize),
    /// A script runs.
    Run(usize),
}

/// State of the simulation.
pub(crate) struct Kernel {
    pub(crate) now: Nanos,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    endpoints: Vec<Endpoint>,
    backlogs: Vec<Backlog>,
    loops: Vec<Loop>,
    /// The loop that runs.
    current: usize,
    scripts: Vec<Option<Box<dyn Script>>>,
    /// Receives the connections of the loops.
    destination: Option<Box<dyn Destination>>,
    /// Scripts that run at the current instant.
    due_scripts: Vec<usize>,
    queue: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    actions: Vec<Option<Action>>,
    free_actions: Vec<usize>,
    sequence: u64,
    /// Open sockets of the loops.
    descriptors: usize,
    /// Number of polls in a row in which no time passed and nothing happened.
    idle_polls: u32,
    /// Number of polls.
    pub(crate) rounds: u64,
    /// Failures of connects so far.
    pub(crate) connect_faults: ConnectFaults,
    /// Whether endpoints keep each of their reads and writes.
    pub(crate) keeps_transfers: bool,
    /// Hash of all calls and their results.
    pub(crate) trace: u64,
    pub(crate) calls: u64,
}

thread_local! {
    static KERNEL: RefCell<Kernel> = RefCell::new(Kernel::new());
}

/// The instant at which simulations begin.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// The simulated time.
pub(crate) fn now() -> Instant {
    with(|kernel| origin() + Duration::from_nanos(kernel.now))
}

/// The instant `nanos` after the beginning.
pub(crate) fn instant(nanos: Nanos) -> Instant {
    origin() + Duration::from_nanos(nanos)
}

/// Calls `act` with the kernel of this thread.
pub(crate) fn with<T>(act: impl FnOnce(&mut Kernel) -> T) -> T {
    KERNEL.with_borrow_mut(act)
}

impl Kernel {
    fn new() -> Self {
        Self {
            now: 0,
            rng: Rng::new(0),
            faults: Faults::default(),
            endpoints: Vec::new(),
            backlogs: Vec::new(),
            loops: Vec::new(),
            current: 0,
            scripts: Vec::new(),
            destination: None,
            due_scripts: Vec::new(),
            queue: BinaryHeap::new(),
            actions: Vec::new(),
            free_actions: Vec::new(),
            sequence: 0,
            descriptors: 0,
            idle_polls: 0,
            rounds: 0,
            connect_faults: ConnectFaults::default(),
            keeps_transfers: false,
            trace: 0,
            calls: 0,
        }
    }

    /// Begins a new simulation.
    pub(crate) fn reset(&mut self, rng: Rng, faults: Faults) {
        *self = Self { rng, faults, ..Self::new() };
    }

    /// Adds a script that first runs at `time`.
    pub(crate) fn add_script(&mut self, script: Box<dyn Script>, time: Nanos) -> usize {
        self.scripts.push(Some(script));
        let number = self.scripts.len() - 1;
        self.schedule(time, Action::Run(number));
        number
    }

    /// Runs all scripts now.
    pub(crate) fn run_all(&mut self) {
        (0..self.scripts.len()).for_each(|script| self.schedule(self.now, Action::Run(script)));
    }

    /// Runs a script at `time`.
    pub(crate) fn run_at(&mut self, time: Nanos, script: usize) {
        self.schedule(time, Action::Run(script));
    }

    fn schedule(&mut self, time: Nanos, action: Action) {
        let slot = self.free_actions.pop().unwrap_or_else(|| {
            self.actions.push(None);
            self.actions.len() - 1
        });
        self.actions[slot] = Some(action);
        self.sequence += 1;
        self.queue.push(Reverse((time.max(self.now), self.sequence, slot)));
    }

    /// Whether anything is still to happen.
    pub(crate) fn next_action(&self) -> Option<Nanos> {
        self.queue.peek().map(|Reverse((time, ..))| *time)
    }

    /// Sets the time, and does what has become due.
    pub(crate) fn advance_to(&mut self, time: Nanos) {
        while let Some(Reverse((due, _, slot))) = self.queue.peek().copied().filter(|Reverse((due, ..))| *due <= time) {
            self.queue.pop();
            self.now = self.now.max(due);
            if let Some(action) = self.actions[slot].take() {
                self.free_actions.push(slot);
                self.perform(action);
            }
            self.run_due_scripts();
        }
        self.now = self.now.max(time);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Deliver(endpoint, bytes) => self.deliver(endpoint, &bytes),
            Action::Finish(endpoint) => self.finish(endpoint),
            Action::Reset(endpoint) => self.receive_reset(endpoint),
            Action::Window(endpoint) => self.open_window(endpoint),
            Action::Connect(endpoint) => self.complete_connect(endpoint),
            Action::Refuse(endpoint) => self.refuse_connect(endpoint),
            Action::Run(script) => self.due_scripts.push(script),
        }
    }

    fn run_due_scripts(&mut self) {
        while let Some(number) = self.due_scripts.pop() {
            if let Some(mut script) = self.scripts[number].take() {
                script.run(self, number);
                self.scripts[number] = Some(script);
            }
        }
    }

    /// A system call of a loop: it takes a moment, in which something may arrive.
    fn call(&mut self, what: u64, which: usize) {
        self.calls += 1;
        self.record(what << 32 | which as u64);
        let time = if self.faults.slow_calls { self.rng.below(30_000) } else { 200 };
        self.advance_to(self.now + time);
    }

    fn record(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(5) ^ what ^ self.now).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// How long something travels.
    fn delay(&mut self) -> Nanos {
        let longest = self.faults.longest_delay;
        if longest == 0 { 1000 } else { 1000 + self.rng.below(longest) }
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Kernel").field("now", &self.now).finish_non_exhaustive()
    }
}

/// A registered source: its loop and its token.
type Registration = (usize, Token);

/// Shares a value between scripts of one thread.
pub(crate) type Shared<T> = Rc<RefCell<T>>;
