//! Exhaustive small scope: all schedules of a few events, with buffers and budgets of 1 to 3 bytes, for each built-in
//! service and framing, over a plain and a layered socket.
//!
//! A stream in one part, taken at once, is the reference. Every other schedule must give the same answer and the same
//! close reason, or a prefix of the answer after a reset. `MULTICONN_SCHEDULE_EVENTS` sets the number of events
//! (`scripts/exhaustive`).

mod layered_socket;
mod services;

use crate::connection::{CloseReason, Limits};
use crate::pump::Turn;
use crate::socket::Address;
use crate::testing::{ConnectionFacts, ScriptedSocket, SimulatedConnection, SimulatedSocket, SocketInput};
use layered_socket::LayeredSocket;
use services::{Case, Checked, Closings, DELAY, PARTS, cases};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Number of events without `MULTICONN_SCHEDULE_EVENTS`, such that the test takes a few seconds without optimisation.
const DEFAULT_EVENTS: usize = 2;

/// Bytes that the peer takes of an answer without end, after the last event.
const ENDLESS_BYTES: usize = 20;

/// More turns than any schedule needs; more mean an endless loop.
const MAX_TURNS: usize = 2_000;

/// More timers than the deadlines of a connection, and the instants of the services.
const MAX_TIMERS: usize = 40;

/// A step of a schedule. Unless stated otherwise, the connection runs until it waits after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A part arrives.
    Part,
    /// Two parts arrive in one segment.
    TwoParts,
    /// Two segments arrive before the connection runs.
    TwoSegments,
    /// A part arrives, with the end in the same event.
    PartWithEnd,
    End,
    Reset,
    /// An event without input.
    Spurious,
    /// A signal interrupts the read.
    Interrupted,
    /// The peer takes a byte.
    Take,
    /// A part arrives and the peer takes a byte, in one event.
    PartAndTake,
    /// A part arrives and the connection is reset before it runs.
    PartAndReset,
    /// The service is called for no visible reason.
    Wake,
    /// Time passes, as long as services wait.
    Time,
}

const STEPS: [Step; 13] = [
    Step::Part,
    Step::TwoParts,
    Step::TwoSegments,
    Step::PartWithEnd,
    Step::End,
    Step::Reset,
    Step::Spurious,
    Step::Interrupted,
    Step::Take,
    Step::PartAndTake,
    Step::PartAndReset,
    Step::Wake,
    Step::Time,
];

impl Step {
    /// Number of parts that it sends.
    fn parts(self) -> usize {
        match self {
            Self::Part | Self::PartWithEnd | Self::PartAndTake | Self::PartAndReset => 1,
            Self::TwoParts | Self::TwoSegments => 2,
            _ => 0,
        }
    }

    fn is_end(self) -> bool {
        matches!(self, Self::PartWithEnd | Self::End)
    }

    fn is_reset(self) -> bool {
        matches!(self, Self::Reset | Self::PartAndReset)
    }
}

/// Whether `step` can follow `steps`.
fn may_follow(steps: &[Step], step: Step, case: &Case) -> bool {
    let has_ended = steps.iter().any(|step| step.is_end());
    let has_reset = steps.iter().any(|step| step.is_reset());
    let sends = step.parts() > 0 || step.is_end();
    let sent: usize = steps.iter().map(|step| step.parts()).sum();
    !(has_reset || has_ended && sends || sent + step.parts() > case.parts.len().min(PARTS))
        && (step != Step::Time || case.has_timers)
}

/// A stream whose script can be changed between two steps.
trait TestSocket: SimulatedSocket {
    fn new(socket: ScriptedSocket) -> Self;
    fn scripted(&mut self) -> &mut ScriptedSocket;
    /// What arrives before the first part, and together with it.
    const HANDSHAKE: [&'static [u8]; 2];
}

impl TestSocket for ScriptedSocket {
    const HANDSHAKE: [&'static [u8]; 2] = [b"", b""];

    fn new(socket: ScriptedSocket) -> Self {
        socket
    }

    fn scripted(&mut self) -> &mut ScriptedSocket {
        self
    }
}

impl TestSocket for LayeredSocket {
    const HANDSHAKE: [&'static [u8]; 2] = [b"h", b"s"];

    fn new(socket: ScriptedSocket) -> Self {
        Self::new(socket)
    }

    fn scripted(&mut self) -> &mut ScriptedSocket {
        &mut self.socket
    }
}

/// What a peer saw.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    bytes: Vec<u8>,
    reason: CloseReason,
    is_cut: bool,
}

/// A connection under test.
struct Run<'a, T> {
    case: &'a Case,
    simulated: SimulatedConnection<Checked, T>,
    closings: Closings,
    /// Number of parts sent.
    sent: usize,
    room: usize,
    turns: usize,
}

impl<'a, T: TestSocket> Run<'a, T> {
    fn new(case: &'a Case, limits: Limits, room: usize, start: Instant) -> Self {
        let (peer, requests) = (Address::Unix(PathBuf::new()), Rc::default());
        let facts = ConnectionFacts { id: 1, key: 1, peer, listener: None, requests };
        let socket = T::new(ScriptedSocket::default());
        let mut simulated = SimulatedConnection::new(socket, limits, start, facts);
        let (service, closings) = Checked::new((case.make)());
        simulated.open(|_| service);
        let mut run = Self { case, simulated, closings, sent: 0, room, turns: 0 };
        run.socket().stall_after(room);
        if !T::HANDSHAKE[0].is_empty() {
            run.socket().push_bytes(T::HANDSHAKE[0]);
        }
        run.settle();
        run
    }

    fn socket(&mut self) -> &mut ScriptedSocket {
        self.simulated.socket.scripted()
    }

    /// The next parts, in one segment.
    fn segment(&mut self, parts: usize) -> Vec<u8> {
        let mut bytes = if self.sent == 0 { T::HANDSHAKE[1].to_vec() } else { Vec::new() };
        bytes.extend(self.case.parts[self.sent..self.sent + parts].concat());
        self.sent += parts;
        bytes
    }

    fn send(&mut self, parts: usize) {
        let bytes = self.segment(parts);
        self.socket().push(SocketInput::Bytes(bytes));
    }

    fn take(&mut self) {
        // What was taken already is subtracted by the socket.
        let taken = self.socket().written.len();
        self.room += 1;
        let room = self.room.saturating_sub(taken);
        self.socket().stall_after(room);
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Part => self.send(1),
            Step::TwoParts => self.send(2),
            Step::TwoSegments => {
                self.send(1);
                self.send(1);
            }
            Step::PartWithEnd => {
                let bytes = self.segment(1);
                self.socket().push(SocketInput::Last(bytes));
            }
            Step::End => self.socket().push(SocketInput::End),
            Step::Reset => self.socket().reset(),
            Step::Spurious => self.socket().push(SocketInput::Nothing),
            Step::Interrupted => self.socket().push(SocketInput::Signal),
            Step::Take => self.take(),
            Step::PartAndTake => {
                self.send(1);
                self.take();
            }
            Step::PartAndReset => {
                self.send(1);
                self.socket().reset();
            }
            Step::Wake => {
                self.simulated.connection.handle_wake();
                self.simulated.request_turn();
            }
            Step::Time => {
                let now = self.simulated.observer.now + DELAY;
                self.simulated.handle_time(now);
            }
        }
        self.settle();
    }

    /// Lets the time pass until the next timer expires.
    fn expire(&mut self) {
        if let Some(timer) = self.simulated.next_timer() {
            let now = self.simulated.observer.now;
            self.simulated.handle_time(timer.max(now + Duration::from_millis(1)));
        }
    }

    /// Runs until the connection waits.
    fn settle(&mut self) {
        loop {
            let before = self.moved_bytes();
            let Some(turn) = self.simulated.step() else { break };
            self.turns += 1;
            assert!(self.turns < MAX_TURNS, "the connection never waits");
            // The last read and the last write of a turn may exceed what is left of its budget.
            let Limits { buffer_bytes, turn_bytes, .. } = self.simulated.limits;
            let moved = self.moved_bytes() - before;
            assert!(moved <= (turn_bytes + 2 * buffer_bytes) as u64, "{moved} bytes in one turn");
            assert_eq!(self.closings.get(), usize::from(matches!(turn, Turn::Closed(_))));
        }
        if self.simulated.closed().is_none() {
            let limits = &self.simulated.limits;
            assert!(self.simulated.connection.next_deadline(limits).is_some(), "it waits without a deadline");
        }
    }

    fn moved_bytes(&self) -> u64 {
        self.simulated.connection.received_bytes() + self.simulated.connection.sent_bytes()
    }

    /// No more faults: the peer takes everything and ends. Returns what it saw.
    fn finish(mut self, has_ended: bool) -> Answer {
        let is_endless = self.case.is_endless;
        if is_endless {
            self.socket().stall_after(ENDLESS_BYTES);
        } else {
            self.socket().resume();
        }
        if !has_ended {
            if self.sent == 0 && !T::HANDSHAKE[1].is_empty() {
                self.socket().push_bytes(T::HANDSHAKE[1]);
            }
            self.socket().push(SocketInput::End);
        }
        self.settle();
        for _ in 0..MAX_TIMERS {
            if self.simulated.closed().is_none() {
                self.expire();
                self.settle();
            }
        }
        let reason = self.simulated.closed().expect("every connection closes");
        assert_eq!(self.closings.get(), 1, "the service learns of the end once");
        assert_eq!(self.simulated.connection.storage_bytes_of_each(), [0, 0], "a closed connection owns no heap");
        let is_cut = self.simulated.connection.is_cut();
        Answer { bytes: std::mem::take(&mut self.socket().written), reason, is_cut }
    }
}

/// All schedules of a service, over sockets of type `T`.
struct Schedules<'a, T> {
    case: &'a Case,
    limits: Limits,
    events: usize,
    start: Instant,
    /// The answer to so many parts and the end.
    references: HashMap<usize, Answer>,
    count: u64,
    socket: std::marker::PhantomData<T>,
}

impl<T: TestSocket> Schedules<'_, T> {
    fn reference(&mut self, parts: usize) -> Answer {
        let (case, start) = (self.case, self.start);
        let limits = Limits { turn_bytes: 1000, ..self.limits.clone() };
        let make = || {
            let mut run = Run::<T>::new(case, limits, 1000, start);
            if parts > 0 {
                run.send(parts);
            }
            run.finish(false)
        };
        self.references.entry(parts).or_insert_with(make).clone()
    }

    /// Checks `steps`, and all schedules that begin with them.
    fn check_all(&mut self, steps: &mut Vec<Step>) {
        self.check(steps);
        if steps.len() == self.events {
            return;
        }
        for step in STEPS {
            if may_follow(steps, step, self.case) {
                steps.push(step);
                self.check_all(steps);
                steps.pop();
            }
        }
    }

    fn check(&mut self, steps: &[Step]) {
        self.count += 1;
        let limits = self.limits.clone();
        let _description = Describe(self.case, &limits, steps, !T::HANDSHAKE[0].is_empty());
        let mut run = Run::<T>::new(self.case, limits.clone(), 1, self.start);
        for step in steps {
            run.apply(*step);
        }
        let sent = run.sent;
        let [is_reset, is_ended] = [Step::is_reset, Step::is_end].map(|is| steps.iter().any(|step| is(*step)));
        let answer = run.finish(is_reset || is_ended);
        if is_ended && sent == 0 && !T::HANDSHAKE[1].is_empty() {
            let is_failed = answer.bytes.is_empty() && answer.reason == CloseReason::HandshakeFailed;
            assert!(is_failed, "{answer:?} after half a handshake");
            return;
        }
        let reference = self.reference(sent);
        if is_reset || self.case.is_endless {
            let shorter = answer.bytes.len().min(reference.bytes.len());
            assert_eq!(answer.bytes[..shorter], reference.bytes[..shorter], "{steps:?}");
            assert!(self.case.is_endless || shorter == answer.bytes.len(), "{steps:?}: more than the whole answer");
        } else {
            assert_eq!(answer, reference, "{steps:?}");
        }
    }
}

/// Describes the schedule in which a test panics.
struct Describe<'a>(&'a Case, &'a Limits, &'a [Step], bool);

impl Drop for Describe<'_> {
    #[allow(clippy::print_stderr, reason = "the schedule that fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(case, limits, steps, is_layered) = self;
            let Limits { buffer_bytes, turn_bytes, .. } = limits;
            eprintln!(
                "{}: {steps:?}, {buffer_bytes}-byte buffers, budget {turn_bytes}, layered: {is_layered}",
                case.name
            );
        }
    }
}

fn check_case<T: TestSocket>(case: &Case, events: usize) -> u64 {
    let start = Instant::now();
    let mut count = 0;
    for buffer in 1..=3 {
        for turn_bytes in 1..=3 {
            let buffer_bytes = case.extra_bytes + buffer;
            let limits = Limits { buffer_bytes, turn_bytes, ..Limits::default() };
            let (references, socket) = (HashMap::new(), std::marker::PhantomData);
            let mut schedules = Schedules::<T> { case, limits, events, start, references, count: 0, socket };
            if let Some(answer) = case.answer {
                for parts in 0..=case.parts.len() {
                    assert_eq!(schedules.reference(parts).bytes, answer(&case.parts[..parts].concat()));
                }
            }
            schedules.check_all(&mut Vec::new());
            count += schedules.count;
        }
    }
    count
}

#[test]
#[allow(clippy::print_stderr, reason = "the number of schedules is part of the result")]
fn all_schedules_give_the_same_answer() {
    let events = std::env::var("MULTICONN_SCHEDULE_EVENTS").ok().map(|text| text.parse().expect("a number of events"));
    let events = events.unwrap_or(DEFAULT_EVENTS);
    let mut total = 0;
    for case in cases() {
        let count = check_case::<ScriptedSocket>(&case, events) + check_case::<LayeredSocket>(&case, events);
        eprintln!("{}: {count} schedules of up to {events} events", case.name);
        total += count;
    }
    eprintln!("{total} schedules in all");
}
