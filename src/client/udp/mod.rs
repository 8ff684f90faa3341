//! UDP sockets: messages are sent in batches, replies are matched to them, and losses are counted.
//!
//! Each datagram may be lost, duplicated, reordered or corrupted independently. So every message is tracked separately,
//! and a lost one frees its place in the pipeline when it times out.

mod batch;
pub(super) mod in_flight;
pub(super) mod payload;
pub(super) mod receivers;

use super::clock::nanos;
use super::config::{Expect, UdpOptions};
use super::connector::ConnectAttempt;
use super::failure::Failure;
use super::plan::Plan;
use super::shared::Shared;
use super::transport::{CloseOutcome, DueMessage, Entry, OpenError, Transport, Trigger, TurnResult};
use crate::connection::CloseReason;
use crate::error::ErrorBackoff;
use crate::event_loop::{Key, LoopContext, Timer};
use crate::log_targets::CLIENT_LOG;
use crate::socket::{Address, ConnectProgress, DatagramSocket, Peer, needs_broadcast, open_towards};
use batch::UdpBatch;
use in_flight::{SocketPlan, UdpInFlight};
use receivers::AnsweredMessages;
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a socket keeps receiving after its last message was answered or has timed out, to detect duplicates. They arrive
/// soon.
const LINGER: Duration = Duration::from_millis(100);

/// Timed-out messages that are remembered to recognise late replies: over all sockets, and the minimum per socket. A late
/// reply arrives within seconds, which is some ten thousand messages of each socket. A million numbers take some 16 MB.
const REMEMBERED: usize = 1 << 20;
const REMEMBERED_AT_LEAST: usize = 1024;

/// Answered messages of multicasts and broadcasts for which replies of further receivers are awaited: over all sockets,
/// and the minimum per socket. With up to 64 receivers 65,536 messages take some 4 MB, with 4,096 receivers 36 MB.
const ANSWERED: usize = 1 << 16;
const ANSWERED_AT_LEAST: usize = 64;

/// One socket.
#[derive(Debug)]
pub(super) struct UdpSocket {
    socket: DatagramSocket,
    /// Destination of its messages, for a multicast or broadcast address; `None` for a connected socket.
    to: Option<SocketAddr>,
    in_flight: UdpInFlight,
    timer: Timer,
    /// When it closes at the earliest, once it is done.
    close_at: Option<Instant>,
    is_queued: bool,
    receiving: ErrorBackoff,
    sending: ErrorBackoff,
    /// Trigger of the last failure that was followed by a pause.
    failure: Option<Failure>,
    /// It has failed for too long.
    is_given_up: bool,
}

/// Transport over UDP.
pub(super) struct Udp<'a> {
    shared: &'a Shared,
    options: &'a UdpOptions,
    socket_plan: SocketPlan,
    batch: UdpBatch<'a>,
}

impl<'a> Transport<'a> for Udp<'a> {
    type Connection = UdpSocket;

    const LOG_NOUN: &'static str = "socket";

    const SENDS_BATCHES: bool = true;

    fn new(shared: &'a Shared, plan: Rc<Plan>) -> Self {
        let config = &shared.config;
        let socket_plan = SocketPlan {
            total: plan.total,
            pipeline: plan.pipeline,
            is_open_loop: plan.is_open_loop,
            remembered: (REMEMBERED / config.own_connections()).max(REMEMBERED_AT_LEAST),
        };
        let options = config.udp.as_ref().expect("this is the transport of UDP");
        Self { shared, options, socket_plan, batch: UdpBatch::new(shared, options, plan) }
    }

    fn open(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        attempt: ConnectAttempt,
        address: &Address,
        source: Option<IpAddr>,
    ) -> Result<(Self::Connection, ConnectProgress), OpenError> {
        let Address::Ip(address) = *address else {
            return Err(OpenError::Failed(Failure::System(ErrorKind::NotFound)));
        };
        let is_many = self.options.broadcast || address.ip().is_multicast();
        let peer = if is_many { Peer::Many(address) } else { Peer::One(address) };
        let opened = open_towards(peer, source, &self.options.multicast, &self.shared.config.socket);
        let opened = opened.and_then(|mut socket| {
            if self.batch.plan.has_kernel_timestamps {
                socket.report_arrivals()?;
            }
            context.register(socket.source(), key).map(|()| socket)
        });
        let socket = opened.map_err(|error| OpenError::Failed(open_failure(&error, address)))?;
        self.batch.plan.metrics.borrow().progress.opened.add(1);
        self.batch.plan.on_open();
        let connection = UdpSocket {
            socket,
            to: is_many.then_some(address),
            in_flight: self.in_flight(u64::from(attempt.number), is_many),
            timer: Timer::default(),
            close_at: None,
            is_queued: false,
            receiving: ErrorBackoff::default(),
            sending: ErrorBackoff::default(),
            failure: None,
            is_given_up: false,
        };
        Ok((connection, ConnectProgress::Connected))
    }

    fn connect_progress(
        &mut self,
        _entry: &mut Entry<Self::Connection>,
        _cause: Trigger,
    ) -> Result<ConnectProgress, Failure> {
        Ok(ConnectProgress::Connected)
    }

    fn has_capacity(socket: &mut Self::Connection) -> bool {
        socket.in_flight.has_room()
    }

    fn assign(socket: &mut Self::Connection, message: DueMessage) -> bool {
        // Every socket is open, or has failed, before the first message is due.
        socket.in_flight.add(message.due, message.assigned)
    }

    fn turn(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        entry: &mut Entry<Self::Connection>,
        trigger: Trigger,
    ) -> TurnResult {
        let socket = &mut entry.connection;
        if trigger == Trigger::Ready {
            socket.is_queued = false;
        }
        self.batch.plan.metrics.borrow_mut().begin_turn();
        // Nothing has arrived because of a wake-up.
        let has_more = trigger != Trigger::Wake && self.batch.receive(socket, context.now);
        let is_blocked = self.batch.send(socket, context.now);
        let mut result = TurnResult { is_open: true, is_complete: self.batch.is_done(socket), close: None };
        socket.is_given_up = self.batch.is_persistent_failure(socket, context.now);
        if result.is_complete {
            // `now` is the start of this loop iteration, slightly in the past.
            let close_at = *socket.close_at.get_or_insert(context.now + LINGER);
            let is_time = close_at <= context.now || self.shared.config.expect == Expect::Nothing;
            if is_time && !self.batch.plan.holding.get() {
                result.close = Some(CloseReason::Completed);
            }
            context.wheel.arm(&mut socket.timer, key, Some(close_at).filter(|_| !is_time));
        } else {
            context.wheel.arm(&mut socket.timer, key, self.batch.deadline(&socket.in_flight));
        }
        if socket.is_given_up {
            result.close = Some(CloseReason::Completed);
        }
        for backoff in [&socket.receiving, &socket.sending] {
            context.wheel.arm(&mut socket.timer, key, backoff.pauses_until(context.now));
        }
        let may_send = !is_blocked && self.batch.sendable(&socket.in_flight) > 0;
        if (has_more || may_send) && !socket.is_queued && result.close.is_none() {
            socket.is_queued = true;
            context.ready.push_back(key);
        }
        result
    }

    fn abort(&mut self, context: &mut LoopContext, _key: Key, socket: &mut Self::Connection) {
        context.deregister(socket.socket.source());
        context.wheel.cancel(&mut socket.timer);
    }

    fn close(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        entry: &mut Entry<Self::Connection>,
        _reason: CloseReason,
    ) -> CloseOutcome {
        let socket = &mut entry.connection;
        self.abort(context, key, socket);
        self.batch.count_unanswered(&mut socket.in_flight);
        let number = entry.attempt.number;
        let failure = socket.failure.filter(|_| socket.is_given_up);
        log::debug!(
            target: CLIENT_LOG, socket = number, failure = failure.map(|failure| failure.to_string());
            "Closing socket {number}"
        );
        let is_timed = self.shared.config.load.duration.is_some();
        let is_complete = failure.is_none() && socket.in_flight.is_complete(is_timed);
        CloseOutcome { failure, is_complete, is_cut_short: false, done: 0, unsent: Vec::new() }
    }
}

impl Udp<'_> {
    /// Messages of socket `number`, which several receivers answer if `is_many`.
    fn in_flight(&self, number: u64, is_many: bool) -> UdpInFlight {
        if !is_many {
            return UdpInFlight::new(number, self.socket_plan);
        }
        let config = &self.shared.config;
        let max_messages = (ANSWERED / config.own_connections()).max(ANSWERED_AT_LEAST);
        let answered = AnsweredMessages::new(max_messages, nanos(config.reply_timeout));
        UdpInFlight::to_many(number, self.socket_plan, answered)
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
