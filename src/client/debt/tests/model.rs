//! Discrete-event simulation of a client, a network and a FIFO server, in virtual time.
//!
//! The same messages, with the same demands, are exchanged by the client as it is and by a punctual one.

use crate::client::debt::{BatchId, DebtTracker, MIN_REPLIES, SendTimes};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// It did not happen.
const NEVER: u64 = u64::MAX;

/// One message: the same for every client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) due: u64,
    pub(super) connection: usize,
    /// Time in the server, without waiting.
    pub(super) demand: u64,
    /// Time to the server and back.
    pub(super) forth: u64,
    pub(super) back: u64,
    pub(super) is_lost: bool,
}

/// Everything that does not depend on the client.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// In the order in which they are due.
    pub(super) messages: Vec<Message>,
    pub(super) connections: usize,
    pub(super) workers: usize,
    pub(super) servers: usize,
    /// Messages reach the server in the order in which they were sent.
    pub(super) network_keeps_order: bool,
    /// Maximum number of messages in flight on one connection.
    pub(super) pipeline: usize,
    /// When all connections are down: from, until.
    pub(super) down: Option<(u64, u64)>,
    pub(super) reply_timeout: u64,
}

/// How late a client is.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Times from an event to the turn that handles it, one turn after the other.
    pub(super) wake_delays: Vec<u64>,
    /// When it stands still: from, until.
    pub(super) stalls: Vec<(u64, u64)>,
    /// Stalls concern the first worker only.
    pub(super) one_worker_stalls: bool,
    /// Time that handling one message takes.
    pub(super) turn_cost: u64,
    /// Maximum number of messages of one turn.
    pub(super) turn_budget: usize,
    /// Serves one connection after the other, instead of the message that is ready first.
    pub(super) by_connection: bool,
    /// The smallest service time counts from the first reply on.
    pub(super) expires_early: bool,
    /// Maximum number of entries of a tracker.
    pub(super) max_entries: usize,
}

impl Client {
    /// A client without delays, which sends messages that are ready at the same instant in the same order as `self`.
    pub(super) fn punctual(&self) -> Self {
        Self {
            wake_delays: vec![0],
            stalls: Vec::new(),
            one_worker_stalls: false,
            turn_cost: 0,
            turn_budget: usize::MAX,
            by_connection: self.by_connection,
            expires_early: false,
            max_entries: 1,
        }
    }
}

/// What happened to one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) ready: u64,
    pub(super) sent: u64,
    pub(super) arrived: u64,
    pub(super) read: u64,
    pub(super) debt: u64,
    /// Number of replies that unblocked it, one after the other.
    pub(super) chain: u64,
    batch: BatchId,
}

impl Outcome {
    const UNSENT: Self =
        Self { ready: NEVER, sent: NEVER, arrived: NEVER, read: NEVER, debt: 0, chain: 0, batch: BatchId(0) };

    fn times(&self, message: &Message) -> SendTimes {
        SendTimes { sent: self.sent, send_delay: self.sent - self.ready, blocked: self.ready - message.due }
    }

    /// Lower bound of the response time to a punctual client.
    pub(super) fn floor(&self, message: &Message) -> u64 {
        (self.arrived - message.due).saturating_sub(self.debt)
    }
}

#[derive(Default)]
struct Connection {
    /// Its messages.
    numbers: Vec<usize>,
    /// How many of them were sent.
    sent: usize,
    /// The messages that were sent, and not read.
    in_flight: Vec<usize>,
    last_arrived: u64,
    /// When the next message in flight is answered or given up.
    next_read: u64,
    /// When the next message is ready, and the debt of that instant.
    next_ready: (u64, u64),
}

struct Worker {
    tracker: DebtTracker,
    connections: Vec<usize>,
    /// When its last turn ended.
    now: u64,
    turns: usize,
    /// The next event that it has to handle.
    event: u64,
}

/// A run of one client.
pub(super) struct Run<'a> {
    world: &'a World,
    client: &'a Client,
    pub(super) outcomes: Vec<Outcome>,
    /// Largest service time that was taken for one without a wait.
    pub(super) largest_base: u64,
    connections: Vec<Connection>,
    workers: Vec<Worker>,
    /// When each server is free.
    free: Vec<u64>,
    /// Messages on the way to the server: when they reach it, their order, and their number.
    on_the_way: BinaryHeap<Reverse<(u64, u64, usize)>>,
    sends: u64,
    last_reached: u64,
}

impl<'a> Run<'a> {
    pub(super) fn of(world: &'a World, client: &'a Client) -> Self {
        let mut connections: Vec<Connection> = (0..world.connections).map(|_| Connection::default()).collect();
        for (number, message) in world.messages.iter().enumerate() {
            connections[message.connection].numbers.push(number);
        }
        let workers = DebtTracker::for_workers(world.workers).enumerate().map(|(worker, mut tracker)| {
            tracker.max_entries = client.max_entries;
            if client.expires_early {
                tracker.replies = MIN_REPLIES;
            }
            let connections = (worker..world.connections).step_by(world.workers).collect();
            Worker { tracker, connections, now: 0, turns: worker, event: 0 }
        });
        let workers = workers.collect();
        let mut run = Self {
            world,
            client,
            outcomes: vec![Outcome::UNSENT; world.messages.len()],
            largest_base: 0,
            connections,
            workers,
            free: vec![0; world.servers],
            on_the_way: BinaryHeap::new(),
            sends: 0,
            last_reached: 0,
        };
        run.run();
        run
    }

    fn run(&mut self) {
        (0..self.connections.len()).for_each(|connection| self.update(connection));
        (0..self.workers.len()).for_each(|worker| self.await_event(worker));
        loop {
            let turns = (0..self.workers.len()).map(|worker| (self.turn_at(worker), worker));
            let (turn, worker) = turns.min().expect("a worker");
            match self.on_the_way.peek() {
                Some(Reverse((reached, ..))) if *reached <= turn => self.serve_next(),
                _ if turn == NEVER => return,
                _ => self.turn(worker, turn),
            }
        }
    }

    /// The server takes the next message.
    fn serve_next(&mut self) {
        let Some(Reverse((reached, _, number))) = self.on_the_way.pop() else { return };
        let message = &self.world.messages[number];
        let free = self.free.iter_mut().min().expect("a server");
        *free = reached.max(*free) + message.demand;
        if message.is_lost {
            return;
        }
        let connection = &mut self.connections[message.connection];
        let arrived = (*free + message.back).max(connection.last_arrived);
        connection.last_arrived = arrived;
        self.outcomes[number].arrived = arrived;
        connection.next_read = connection.next_read.min(arrived);
        let worker = &mut self.workers[message.connection % self.world.workers];
        worker.event = worker.event.min(arrived);
    }

    fn turn_at(&self, index: usize) -> u64 {
        let worker = &self.workers[index];
        if worker.event == NEVER {
            return NEVER;
        }
        let delays = &self.client.wake_delays;
        let mut turn = worker.now.max(worker.event + delays[worker.turns % delays.len()]);
        if index == 0 || !self.client.one_worker_stalls {
            for (from, until) in &self.client.stalls {
                if (*from..*until).contains(&turn) {
                    turn = *until;
                }
            }
        }
        turn
    }

    /// When the connections are down: from, until. They come back one after the other.
    fn down(&self, connection: usize) -> (u64, u64) {
        self.world.down.map_or((NEVER, NEVER), |(from, until)| (from, until + connection as u64))
    }

    /// When the next message of a connection is ready, and the debt of that instant, as far as it is known by now.
    fn next_ready(&self, index: usize) -> (u64, u64) {
        let connection = &self.connections[index];
        let Some(next) = connection.numbers.get(connection.sent) else { return (NEVER, 0) };
        let (mut ready, mut debt) = (self.world.messages[*next].due, 0);
        if connection.sent >= self.world.pipeline {
            let before = &self.outcomes[connection.numbers[connection.sent - self.world.pipeline]];
            if before.read == NEVER {
                return (NEVER, 0);
            }
            if before.arrived > ready {
                (ready, debt) = (before.arrived, before.debt);
            }
        }
        let (from, until) = self.down(index);
        if ready < from || until <= ready {
            return (ready, debt);
        }
        // It may have been ready before, for a punctual client.
        (until, if ready - from >= debt { 0 } else { NEVER })
    }

    /// As [`next_ready`](Self::next_ready), of a message that may be sent at `now`.
    fn sendable(&self, index: usize, now: u64) -> (u64, u64) {
        let (ready, debt) = self.connections[index].next_ready;
        let (from, until) = self.down(index);
        if ready >= from || now < from {
            (ready, debt)
        } else {
            // It was late, and then there was no connection.
            (until, NEVER)
        }
    }

    fn update(&mut self, index: usize) {
        let mut next_read = NEVER;
        for number in &self.connections[index].in_flight {
            next_read = next_read.min(self.deadline(*number));
        }
        let next_ready = self.next_ready(index);
        let connection = &mut self.connections[index];
        (connection.next_read, connection.next_ready) = (next_read, next_ready);
    }

    fn await_event(&mut self, index: usize) {
        let worker = &self.workers[index];
        let mut event = NEVER;
        for index in &worker.connections {
            let connection = &self.connections[*index];
            event = event.min(connection.next_read).min(self.sendable(*index, worker.now).0);
        }
        self.workers[index].event = event;
    }

    fn turn(&mut self, worker: usize, now: u64) {
        let mut budget = self.client.turn_budget;
        let connections = std::mem::take(&mut self.workers[worker].connections);
        if self.client.by_connection {
            for connection in &connections {
                while budget > 0 && self.read_next(worker, &[*connection], now) {
                    budget -= 1;
                }
                while budget > 0 && self.send_next(worker, &[*connection], now) {
                    budget -= 1;
                }
            }
        } else {
            while budget > 0 && self.read_next(worker, &connections, now) {
                budget -= 1;
            }
            while budget > 0 && self.send_next(worker, &connections, now) {
                budget -= 1;
            }
        }
        let handled = (self.client.turn_budget - budget) as u64;
        let state = &mut self.workers[worker];
        state.connections = connections;
        state.now = now + self.client.turn_cost * handled;
        state.turns += 1;
        self.await_event(worker);
    }

    /// When a message in flight is answered, or given up.
    fn deadline(&self, number: usize) -> u64 {
        let outcome = &self.outcomes[number];
        let is_lost = self.world.messages[number].is_lost;
        if is_lost { outcome.sent + self.world.reply_timeout } else { outcome.arrived }
    }

    /// Reads the reply that arrived first, if one has.
    fn read_next(&mut self, worker: usize, connections: &[usize], now: u64) -> bool {
        let mut next = (now + 1, 0);
        for index in connections {
            next = next.min((self.connections[*index].next_read, *index));
        }
        if next.0 > now {
            return false;
        }
        let in_flight = self.connections[next.1].in_flight.iter().copied();
        let number = in_flight.min_by_key(|number| self.deadline(*number)).expect("a message in flight");
        let message = &self.world.messages[number];
        self.connections[message.connection].in_flight.retain(|other| *other != number);
        let outcome = &mut self.outcomes[number];
        outcome.read = now;
        let tracker = &mut self.workers[worker].tracker;
        if message.is_lost {
            tracker.forget(outcome.batch, 1);
        } else {
            outcome.debt = tracker.answered(outcome.batch, outcome.times(message), outcome.arrived, true);
            self.largest_base = self.largest_base.max(tracker.base());
        }
        self.update(next.1);
        true
    }

    /// Sends the message that was ready first, if one is.
    fn send_next(&mut self, worker: usize, connections: &[usize], now: u64) -> bool {
        let mut first = (now + 1, 0, 0, 0);
        for index in connections {
            let (ready, debt) = self.sendable(*index, now);
            if ready <= now {
                let connection = &self.connections[*index];
                first = first.min((ready, connection.numbers[connection.sent], debt, *index));
            }
        }
        let (ready, number, debt, index) = first;
        if ready > now {
            return false;
        }
        let message = &self.world.messages[number];
        let connection = &mut self.connections[message.connection];
        let unblocked_by = connection.sent.checked_sub(self.world.pipeline).map(|before| connection.numbers[before]);
        connection.sent += 1;
        connection.in_flight.push(number);
        let chain = unblocked_by.map_or(0, |before| self.outcomes[before].chain + 1);
        let outcome = &mut self.outcomes[number];
        (outcome.ready, outcome.sent, outcome.chain) = (ready, now, chain);
        outcome.batch = self.workers[worker].tracker.sent(outcome.times(message), debt, 1);
        let mut reaches = now + message.forth;
        if self.world.network_keeps_order {
            self.last_reached = self.last_reached.max(reaches);
            reaches = self.last_reached;
        }
        self.sends += 1;
        self.on_the_way.push(Reverse((reaches, self.sends, number)));
        self.update(index);
        true
    }
}
