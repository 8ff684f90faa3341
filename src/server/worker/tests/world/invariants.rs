//! The invariants, checked after each round, at the end of the worker, and at the end of all peers.

use super::plan::{Ending, Plan};
use super::proxy_header::Meaning;
use super::record::{Records, World};
use super::services::{Kind, Watched, has_passed};
use super::{Nanos, Running, SECOND, take_closed};
use crate::connection::CloseReason;
use crate::event_loop::{Handler, LoopContext};
use crate::server::acceptor::Acceptor;
use crate::server::counters::Counters;
use crate::server::shared::Shared;
use crate::server::worker::connection_entry::ConnectionEntry;
use crate::server::worker::outgoing::State;
use crate::server::worker::{Entry, Worker};
use crate::service::Service;
use crate::simulated_kernel::{Conduct, instant, with};
use crate::socket::{Address, Stream, TlsStream};
use crate::testing::{check_budget, check_session};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a session of TLS holds without anything to send.
const SESSION_BYTES: usize = 10 * 1024;

/// Longest pause of an acceptor that fails, and more.
const LONGEST_WAIT: Nanos = 2 * SECOND;

pub(super) struct Invariants {
    plan: Rc<Plan>,
    records: Records,
    /// Of each worker.
    moved_bytes: Vec<u64>,
}

impl Invariants {
    pub(super) fn new(plan: Rc<Plan>, records: Records) -> Self {
        Self { plan, records, moved_bytes: Vec::new() }
    }

    /// After a round of the loop of worker `number`.
    pub(super) fn check(&mut self, workers: &mut [Option<Running<'_>>], number: usize) {
        self.check_closed();
        self.check_violations();
        self.check_backlogs();
        let Some(Running { worker, event_loop, process }) = &mut workers[number] else { return };
        let process = *process;
        check_sessions(worker, event_loop.context());
        let is_idle = worker.entries.len() == 0 && worker.acceptors.iter().all(Acceptor::is_closed);
        assert!(!is_idle || worker.is_done(), "a worker without connections and listeners goes on");
        if self.plan.has_tls {
            self.check_tls(worker);
        }
        self.check_moved_bytes(worker, number);
        let own = workers.iter().flatten().filter(|running| running.process == process);
        let all: Vec<_> = own.map(|running| &running.worker).collect();
        let shared = all[0].shared;
        let mut sums = Sums::default();
        for worker in &all {
            sums.add(worker);
        }
        assert_eq!(shared.memory.held_bytes(), sums.charged, "charged memory");
        let config = &self.plan.config;
        assert!(!self.plan.limits_memory() || sums.charged <= config.memory_limit, "{} bytes held", sums.charged);
        let has_ended = self.records.borrow().processes[process].ended_at.is_some();
        if let Some(max) = config.max_connections.filter(|_| !has_ended) {
            assert!(sums.open <= max, "{} connections, {max} allowed", sums.open);
        }
        if let Some(max) = config.max_per_address {
            let counted = shared.admission.counted_by_address();
            assert_eq!(counted, sums.clients.values().sum::<usize>(), "connections of all addresses");
            assert!(sums.clients.values().all(|count| *count <= max), "{:?}, {max} allowed", sums.clients);
        }
    }

    /// The bytes that a worker has moved in a round.
    fn check_moved_bytes<S: Service>(&mut self, worker: &Worker<'_, S>, number: usize) {
        let moved = worker.counters.received_bytes.get() + worker.counters.sent_bytes.get();
        self.moved_bytes.resize(self.moved_bytes.len().max(number + 1), 0);
        let in_round = moved - std::mem::replace(&mut self.moved_bytes[number], moved);
        let connections = if self.plan.service == Kind::Proxy { 2 } else { 1 } * self.plan.peers.len() as u64;
        check_budget(in_round, connections, &self.plan.config.limits);
    }

    /// Once the faults have ended no connection waits for long, unless the server is full or ends.
    fn check_backlogs(&self) {
        let accepts_from = self.plan.quiet_at.max(self.records.borrow().accepts_from);
        let waiting = with(|kernel| match kernel.now.checked_sub(LONGEST_WAIT) {
            Some(time) if time > accepts_from => kernel.waiting_since(time),
            _ => 0,
        });
        let is_full = self.plan.config.max_connections.is_some() || self.records.borrow().is_ending;
        assert!(waiting == 0 || is_full, "{waiting} connections are not accepted");
    }

    /// What TLS holds for peers that do not read is charged.
    fn check_tls(&self, worker: &Worker<'_, Watched>) {
        let mut world = self.records.borrow_mut();
        for key in worker.entries.keys() {
            let Some(Entry::Service(ConnectionEntry { session, .. })) = worker.entries.get(key) else { continue };
            let Some(Stream::Simulated(socket)) = session.socket.tls().map(TlsStream::socket) else { continue };
            let client = with(|kernel| kernel.peer_of(socket.endpoint()));
            let Some(record) = world.peers.iter_mut().find(|record| record.endpoint == Some(client)) else { continue };
            if record.was_served {
                let (written, moved) = with(|kernel| {
                    let server = kernel.other(client);
                    (server.written_bytes - record.opened.1, server.last_moved)
                });
                if session.connection.ending().is_none() {
                    record.moved_while_open = moved;
                }
                let unsent = usize::try_from(session.connection.sent_bytes().saturating_sub(written)).unwrap_or(0);
                let charged = session.charged_bytes();
                assert!(charged >= SESSION_BYTES + unsent, "{charged} bytes charged, {unsent} wait in TLS");
            }
        }
    }

    /// The reasons of connections that had no service.
    fn check_closed(&self) {
        for (client, reason) in take_closed() {
            let mut world = self.records.borrow_mut();
            let Some(number) = world.peers.iter().position(|record| record.endpoint == Some(client)) else { continue };
            let is_right = match world.peers[number].reason {
                Some(told) => told == reason,
                None => !world.peers[number].was_served && self.is_justified(&world, number, client, reason),
            };
            if !is_right {
                let now = with(|kernel| kernel.now);
                let record = &world.peers[number];
                let text = format!("peer {number}: closed for {reason:?} without a service at {now}: {record:?}");
                world.violations.push(text);
            }
            world.peers[number].reason = Some(reason);
        }
    }

    /// Whether the connection of a peer may close for `reason` before it has a service.
    fn is_justified(&self, world: &World, number: usize, client: usize, reason: CloseReason) -> bool {
        let (record, peer, config) = (&world.peers[number], &self.plan.peers[number], &self.plan.config);
        if !config.proxy_protocol && !self.plan.has_tls {
            return false;
        }
        let passed = |limit| {
            let (now, accepted) = with(|kernel| (kernel.now, kernel.other(client).accepted));
            accepted.is_some_and(|accepted| has_passed(now, accepted, limit))
        };
        match reason {
            CloseReason::ProxyHeaderInvalid if !config.proxy_protocol => false,
            CloseReason::HandshakeFailed => {
                self.plan.has_tls && (peer.is_foreign() || record.has_ended || record.closed)
            }
            CloseReason::WriteTimeout => {
                let (now, delivered) = with(|kernel| (kernel.now, kernel.other(client).last_delivered));
                self.plan.has_tls && has_passed(now, delivered, config.limits.write)
            }
            CloseReason::MemoryLimit => self.plan.has_tls && self.plan.limits_memory(),
            // One read can complete the handshake, and find an error behind it.
            CloseReason::Truncated => record.has_truncated || self.plan.has_tls && record.broke_off,
            CloseReason::Damaged => record.has_damaged,
            CloseReason::ProxyHeaderInvalid => {
                // A reset can overtake the rest of it.
                let is_lost = self.plan.faults.lost_bytes && record.broke_off;
                let is_cut = record.sent < peer.header.bytes.len() && (record.has_ended || record.closed);
                is_cut || is_lost || matches!(peer.header.meaning, Meaning::Invalid(bytes) if record.sent >= bytes)
            }
            CloseReason::HandshakeTimeout => passed(config.limits.handshake),
            CloseReason::Idle => passed(config.limits.idle),
            CloseReason::Reset => record.broke_off || record.closed,
            CloseReason::Refused => {
                peer.header.is_valid() && (config.max_per_address.is_some() || self.plan.client(number).is_none())
            }
            CloseReason::Stopped => with(|kernel| world.process_of(kernel.other(client)).is_stopped),
            CloseReason::DrainCut => with(|kernel| {
                let ended_at = world.process_of(kernel.other(client)).ended_at;
                ended_at.is_some_and(|ended_at| has_passed(kernel.now, ended_at, Some(config.drain_timeout)))
            }),
            _ => false,
        }
    }

    fn check_violations(&self) {
        let world = self.records.borrow();
        assert!(world.violations.is_empty(), "{}", world.violations.join("\n"));
    }

    /// After the last round of a worker.
    pub(super) fn check_end<S: Service>(&mut self, worker: &Worker<'_, S>, context: &LoopContext, process: usize) {
        self.check_closed();
        self.check_violations();
        let world = self.records.borrow();
        let process = &world.processes[process];
        let timeout = if process.is_stopped { Duration::ZERO } else { self.plan.config.drain_timeout };
        // After a handover it serves for as long again.
        let ended_at = process.ended_at.or(process.handed_over_at).expect("the worker ends when it is told to");
        let latest = instant(ended_at) + timeout + Duration::from_millis(200);
        let jump = Duration::from_nanos(self.plan.faults.longest_jump);
        assert!(context.now <= latest + 2 * jump, "the drain took {:?}", context.now - instant(ended_at));
        assert_eq!(context.wheel.time_left(), None, "a timer of a closed connection");
        assert_eq!(context.precise_timers.len(), 0, "a precise timer of a closed connection");
        assert_eq!(worker.counters.open(), 0);
    }

    /// After the last round of the last worker, and after everything that travelled has arrived.
    pub(super) fn check_peers(&self, processes: &[OnceCell<Arc<Shared>>]) {
        self.check_violations();
        let world = self.records.borrow();
        let ended = processes.iter().zip(&world.processes).filter(|(_, process)| !process.has_died);
        let held: usize = ended.filter_map(|(shared, _)| shared.get()).map(|shared| shared.memory.held_bytes()).sum();
        assert_eq!(held, 0, "memory of closed connections");
        let counters = processes.iter().filter_map(OnceCell::get).flat_map(|shared| &shared.counters);
        self.check_accepted(&world, counters);
        for (number, record) in world.peers.iter().enumerate() {
            let Some(client) = record.endpoint else { continue };
            let [read_bytes, was_refused, opened, has_reset] = with(|kernel| {
                let server = kernel.other(client);
                let has_reset = u64::from(server.has_reset_after_end);
                [server.read_bytes, u64::from(server.was_refused), server.opened, has_reset]
            });
            // A tunnel shuts its half before its other one has ended.
            let may_reset = self.plan.service == Kind::Proxy || record.reason == Some(CloseReason::MemoryLimit);
            assert!(has_reset == 0 || may_reset, "peer {number}: reset after the end: {record:?}");
            let has_died = || with(|kernel| world.process_of(kernel.other(client)).has_died);
            assert!(
                record.reason.is_some() || !record.was_served || has_died(),
                "peer {number}: no reason: {record:?}"
            );
            self.check_refused(number, was_refused > 0, opened);
            let peer = &self.plan.peers[number];
            let (stream, sent) = (&peer.stream, peer.stream_bytes(record.sent));
            assert!(self.plan.has_tls || read_bytes <= record.sent as u64, "peer {number}: more read than sent");
            let read = record.served;
            let is_complete = !record.broke_off && record.reason == Some(CloseReason::PeerClosed);
            let upstream = world.upstreams.iter().rfind(|upstream| upstream.peer == number && upstream.is_open);
            let may_be_idle = self.plan.config.limits.idle.is_some();
            let is_in_order = matches!(record.reason, Some(CloseReason::PeerClosed | CloseReason::Completed));
            if is_in_order && self.plan.upstream_tls.is_some() && !may_be_idle {
                let has_ended = upstream.is_some_and(|upstream| upstream.has_ended && !upstream.is_broken);
                assert!(
                    has_ended,
                    "peer {number}: ended in order although its upstream was truncated or damaged: {record:?} {upstream:?}"
                );
            }
            let answer = |read: usize| match self.plan.service {
                // The connection to an upstream that is idle ends in order, although bytes may be on their way.
                Kind::Proxy if may_be_idle => record.received,
                Kind::Proxy => upstream.map_or(0, |upstream| upstream.sent),
                service => service.answer(&stream[..read]).len(),
            };
            // A record that is damaged ends the wait.
            if record.reason == Some(CloseReason::Completed) && self.waits_for(number) && !record.has_damaged {
                assert!(!record.saw_reset, "peer {number}: reset although the server lingers: {record:?}");
                assert_eq!(record.received, answer(stream.len()), "peer {number}: the answer is cut: {record:?}");
            }
            if is_complete {
                assert_eq!(read, sent, "peer {number}: input before the end was not read: {record:?}");
                assert!(!record.saw_reset, "peer {number}: reset after an orderly end: {record:?}");
                assert!(record.saw_end, "peer {number}: no end: {record:?}");
                assert_eq!(record.received, answer(read), "peer {number}: the answer is cut: {record:?}");
                if let Some(upstream) = upstream.filter(|upstream| upstream.has_ended && !may_be_idle) {
                    let passed = [upstream.received, upstream.sent];
                    assert_eq!(passed, [read; 2], "peer {number}: not all went through the tunnel: {record:?}");
                }
            }
        }
    }

    /// Whether the server lingers long enough for a peer that goes on sending until it reads the end.
    fn waits_for(&self, number: usize) -> bool {
        let (plan, peer) = (&self.plan, &self.plan.peers[number]);
        let lingers = plan.config.limits.linger >= Duration::from_secs(5) && plan.faults.longest_jump == 0;
        let is_kept = plan.end_at > plan.quiet_at && plan.handovers.is_empty();
        lingers && is_kept && peer.conduct == Conduct::Orderly && peer.reads_from == 0
    }

    /// Each accepted connection is one of one process.
    fn check_accepted<'a>(&self, world: &World, counters: impl Iterator<Item = &'a Counters>) {
        let counted: u64 = counters.map(|counters| counters.accepted.get() + counters.refused.total()).sum();
        let was_accepted = |client: &usize| with(|kernel| kernel.other(*client).accepted.is_some());
        let accepted = world.peers.iter().filter_map(|record| record.endpoint).filter(was_accepted).count();
        // A connection that cannot be registered, and one with a header that is refused later, is counted otherwise.
        if !self.plan.faults.register_errors && !self.plan.config.proxy_protocol {
            assert_eq!(counted, accepted as u64, "accepted connections of all processes");
        }
    }

    /// Only connections that arrive while the server ends are refused, and those that it cannot accept.
    fn check_refused(&self, number: usize, was_refused: bool, opened: Nanos) {
        let faults = &self.plan.faults;
        let can_accept = !faults.accept_errors && faults.descriptors.is_none() && self.plan.ending == Ending::Drain;
        let world = self.records.borrow();
        let serving = &world.processes[world.serving];
        // A process that drains can die before it accepts its backlog.
        let can_accept = can_accept && !serving.has_died;
        let ended_at = serving.ended_at.unwrap_or_default();
        assert!(!was_refused || !can_accept || opened >= ended_at, "peer {number} was pending and is reset");
    }
}

/// What the workers have together.
#[derive(Default)]
struct Sums {
    open: usize,
    charged: usize,
    /// Admitted connections of each address.
    clients: BTreeMap<IpAddr, usize>,
}

impl Sums {
    /// Adds the connections of `worker`, whose counters must agree with them.
    fn add<S: Service>(&mut self, worker: &Worker<'_, S>) {
        let (mut open, mut open_outgoing) = (0, 0);
        for key in worker.entries.keys() {
            match worker.entries.get(key) {
                Some(Entry::Service(entry)) => {
                    open += 1;
                    self.charged += entry.session.charged_bytes();
                    if let (true, Address::Ip(client)) = (entry.session.is_admitted, &*entry.peer.get()) {
                        *self.clients.entry(client.ip()).or_default() += 1;
                    }
                }
                Some(Entry::Outgoing(outgoing)) => {
                    self.charged += outgoing.held_bytes;
                    if let State::Connected(entry) = &outgoing.state {
                        open_outgoing += u64::from(outgoing.service.is_none());
                        self.charged += entry.session.charged_bytes();
                    }
                }
                _ => {}
            }
        }
        let (counters, outgoing) = (worker.counters, &worker.counters.outgoing);
        assert_eq!(counters.accepted.get(), open + counters.closed.total(), "accepted = open + closed");
        assert_eq!(outgoing.opened.get(), open_outgoing + outgoing.closed.total(), "opened = open + closed");
        self.open += usize::try_from(open).unwrap_or(usize::MAX);
    }
}

fn check_sessions<S: Service>(worker: &Worker<'_, S>, context: &LoopContext) {
    for key in worker.entries.keys() {
        match worker.entries.get(key) {
            Some(Entry::Service(entry)) => check_session(&entry.session, key, &worker.limits, context),
            Some(Entry::Outgoing(outgoing)) => {
                if let State::Connected(entry) = &outgoing.state {
                    check_session(&entry.session, key, &outgoing.options.limits, context);
                }
            }
            _ => {}
        }
    }
}
