//! The servers: they answer, compare each byte that they receive, and may answer wrongly or break off.

use super::plan::{Answer, FIRST_PORT, Plan};
use super::stream::MessageStream;
use super::{MILLISECOND, SECOND};
use crate::client::config::Expect;
use crate::simulated_kernel::{Answers, Conduct, Destination, Kernel, Pace, Responder, Script, Shared};
use std::collections::VecDeque;
use std::rc::Rc;

/// What is known about all connects, in their order.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) attempts: Vec<Attempt>,
    /// The faults have ended.
    pub(super) is_quiet: bool,
    /// The run, or its load, was ended from outside.
    pub(super) has_ended: bool,
}

pub(super) type Records = Shared<World>;

/// What is known about a connect, and the connection that it made.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Number of the connection, counted from 1.
    pub(super) number: usize,
    /// The endpoint of the client.
    pub(super) endpoint: usize,
    /// Where the answer has a wrong byte.
    pub(super) wrong_at: Option<u64>,
    /// It has shut down its sending half, before it received the end.
    pub(super) has_ended: bool,
}

impl World {
    /// Number of connections with the number of attempt `place` before it.
    pub(super) fn generation(&self, kernel: &Kernel, place: usize) -> u64 {
        let number = self.attempts[place].number;
        let is_earlier =
            |attempt: &&Attempt| attempt.number == number && kernel.endpoint(attempt.endpoint).connected.is_some();
        self.attempts[..place].iter().filter(is_earlier).count() as u64
    }
}

/// Makes the servers of a world.
pub(super) struct Servers {
    plan: Rc<Plan>,
    records: Records,
}

/// Where an answer is wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// This byte is another one.
    Changed(u64),
    /// Another byte precedes this one; or follows the last one, if the answer is shorter.
    Inserted(u64),
}

struct Server {
    plan: Rc<Plan>,
    records: Records,
    /// Its place in the records.
    place: usize,
    /// Known once the first bytes have arrived.
    stream: Option<MessageStream>,
    wrong: Option<Wrong>,
    received: u64,
    answered: u64,
}

impl Servers {
    pub(super) fn new(plan: Rc<Plan>, records: Records) -> Self {
        Self { plan, records }
    }

    fn conduct(&self, kernel: &mut Kernel) -> Conduct {
        let after = if kernel.rng.one_in(3) { 0 } else { kernel.rng.index(100) };
        let breaks = self.plan.servers_break && !self.records.borrow().is_quiet;
        match kernel.rng.below(8) {
            0 if breaks => Conduct::Resets(after),
            1 if breaks => Conduct::Closes(after),
            2 if breaks => Conduct::Vanishes(after),
            3 if breaks => Conduct::HalfCloses(after),
            _ => Conduct::Orderly,
        }
    }

    fn pace(&self, kernel: &mut Kernel) -> Pace {
        let part = kernel.rng.pick(&[1, 10, 200, 1000]);
        let waits = self.plan.servers_wait && kernel.rng.one_in(2);
        let pause = if waits { kernel.rng.pick(&[50_000, 5 * MILLISECOND, 50 * MILLISECOND]) } else { 0 };
        let is_late = self.plan.servers_wait && kernel.rng.one_in(8);
        let begins = if is_late { kernel.now + kernel.rng.below(3 * SECOND) } else { 0 };
        Pace { part, pause, begins }
    }
}

impl Destination for Servers {
    fn rooms(&mut self, _kernel: &mut Kernel) -> [usize; 2] {
        self.plan.rooms
    }

    fn script(&mut self, kernel: &mut Kernel, endpoint: usize) -> Box<dyn Script> {
        let number = usize::from(kernel.endpoint(endpoint).peer_address.port() - FIRST_PORT) + 1;
        let (conduct, pace) = (self.conduct(kernel), self.pace(kernel));
        let corrupts = self.plan.servers_corrupt && kernel.rng.one_in(2);
        // Other replies than an echo are not compared.
        let is_compared = self.plan.config.expect == Expect::Echo && self.plan.answer == Answer::Echo;
        let at = kernel.rng.below(100);
        let wrong = if kernel.rng.one_in(2) { Wrong::Changed(at) } else { Wrong::Inserted(at) };
        let mut world = self.records.borrow_mut();
        let server = Server {
            plan: Rc::clone(&self.plan),
            records: Rc::clone(&self.records),
            place: world.attempts.len(),
            stream: None,
            wrong: Some(wrong).filter(|_| corrupts && is_compared),
            received: 0,
            answered: 0,
        };
        let client = kernel.peer_of(endpoint);
        world.attempts.push(Attempt { number, endpoint: client, wrong_at: None, has_ended: false });
        Box::new(Responder::new(server, endpoint, conduct, pace))
    }
}

impl Server {
    /// Appends a byte of the answer, or a wrong one.
    fn add(&self, stream: &MessageStream, offset: u64, unsent: &mut VecDeque<u8>) {
        let byte = stream.answer_byte(&self.plan, offset);
        let is_wrong = match self.wrong.filter(|_| !self.is_quiet()) {
            Some(Wrong::Changed(at)) if at == offset => {
                unsent.push_back(byte ^ 1);
                true
            }
            Some(Wrong::Inserted(at)) if at == offset => {
                unsent.extend([byte ^ 1, byte]);
                true
            }
            _ => {
                unsent.push_back(byte);
                false
            }
        };
        if is_wrong {
            self.records.borrow_mut().attempts[self.place].wrong_at = Some(offset);
        }
    }
}

impl Answers for Server {
    fn is_quiet(&self) -> bool {
        self.records.borrow().is_quiet
    }

    fn counted_bytes(&self) -> usize {
        usize::try_from(self.received).unwrap_or(usize::MAX)
    }

    fn answer(&mut self, kernel: &Kernel, bytes: &[u8], unsent: &mut VecDeque<u8>) {
        let stream = self.stream.take().unwrap_or_else(|| {
            let world = self.records.borrow();
            self.plan.stream(world.attempts[self.place].number, world.generation(kernel, self.place))
        });
        let mut expected = vec![0; bytes.len()];
        stream.fill(self.received, &mut expected);
        assert_eq!(bytes, expected, "server {} received other bytes at {}", self.place, self.received);
        self.received += bytes.len() as u64;
        let messages = stream.begun_messages(self.received);
        assert!(messages <= stream.count, "server {} received {messages} of {} messages", self.place, stream.count);
        let end = stream.answer_bytes(&self.plan, self.received);
        for offset in self.answered..end {
            self.add(&stream, offset, unsent);
        }
        let is_all = self.answered < end && stream.answered_messages(&self.plan, end) == stream.count;
        if is_all && !self.is_quiet() && matches!(self.wrong, Some(Wrong::Inserted(at)) if at >= end) {
            unsent.push_back(b'+');
            self.records.borrow_mut().attempts[self.place].wrong_at = Some(end);
        }
        self.answered = end;
        self.stream = Some(stream);
    }

    fn sent(&mut self, _count: usize) {}

    fn ended(&mut self) {
        self.records.borrow_mut().attempts[self.place].has_ended = true;
    }
}
