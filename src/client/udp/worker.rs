//! UDP client worker: an event loop that opens its share of the sockets and serves them.

use super::batch::UdpBatch;
use super::in_flight::UdpInFlight;
use super::{Expect, Message, Shared, UdpWorkerMetrics};
use crate::client::Failure;
use crate::client::arrivals::Share;
use crate::client::clock::nanos;
use crate::client::dispatcher::Dispatcher;
use crate::client::ends_run;
use crate::error::ErrorBackoff;
use crate::event_loop::{Expired, Handler, Key, LoopContext, Readiness, Slab, Timer};
use crate::socket::{DatagramSocket, Peer, needs_broadcast, open_towards};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::iter::StepBy;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Ready queue entry: opening sockets.
pub(super) const OPENER: Key = Key::fixed(0);

/// Precise timer and ready queue entry: next message of an open loop.
pub(super) const DISPATCHER: Key = Key::fixed(1);

/// Precise timer: end of the warm-up.
pub(super) const WARM_UP_END: Key = Key::fixed(2);

/// Precise timer: end of the load.
pub(super) const LOAD_END: Key = Key::fixed(3);

/// Sockets opened per turn before open sockets are served again.
const OPENED_PER_TURN: usize = 64;

/// How long a socket keeps receiving after its last message was answered or lost, to detect duplicates. They arrive
/// soon.
const LINGER: Duration = Duration::from_millis(100);

/// One socket.
#[derive(Debug)]
pub(super) struct SocketEntry {
    pub(super) socket: DatagramSocket,
    /// Destination of its messages, for a multicast or broadcast address; `None` for a connected socket.
    pub(super) to: Option<SocketAddr>,
    pub(super) in_flight: UdpInFlight,
    timer: Timer,
    /// When it closes, once it is done.
    close_at: Option<Instant>,
    is_queued: bool,
    pub(super) receiving: ErrorBackoff,
    pub(super) sending: ErrorBackoff,
    /// Cause of the last failure that was followed by a pause.
    pub(super) failure: Option<Failure>,
}

impl SocketEntry {
    fn new(socket: DatagramSocket, to: Option<SocketAddr>, in_flight: UdpInFlight) -> Self {
        Self {
            socket,
            to,
            in_flight,
            timer: Timer::default(),
            close_at: None,
            is_queued: false,
            receiving: ErrorBackoff::default(),
            sending: ErrorBackoff::default(),
            failure: None,
        }
    }
}

pub(super) struct UdpWorker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) batch: UdpBatch<'a>,
    pub(super) entries: Slab<SocketEntry>,
    /// The worker's share of the sockets.
    pub(super) share: Share,
    pub(super) dispatcher: Option<Dispatcher>,
    /// Sockets with messages to send in this turn; kept to reuse the memory.
    pub(super) sending: Vec<Key>,
    numbers: StepBy<RangeInclusive<usize>>,
    /// Every socket was opened or has failed, or no more are to be opened.
    all_open: bool,
}

impl<'a> UdpWorker<'a> {
    /// The worker that opens every `step`th socket, beginning with `first`.
    pub(super) fn new(shared: &'a Shared, metrics: UdpWorkerMetrics, first: usize, step: usize) -> Self {
        Self {
            shared,
            batch: UdpBatch::new(shared, metrics),
            entries: Slab::default(),
            share: Share::new(first - 1, step, shared.config.sockets),
            dispatcher: None,
            sending: Vec::new(),
            numbers: (first..=shared.config.sockets).step_by(step),
            all_open: false,
        }
    }

    /// Ends measuring and returns the metrics, after the loop has ended.
    pub(super) fn into_metrics(mut self) -> UdpWorkerMetrics {
        let now = self.batch.now();
        self.count_unassigned(now);
        let is_cut = self.shared.handle.is_stopped() && self.shared.config.load.duration.is_some();
        self.batch.metrics.close(now, is_cut);
        self.batch.metrics
    }

    fn open_some(&mut self, context: &mut LoopContext) {
        for _ in 0..OPENED_PER_TURN {
            let Some(number) = self.numbers.next().filter(|_| !self.all_open) else {
                self.all_open = true;
                return;
            };
            let key = self.entries.next_key();
            let opened = self.open(number).and_then(|mut opened| {
                context.register(opened.0.source(), key).map_err(|error| Failure::of_connect(&error))?;
                Ok(opened)
            });
            match opened {
                Ok((socket, to)) => {
                    log::debug!("Opened socket {number} to {}", self.shared.target_of(number).0);
                    self.batch.metrics.progress.opened.add(1);
                    let in_flight = UdpInFlight::new(number as u64, self.shared.config.plan());
                    self.entries.insert(SocketEntry::new(socket, to, in_flight));
                    self.turn(context, key);
                }
                Err(failure) => {
                    log::debug!("Socket {number} failed: {failure}");
                    self.batch.metrics.not_opened(failure);
                    self.shared.note_ended();
                }
            }
            self.shared.note_attempted();
        }
        context.ready.push_back(OPENER);
    }

    /// Opens a socket to the first address of its target that works. Also returns the address if it is a multicast or
    /// broadcast address.
    fn open(&self, number: usize) -> Result<(DatagramSocket, Option<SocketAddr>), Failure> {
        let config = &self.shared.config;
        let mut result = Err(Failure::System(ErrorKind::NotFound));
        for &address in self.shared.target_of(number).1 {
            let is_many = config.broadcast || address.ip().is_multicast();
            let peer = if is_many { Peer::Many(address) } else { Peer::One(address) };
            let opened = open_towards(peer, &config.multicast, &config.socket);
            result = match opened {
                Ok(socket) => Ok((socket, is_many.then_some(address))),
                Err(error) => Err(open_failure(&error, address)),
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Receives, expires and sends on one socket.
    pub(super) fn turn(&mut self, context: &mut LoopContext, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let has_more = self.batch.receive(entry, context.now);
        self.batch.expire(entry);
        self.send(context, key, has_more);
    }

    pub(super) fn turn_all(&mut self, context: &mut LoopContext) {
        for key in self.entries.keys() {
            self.turn(context, key);
        }
    }

    /// Sends messages and schedules the socket's next turn: soon if it `wants_turn`.
    pub(super) fn send(&mut self, context: &mut LoopContext, key: Key, wants_turn: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_blocked = self.batch.send(entry, context.now);
        if let Some(failure) = self.batch.persistent_failure(entry, context.now) {
            log::debug!("Socket {} failed: {failure}", entry.in_flight.socket());
            self.batch.metrics.failed(failure);
            return self.close(context, key);
        }
        let in_flight = &entry.in_flight;
        let is_done = self.batch.is_done(in_flight);
        if is_done {
            // `now` is the start of this loop iteration, slightly in the past.
            let close_at = *entry.close_at.get_or_insert(context.now + LINGER);
            if close_at <= context.now || self.shared.config.expect == Expect::Nothing {
                return self.close(context, key);
            }
            context.wheel.arm(&mut entry.timer, key, Some(close_at));
        } else {
            context.wheel.arm(&mut entry.timer, key, self.batch.deadline(in_flight));
        }
        for backoff in [&entry.receiving, &entry.sending] {
            context.wheel.arm(&mut entry.timer, key, backoff.pauses_until(context.now));
        }
        let may_send = !is_blocked && self.batch.sendable(in_flight) > 0;
        if (wants_turn || may_send) && !entry.is_queued {
            entry.is_queued = true;
            context.ready.push_back(key);
        }
    }

    fn close(&mut self, context: &mut LoopContext, key: Key) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        log::debug!("Closing socket {}", entry.in_flight.socket());
        context.deregister(entry.socket.source());
        context.wheel.cancel(&mut entry.timer);
        let now = self.batch.now();
        self.batch.metrics.closed(&entry.in_flight, now);
        self.shared.note_ended();
    }
}

/// Failure for an error of opening a socket to `address`.
fn open_failure(error: &io::Error, address: SocketAddr) -> Failure {
    match Errno::from_io_error(error) {
        // connect(2) and bind(2) report that no port is left.
        Some(Errno::AGAIN | Errno::ADDRINUSE) => Failure::OutOfPorts,
        Some(Errno::ACCESS) if needs_broadcast(address) => Failure::NeedsBroadcast,
        _ => Failure::of_connect(error),
    }
}

impl Handler for UdpWorker<'_> {
    type Message = Message;

    fn handle_event(&mut self, context: &mut LoopContext, key: Key, _readiness: Readiness) {
        self.turn(context, key);
    }

    fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        self.turn(context, due.key());
    }

    fn handle_precise_timer(&mut self, context: &mut LoopContext, key: Key) {
        match key {
            DISPATCHER => self.dispatch(context),
            WARM_UP_END => self.end_warm_up(),
            LOAD_END => self.load_time_expired(context),
            _ => {}
        }
    }

    fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        match key {
            OPENER => return self.open_some(context),
            DISPATCHER => return self.dispatch(context),
            _ => {}
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_queued = false;
            self.turn(context, key);
        }
    }

    fn handle_message(&mut self, context: &mut LoopContext, message: Message) {
        match message {
            Message::AllAttempted(instant) => self.begin_load(context, instant),
            // Checked at the end of the loop iteration.
            Message::AllEnded => {}
            Message::Stop => {
                self.all_open = true;
                for key in self.entries.keys() {
                    self.close(context, key);
                }
            }
        }
    }

    fn handle_signal(&mut self, _context: &mut LoopContext, signal: i32) {
        if ends_run(signal) {
            self.shared.handle.stop();
        }
    }

    #[inline]
    fn handle_round(&mut self, context: &mut LoopContext) {
        let now = Instant::now();
        let took = nanos(now.saturating_duration_since(context.now));
        let now = self.shared.clock.nanos(now);
        self.batch.metrics.end_round(took, now, self.entries.len() as u64);
    }

    /// A worker without sockets stays while others have some: its part of the schedule is still due and has to be
    /// counted.
    fn is_done(&self) -> bool {
        self.all_open && self.entries.is_empty() && self.shared.is_over()
    }
}
