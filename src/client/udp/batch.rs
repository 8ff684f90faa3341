//! Batched I/O of a UDP socket in its turn: receives replies, expires timed-out messages, sends messages.

use super::UdpSocket;
use super::in_flight::UdpInFlight;
use crate::client::clock::nanos;
use crate::client::config::{Expect, UdpOptions};
use crate::client::failure::Failure;
use crate::client::metrics::Unanswered;
use crate::client::plan::{LoadPhase, Plan};
use crate::client::shared::Shared;
use crate::client::tcp::in_flight::SendRecorder;
use crate::client::udp::payload::Payload;
use crate::client::udp::receivers::PeerSet;
use crate::error::{ErrorClass, Warning, in_words, in_words_with_errno};
use crate::event_loop::monotonic_time;
use crate::log_targets::CLIENT_LOG;
use crate::python_repr::BytesRepr;
use crate::socket::{RecvBatch, SendBatch};
use crate::units::format_duration;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Messages per send call, and send or receive calls per turn.
const MESSAGES_PER_CALL: u64 = 64;
const CALLS_PER_TURN: usize = 4;

/// State of a worker that its sockets use in their turns.
pub(super) struct UdpBatch<'a> {
    shared: &'a Shared,
    options: &'a UdpOptions,
    pub(super) plan: Rc<Plan>,
    payload: Payload,
    recv_batch: RecvBatch,
    send_batch: SendBatch,
    /// Rate limit of the warnings that a socket cannot be used.
    warning: Warning,
}

impl<'a> UdpBatch<'a> {
    pub(super) fn new(shared: &'a Shared, options: &'a UdpOptions, plan: Rc<Plan>) -> Self {
        Self {
            shared,
            options,
            plan,
            payload: Payload::new(&shared.config, &shared.messages),
            recv_batch: RecvBatch::new(),
            send_batch: SendBatch::default(),
            warning: Warning::default(),
        }
    }

    fn now(&self) -> u64 {
        self.plan.clock.nanos(monotonic_time())
    }

    fn wants_reply(&self) -> bool {
        self.shared.config.expect != Expect::Nothing
    }

    /// Number of messages of a socket that may be sent now.
    pub(super) fn sendable(&self, in_flight: &UdpInFlight) -> u64 {
        if self.plan.phase.get() == LoadPhase::Sending { in_flight.sendable().1 } else { 0 }
    }

    /// Whether a socket has nothing left to send or to wait for. Of a multicast or broadcast, messages wait for all
    /// receivers that have answered any.
    pub(super) fn is_done(&self, socket: &UdpSocket) -> bool {
        let is_over = self.plan.phase.get() == LoadPhase::Draining && socket.in_flight.has_none_in_flight();
        (socket.in_flight.is_done() || is_over)
            && !socket.in_flight.awaits_receivers(self.plan.metrics.borrow().peers.count())
    }

    /// When the oldest message that may still be answered has timed out.
    pub(super) fn deadline(&self, in_flight: &UdpInFlight) -> Option<Instant> {
        let timeout = nanos(self.plan.reply_timeout);
        in_flight.oldest_sent().map(|sent| self.plan.clock.instant(sent.saturating_add(timeout)))
    }

    /// Receives datagrams, and counts messages past the reply timeout as timed out. Returns whether there may be more
    /// datagrams.
    pub(super) fn receive(&mut self, entry: &mut UdpSocket, now: Instant) -> bool {
        let has_more = self.receive_some(entry, now);
        let now = self.now();
        let last = now.saturating_sub(nanos(self.plan.reply_timeout));
        let (is_group, metrics) = (entry.to.is_some(), &mut *self.plan.metrics.borrow_mut());
        entry.in_flight.expire(last, now, |times| {
            metrics.timed_out(times, now);
            if is_group {
                metrics.peers.end_message(&PeerSet::default());
            }
        });
        entry.in_flight.end_answered(last, |peers| metrics.peers.end_message(peers));
        has_more
    }

    fn receive_some(&mut self, entry: &mut UdpSocket, now: Instant) -> bool {
        if entry.receiving.is_pausing(now) {
            return false;
        }
        for _ in 0..CALLS_PER_TURN {
            match self.recv_batch.receive(&entry.socket) {
                Ok(_) if self.recv_batch.arrivals().len() == 0 => return false,
                // An error may have ended a short batch; the next call returns it.
                Ok(_) => entry.receiving.succeeded(),
                Err(error) if self.handle_receive_error(entry, &error, now) => continue,
                Err(_) => return false,
            }
            let read = self.now();
            let socket = entry.in_flight.socket();
            for datagram in self.recv_batch.arrivals() {
                let arrival = self.plan.arrival(datagram.arrival, now, read);
                let metrics = &mut *self.plan.metrics.borrow_mut();
                log::trace!(
                    target: CLIENT_LOG, socket, peer:% = datagram.peer, bytes = datagram.bytes.len();
                    "Received {} from socket {socket}", BytesRepr(datagram.bytes)
                );
                // Where no reply is expected, received datagrams are ignored: they are neither duplicates nor corrupt.
                if self.wants_reply() {
                    let group_peer = entry.to.map(|_| datagram.peer);
                    let index = group_peer.and_then(|peer| metrics.peers.index_of(peer));
                    let class = entry.in_flight.received(&self.payload, index, datagram.bytes, arrival.arrived);
                    let wrong = || self.payload.wrong_reply(datagram.bytes);
                    metrics.received(class, (socket, datagram.bytes.len()), group_peer, wrong, arrival);
                }
            }
        }
        true
    }

    /// Handles a receive error. Returns whether to receive again at once.
    fn handle_receive_error(&mut self, entry: &mut UdpSocket, error: &io::Error, now: Instant) -> bool {
        match ErrorClass::of(error) {
            ErrorClass::WouldBlock => {
                entry.receiving.succeeded();
                return false;
            }
            ErrorClass::Transient => {
                log::debug!(socket = entry.in_flight.socket(), error = in_words(error); "receive error");
                self.mark_undelivered(&mut entry.in_flight, error);
            }
            ErrorClass::OutOfResources | ErrorClass::Permanent => {
                self.plan.metrics.borrow_mut().receive_failed(error);
            }
        }
        let Some(pause) = entry.receiving.failed(ErrorClass::of(error), now) else { return true };
        self.warn(entry, "receive", error, pause, now);
        entry.failure = Some(Failure::of_connect(error));
        false
    }

    fn warn(&mut self, entry: &UdpSocket, action: &str, error: &io::Error, pause: Duration, now: Instant) {
        if self.warning.is_due(now) {
            let (socket, words) = (entry.in_flight.socket(), in_words_with_errno(error));
            log::warn!(socket; "cannot {action}: {words}; trying again in {}", format_duration(pause));
        }
    }

    /// The system reported `error`: the messages without a reply were not delivered.
    fn mark_undelivered(&mut self, in_flight: &mut UdpInFlight, error: &io::Error) {
        let (now, failure) = (self.now(), Failure::of_connect(error));
        let metrics = &mut *self.plan.metrics.borrow_mut();
        in_flight.expire(u64::MAX, now, |times| metrics.undelivered(times, now, failure));
    }

    /// Whether a socket is given up: it has failed for the reply timeout, and no duration ends the run.
    pub(super) fn is_persistent_failure(&self, entry: &UdpSocket, now: Instant) -> bool {
        let failing = entry.receiving.failing_for(now).max(entry.sending.failing_for(now));
        let is_over = self.shared.config.load.duration.is_none() && failing >= self.plan.reply_timeout;
        is_over && entry.failure.is_some()
    }

    /// A socket is closed: its messages that are queued or in flight will not be answered. Answered ones that further
    /// receivers might have answered in time are not counted as incomplete.
    pub(super) fn count_unanswered(&self, in_flight: &mut UdpInFlight) {
        let now = self.now();
        let metrics = &mut *self.plan.metrics.borrow_mut();
        in_flight.end_complete(metrics.peers.count(), |peers| metrics.peers.end_message(peers));
        in_flight.unanswered().for_each(|times| metrics.unanswered(times, now, 1, Unanswered::Pending));
    }

    /// Sends messages. Returns whether the socket accepts no more for now; then an event or the end of its pause
    /// follows.
    pub(super) fn send(&mut self, entry: &mut UdpSocket, now: Instant) -> bool {
        for _ in 0..CALLS_PER_TURN {
            if entry.sending.is_pausing(now) {
                return true;
            }
            // After a failure, one message at a time is tried.
            let max_count = if entry.sending.is_failing() { 1 } else { MESSAGES_PER_CALL };
            match self.sendable(&entry.in_flight) {
                0 => return false,
                count if self.send_some(entry, count.min(max_count), now) => {}
                _ => return true,
            }
        }
        false
    }

    /// Sends `count` messages as far as the socket accepts them. Returns whether it accepted all.
    fn send_some(&mut self, entry: &mut UdpSocket, count: u64, instant: Instant) -> bool {
        let ((first, _), socket) = (entry.in_flight.sendable(), entry.in_flight.socket());
        self.send_batch.clear();
        for number in first..first + count {
            self.send_batch.add(entry.to, None, None, |bytes| {
                self.payload.write(socket, number, bytes);
                true
            });
        }
        let now = self.now();
        let wants_reply = self.wants_reply();
        let is_group = entry.to.is_some_and(|address| address.ip().is_multicast());
        let needs_interface = is_group && self.options.multicast.interface.is_none();
        let UdpSocket { socket: descriptor, in_flight, .. } = &mut *entry;
        let (send_batch, mut metrics) = (&self.send_batch, self.plan.metrics.borrow_mut());
        let mut last_error = None;
        let done = send_batch.send(descriptor, |datagram, result| {
            last_error = match result {
                Ok(()) => {
                    log::trace!(
                        target: CLIENT_LOG, socket, bytes = datagram.len();
                        "Sending {} to socket {socket}", BytesRepr(send_batch.bytes(datagram))
                    );
                    let group =
                        in_flight.sent(now, wants_reply, |group, was_full| metrics.begin_group(group, was_full));
                    metrics.sent_datagram(group, datagram.len());
                    None
                }
                Err(error) => {
                    let failure = send_failure(&error, needs_interface);
                    if ErrorClass::of(&error) == ErrorClass::Transient {
                        // A transient error reports the fate of earlier messages.
                        in_flight.expire(u64::MAX, now, |times| metrics.undelivered(times, now, failure));
                    }
                    metrics.not_sent(in_flight.skipped(), now, failure);
                    Some(error)
                }
            };
        });
        drop(metrics);
        let is_all = done == send_batch.datagrams().len();
        if !is_all {
            in_flight.block();
        }
        match last_error {
            None if done > 0 => {
                entry.sending.succeeded();
                // A receive error may follow each message.
                entry.receiving.expect_errors();
            }
            None => {}
            Some(error) => self.back_off_sending(entry, &error, instant),
        }
        is_all
    }

    fn back_off_sending(&mut self, entry: &mut UdpSocket, error: &io::Error, now: Instant) {
        if let Some(pause) = entry.sending.failed(ErrorClass::of(error), now) {
            self.warn(entry, "send", error, pause, now);
            entry.failure = Some(Failure::of_connect(error));
            entry.in_flight.block();
        }
    }
}

/// Failure for a send error. `needs_interface` says that the target is a multicast group and no interface was given.
fn send_failure(error: &io::Error, needs_interface: bool) -> Failure {
    match error.kind() {
        ErrorKind::NetworkUnreachable if needs_interface => Failure::NoGroupRoute,
        _ => Failure::of_connect(error),
    }
}
