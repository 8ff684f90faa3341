//! Metrics of one client worker: it fills in the results of its part of the run.
//!
//! Messages due during the warm-up are not measured; connections, errors and mismatches are counted in the whole run.
//! Times are nanoseconds since the client was created.

mod due_seconds;

pub(super) use due_seconds::Undispatched;

use super::cpu_times::CpuTimes;
use super::debt::{BatchId, DebtTracker, SendTimes};
use super::failure::Failure;
use super::progress::WorkerProgress;
use super::seconds::Publisher;
use super::shared::Shared;
use super::tcp::in_flight::{Arrival, MessageTimes, Reply, SendRecorder, SentGroup};
use super::udp::in_flight::ReplyClass;
use super::udp::receivers::Peers;
use crate::error::errno_name;
use crate::results::{Cpu, Interval, Latencies, Messages, RunResults};
use due_seconds::DueSeconds;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Why a message was never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The reply took longer than the reply timeout.
    TimedOut,
    /// The run ended first.
    Pending,
    /// Its connection was lost.
    Lost,
    /// The reply was wrong.
    Wrong,
}

/// Cause of an error, of which [`Cause::name`] is the key in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A connection or socket failed, or a datagram was not answered in time.
    Connection(Failure),
    /// A datagram could not be sent.
    NotSent(Failure),
    /// The system reported that a datagram was not delivered.
    Undelivered(Failure),
    /// A receive call on a UDP socket failed, with this errno.
    NotReceived(i32),
    /// A datagram matches no message.
    Corrupt,
    /// An HTTP response has another status than the expected one.
    WrongStatus,
    /// A reply does not contain the expected text.
    WrongText,
}

impl Cause {
    fn name(self) -> String {
        match self {
            Self::Connection(failure) => failure.name().into_owned(),
            // ICMP reports a port on which nothing listens (RFC 1122, section 4.1.3.3). Either call may return the error:
            // a send call that does so reports an earlier datagram (udp(7)).
            Self::Undelivered(Failure::Refused) | Self::NotSent(Failure::Refused) => "refused".to_owned(),
            Self::NotSent(failure) => format!("not_sent_{}", failure.name()),
            Self::Undelivered(failure) => format!("undelivered_{}", failure.name()),
            Self::NotReceived(errno) => format!("not_received_{}", errno_name(errno).to_lowercase()),
            Self::Corrupt => "corrupt".to_owned(),
            Self::WrongStatus => "wrong_status".to_owned(),
            Self::WrongText => "wrong_text".to_owned(),
        }
    }
}

/// Counts that were handed over, of those that a worker keeps until the end.
#[derive(Debug, Clone, Copy, Default)]
struct Published {
    due: u64,
    opened: u64,
    /// End of the last second.
    at: u64,
}

/// Metrics of one worker.
#[derive(Debug, Default)]
pub(super) struct WorkerMetrics {
    pub(super) progress: Arc<WorkerProgress>,
    /// Counts so far, without the current second.
    pub(super) results: RunResults,
    errors: BTreeMap<Cause, u64>,
    failed_by_target: Vec<u64>,
    /// Receivers of multicasts and broadcasts.
    pub(super) peers: Peers,
    /// When the first connect began, and when the last connection was open.
    pub(super) opening: Option<(Instant, Instant)>,
    /// How long after the requested start of the load this worker was ready to send.
    pub(super) start_late: Option<Duration>,
    /// The current second.
    pub(super) second: Interval,
    latencies: Latencies,
    /// Messages that were due by the schedule.
    due_count: u64,
    is_open_loop: bool,
    has_kernel_timestamps: bool,
    /// Bounds what the lateness of this worker adds to replies; of an open loop that expects them.
    debts: Option<DebtTracker>,
    /// Largest debt of the replies read in the current turn, if there were any.
    turn_debt: Option<u64>,
    /// Messages due before this time are not measured.
    measured_from: u64,
    /// When sending ended, if that was before the end of the run.
    sending_ended: Option<u64>,
    /// When a message was last sent or answered.
    last_activity: u64,
    /// Start and end of the current interval.
    second_began: u64,
    second_end: u64,
    /// Connections that were open after the last round of the loop.
    open: u64,
    /// Hands over the counts of each second while the run lasts; none if nobody receives them.
    publisher: Option<Publisher>,
    /// When the counts are handed over next, and whether no timer was armed for that.
    publish_at: u64,
    has_to_wake: bool,
    /// What was handed over of the counts that are kept.
    published: Published,
    /// Counts by when messages were due, if limits are configured.
    due_seconds: Option<Box<DueSeconds>>,
    /// CPU times of this thread at the beginning, and their use from there to the end of the load.
    cpu_begin: CpuTimes,
    cpu: Option<Cpu>,
}

/// Messages.
impl WorkerMetrics {
    /// Metrics for the load of `shared`. Messages due before `begin` are not measured.
    pub(super) fn of(shared: &Shared, progress: Arc<WorkerProgress>, begin: u64, debts: DebtTracker) -> Self {
        let is_open_loop = shared.config.load.rate.is_some();
        let expects_replies = shared.config.reply_check(&shared.requests).has_counts();
        Self {
            has_kernel_timestamps: shared.has_kernel_timestamps(),
            debts: (is_open_loop && expects_replies).then_some(debts),
            due_seconds: DueSeconds::new(&shared.config.limits),
            ..Self::new(progress, is_open_loop, begin)
        }
    }

    /// `is_open_loop` says that messages follow a schedule. Messages due before `begin` are not measured.
    fn new(progress: Arc<WorkerProgress>, is_open_loop: bool, begin: u64) -> Self {
        let second_end = begin.saturating_add(NANOS_PER_SECOND);
        let cpu_begin = CpuTimes::now();
        Self {
            progress,
            is_open_loop,
            measured_from: begin,
            second_began: begin,
            second_end,
            publish_at: u64::MAX,
            cpu_begin,
            ..Self::default()
        }
    }

    /// Hands over the counts of each second to `publisher`, once messages are measured.
    pub(super) fn with_publisher(self, publisher: Option<Publisher>) -> Self {
        Self { publisher, ..self }
    }

    /// Starts measuring at `begin`, and discards the measurements of all messages before.
    pub(super) fn begin(&mut self, begin: u64) {
        self.results.messages = Messages::default();
        self.results.statuses = None;
        self.results.intervals.clear();
        self.results.histograms.clear_messages();
        self.results.bytes.sent = 0;
        (self.second, self.due_count, self.last_activity) = (Interval::default(), 0, 0);
        self.latencies.clear();
        (self.measured_from, self.second_began, self.sending_ended) = (begin, begin, None);
        self.second_end = begin.saturating_add(NANOS_PER_SECOND);
        self.cpu_begin = CpuTimes::now();
        if let Some(seconds) = &mut self.due_seconds {
            seconds.begin(begin);
        }
    }

    /// Messages are measured from here on: the counts before are handed over with the next round, then those of each
    /// second.
    pub(super) fn begin_publishing(&mut self) {
        (self.publish_at, self.has_to_wake) = (self.measured_from, self.has_receiver());
    }

    /// Whether the counts of each second are of interest while the run lasts.
    fn has_receiver(&self) -> bool {
        self.publisher.is_some() || self.due_seconds.is_some()
    }

    /// Discards values of the warm-up that have no due time. Everything else stays: a late loop may already have
    /// dispatched messages that were due after the warm-up.
    pub(super) fn end_warm_up(&mut self) {
        self.cpu_begin = CpuTimes::now();
        self.results.histograms.loop_round.clear();
        self.second.errors = 0;
    }

    /// No more messages are sent from `end` on, which is noticed at `now`; replies may still arrive. Only the first
    /// call counts.
    pub(super) fn end(&mut self, end: u64, now: u64) {
        if self.sending_ended.is_some() {
            return;
        }
        let end = end.max(self.measured_from);
        self.sending_ended = Some(end);
        self.cpu = self.cpu_begin.until_now();
        // The second in which the load ends is split at its end.
        self.end_intervals_until(end.min(now));
        if (self.second_began.saturating_add(1)..self.second_end).contains(&end) {
            self.second_end = end;
        }
        self.end_intervals_until(now);
    }

    /// When the measured time began; none before.
    pub(super) fn measured_from(&self) -> Option<u64> {
        Some(self.measured_from).filter(|begin| *begin < u64::MAX)
    }

    /// Whether a message that was due at `due` is measured.
    #[inline]
    pub(super) fn is_measured(&self, due: u64) -> bool {
        due >= self.measured_from
    }

    /// Counts a message that was due at `due`.
    #[inline]
    pub(super) fn count_due(&mut self, due: u64) {
        self.due_count += u64::from(due >= self.measured_from);
        if let Some(seconds) = &mut self.due_seconds {
            seconds.add_due(due, 1);
        }
    }

    /// A message that was due at `due` and assigned to a connection will be assigned again.
    pub(super) fn take_back_due(&mut self, due: u64) {
        self.due_count -= u64::from(due >= self.measured_from);
        if let Some(seconds) = &mut self.due_seconds {
            seconds.take_back(due);
        }
    }

    /// Counts the response to a request by its status.
    #[inline]
    pub(super) fn count_status(&mut self, times: MessageTimes, status: u16) {
        if self.is_measured(times.due) {
            self.results.statuses.get_or_insert_default().count(status);
        }
    }

    /// Counts a message whose response has another status than the expected one.
    pub(super) fn wrong_status(&mut self, reply: Reply, description: impl fmt::Display) {
        self.wrong_reply(Cause::WrongStatus, reply, description);
    }

    /// Counts a message whose reply does not contain the expected text.
    pub(super) fn wrong_text(&mut self, reply: Reply, description: impl fmt::Display) {
        self.wrong_reply(Cause::WrongText, reply, description);
    }

    /// Counts a wrong reply after which the connection goes on.
    fn wrong_reply(&mut self, cause: Cause, reply: Reply, description: impl fmt::Display) {
        self.count_error(cause);
        self.unanswered(reply.times, reply.arrival.read, 1, Unanswered::Wrong);
        self.mismatch(description);
    }

    /// Counts messages that were sent.
    #[inline]
    pub(super) fn sent(&mut self, SentGroup { due, blocked, sent, count }: SentGroup) {
        self.progress.messages_sent.add(count);
        if due < self.measured_from {
            return;
        }
        self.last_activity = self.last_activity.max(sent);
        self.results.messages.sent += count;
        self.second.sent += count;
        if self.is_open_loop {
            let delay = sent.saturating_sub(due + blocked);
            self.results.histograms.send_delay.record_many_nanos(delay, count);
            if let Some(seconds) = &mut self.due_seconds {
                seconds.sent(due, delay, count);
            }
            if blocked > 0 {
                self.results.histograms.blocked.record_many_nanos(blocked, count);
            }
        }
    }

    /// A reply to a message is complete. `is_last` says that nothing was read after it; otherwise its timestamp may be that of a
    /// later reply.
    #[inline]
    pub(super) fn replied(&mut self, times: MessageTimes, arrival: Arrival, is_last: bool) -> Reply {
        if self.has_kernel_timestamps && !arrival.is_stamped && self.is_measured(times.due) {
            self.results.receive_timestamps.get_or_insert_default().missing += 1;
        }
        let mut reply = Reply { times: MessageTimes { batch: None, ..times }, arrival, debt: u64::MAX };
        if let Some((debts, batch)) = self.debts.as_mut().zip(times.batch) {
            let sent = times.sent.unwrap_or(times.due);
            let debt = debts.answered(batch, send_times(times.due, times.blocked, sent), arrival.arrived, is_last);
            self.turn_debt = self.turn_debt.max(Some(debt));
            reply.debt = if is_last { debt } else { debt.saturating_add(arrival.arrived - sent) };
        }
        reply
    }

    /// Counts a message that was answered.
    #[inline]
    pub(super) fn answered(&mut self, reply: Reply) {
        let Reply { times, arrival, .. } = reply;
        self.progress.messages_answered.add(1);
        if times.due < self.measured_from {
            return;
        }
        self.last_activity = self.last_activity.max(arrival.read);
        self.second.answered += 1;
        let service_time = arrival.arrived.saturating_sub(times.sent.unwrap_or(times.due));
        if self.is_open_loop {
            self.record_response(reply, service_time);
        } else {
            self.latencies.record_nanos(service_time);
        }
        if arrival.is_stamped {
            self.record_receive_delay(arrival);
        }
    }

    /// Starts the turn of a connection.
    #[inline]
    pub(super) fn begin_turn(&mut self) {
        self.turn_debt = None;
    }

    /// Records the times of a message of an open loop.
    #[inline]
    fn record_response(&mut self, Reply { times, arrival, debt }: Reply, service_time: u64) {
        let histograms = &mut self.results.histograms;
        let (response_time, ceiling) = (times.blocked + service_time, arrival.read.saturating_sub(times.due));
        histograms.service_time.record_nanos(service_time);
        histograms.client_delay.record_nanos(ceiling.saturating_sub(response_time));
        histograms.ceiling.record_nanos(ceiling);
        let floor = arrival.arrived.saturating_sub(times.due).saturating_sub(debt);
        histograms.floor.record_nanos(floor);
        self.latencies.record_nanos(response_time);
        if let Some(seconds) = &mut self.due_seconds {
            seconds.answered(times.due, response_time, floor);
        }
    }

    /// Records how late a reply was read. Without a schedule, that is all the delay of the client.
    #[inline]
    fn record_receive_delay(&mut self, Arrival { arrived, read, .. }: Arrival) {
        let histograms = &mut self.results.histograms;
        histograms.receive_delay.record_nanos(read - arrived);
        if !self.is_open_loop {
            histograms.client_delay.record_nanos(read - arrived);
        }
    }

    /// Counts a read whose reply boundary is unknown. `first` are the times of the connection's first
    /// message, if these are the first bytes after it.
    pub(super) fn read(&mut self, first: Option<MessageTimes>, now: u64) {
        if now >= self.measured_from {
            self.second.reads += 1;
            self.last_activity = self.last_activity.max(now);
        }
        if let Some(times) = first.filter(|times| times.due >= self.measured_from) {
            let first_byte = now.saturating_sub(times.sent.unwrap_or(times.due));
            self.results.histograms.first_byte.record_nanos(first_byte);
        }
    }

    /// Counts bytes received at `now` that were correct, of the reply to a message with these times.
    #[inline]
    pub(super) fn add_verified_bytes(&mut self, bytes: usize, times: Option<MessageTimes>, now: u64) {
        if self.is_measured(times.map_or(now, |times| times.due)) {
            self.second.bytes_received += bytes as u64;
            self.results.bytes.received += bytes as u64;
        }
    }

    /// Counts unsolicited bytes, received at `now`. It may send before all connections are open, when the
    /// duration of a load begins.
    pub(super) fn add_unsolicited_bytes(&mut self, bytes: usize, now: u64) {
        self.results.bytes.received += bytes as u64;
        if self.is_measured(now) {
            self.second.bytes_received += bytes as u64;
        }
    }

    /// Counts `count` messages that were due and not assigned to a connection. `no_connection` says that none was open.
    pub(super) fn count_unassigned(&mut self, due: u64, now: u64, count: u64, why: Unanswered, no_connection: bool) {
        if due >= self.measured_from {
            self.due_count += count;
            if let Some(seconds) = &mut self.due_seconds {
                seconds.add_undispatched(due, Undispatched { count, is_blocked: no_connection });
            }
            self.results.messages.no_connection += if no_connection { count } else { 0 };
            self.count_unanswered(due, now, count, why);
        }
    }

    /// Counts `count` messages that will never be answered.
    pub(super) fn unanswered(&mut self, times: MessageTimes, now: u64, count: u64, why: Unanswered) {
        if let Some((debts, batch)) = self.debts.as_mut().zip(times.batch) {
            debts.forget(batch, count);
        }
        if times.due < self.measured_from {
            return;
        }
        // Until the load ends, an assigned message is sent at once if there is room. A late client assigns some later; they are
        // unsent if their connection is lost.
        let is_late = self.sending_ended.is_some_and(|end| times.assigned >= end);
        if times.sent.is_none() && (why != Unanswered::Pending || !is_late) {
            self.results.messages.unsent += count;
        }
        self.count_unanswered(times.due, now, count, why);
    }

    fn count_unanswered(&mut self, due: u64, now: u64, count: u64, why: Unanswered) {
        let messages = &mut self.results.messages;
        *match why {
            Unanswered::TimedOut => &mut messages.timed_out,
            Unanswered::Pending => &mut messages.pending,
            Unanswered::Lost => &mut messages.lost,
            Unanswered::Wrong => &mut messages.wrong,
        } += count;
        self.results.histograms.unanswered_age.record_many_nanos(now.saturating_sub(due), count);
    }
}

impl SendRecorder for WorkerMetrics {
    #[inline]
    fn begin_group(&mut self, group: SentGroup, was_full: bool) -> Option<BatchId> {
        // Room in the socket buffer, or a connection, may have come late because of this client: then its debt is unknown.
        let debt_before = self.turn_debt.filter(|_| !was_full).unwrap_or(u64::MAX);
        let SentGroup { due, blocked, sent, count } = group;
        let times = send_times(due, blocked, sent);
        self.debts.as_mut().map(|debts| debts.sent(times, debt_before, count))
    }

    #[inline]
    fn complete_group(&mut self, group: SentGroup) {
        self.sent(group);
    }
}

/// Connections and sockets.
impl WorkerMetrics {
    pub(super) fn connected(&mut self, after: Duration) {
        self.progress.opened.add(1);
        self.results.histograms.connect.record(after);
    }

    pub(super) fn handshake_done(&mut self, after: Duration) {
        self.results.histograms.handshake.record(after);
        self.progress.handshakes.add(1);
    }

    /// Counts a connection that got all expected replies.
    pub(super) fn completed(&mut self) {
        self.results.connections.completed += 1;
    }

    /// Counts a failed connection to the target with index `target`.
    pub(super) fn failed(&mut self, target: usize, failure: Failure) {
        self.progress.failed.add(1);
        self.results.connections.failed += 1;
        self.count_error(Cause::Connection(failure));
        self.failed_by_target.resize(self.failed_by_target.len().max(target + 1), 0);
        self.failed_by_target[target] += 1;
    }

    fn count_error(&mut self, cause: Cause) {
        self.second.errors += 1;
        *self.errors.entry(cause).or_default() += 1;
    }

    /// Counts a wrong reply, and keeps the description of one of the first.
    pub(super) fn mismatch(&mut self, mismatch: impl fmt::Display) {
        self.results.mismatches.count += 1;
        self.results.mismatches.keep(mismatch);
    }
}

/// Datagrams.
impl WorkerMetrics {
    /// Counts a message of `bytes` bytes that was sent.
    pub(super) fn sent_datagram(&mut self, sent_group: SentGroup, bytes: usize) {
        if self.is_measured(sent_group.due) {
            self.second.bytes_sent += bytes as u64;
        }
        self.sent(sent_group);
    }

    /// Counts a message that could not be sent; `times` are those of a scheduled message.
    pub(super) fn not_sent(&mut self, times: Option<MessageTimes>, now: u64, failure: Failure) {
        self.count_error(Cause::NotSent(failure));
        if let Some(times) = times {
            self.unanswered(times, now, 1, Unanswered::Lost);
        }
    }

    /// Counts a reply of `bytes` bytes that `socket` received, classified as `class`. `peer` sent it, if it
    /// answers a multicast or broadcast. `description` describes a corrupt one.
    pub(super) fn received<D: fmt::Display>(
        &mut self,
        class: ReplyClass,
        (socket, bytes): (u64, usize),
        peer: Option<SocketAddr>,
        description: impl FnOnce() -> D,
        arrival: Arrival,
    ) {
        let datagrams = self.results.datagrams.get_or_insert_default();
        match class {
            ReplyClass::Reply { times, is_reordered } => {
                datagrams.reordered += u64::from(is_reordered);
                let arrival = arrival.of_reply_to(times.sent);
                self.add_verified_bytes(bytes, Some(times), arrival.read);
                let reply = self.replied(times, arrival, true);
                self.answered(reply);
                if let Some((peer, sent)) = peer.zip(times.sent) {
                    self.peers.replied(peer, arrival.arrived.saturating_sub(sent));
                }
            }
            ReplyClass::Further { sent } => {
                let arrival = arrival.of_reply_to(Some(sent));
                if let Some(peer) = peer {
                    self.peers.replied(peer, arrival.arrived.saturating_sub(sent));
                }
            }
            ReplyClass::Late => datagrams.late += 1,
            ReplyClass::Duplicate => datagrams.duplicated += 1,
            ReplyClass::Corrupt(times) => {
                self.count_error(Cause::Corrupt);
                if let Some(times) = times {
                    let Reply { times, .. } = self.replied(times, arrival.of_reply_to(times.sent), true);
                    self.unanswered(times, arrival.read, 1, Unanswered::Wrong);
                }
                self.mismatch(format_args!("socket {socket}: {}", description()));
            }
        }
    }

    /// Counts a message without a reply within the reply timeout.
    pub(super) fn timed_out(&mut self, times: MessageTimes, now: u64) {
        self.count_error(Cause::Connection(Failure::ReplyTimeout));
        self.unanswered(times, now, 1, Unanswered::TimedOut);
    }

    /// Counts a message that the system reported as not delivered.
    pub(super) fn undelivered(&mut self, times: MessageTimes, now: u64, failure: Failure) {
        self.count_error(Cause::Undelivered(failure));
        self.unanswered(times, now, 1, Unanswered::Lost);
    }

    /// Counts a failed receive call. It loses no message, so it is no error of the current second.
    pub(super) fn receive_failed(&mut self, error: &io::Error) {
        *self.errors.entry(Cause::NotReceived(error.raw_os_error().unwrap_or_default())).or_default() += 1;
    }
}

/// Seconds, and the end of the run.
impl WorkerMetrics {
    /// Records a round of the loop that took `nanos` nanoseconds, after which `open` connections are open.
    #[inline]
    pub(super) fn end_round(&mut self, nanos: u64, now: u64, open: u64) {
        self.results.histograms.loop_round.record_nanos(nanos);
        self.open = open;
        self.end_intervals_until(now);
        if now >= self.publish_at {
            self.publish(now);
        }
    }

    /// When the loop has to run next to hand over a second, if no timer was armed for that.
    #[inline]
    pub(super) fn take_wake(&mut self) -> Option<u64> {
        std::mem::take(&mut self.has_to_wake).then_some(self.publish_at)
    }

    /// Hands over the counts of the seconds that are over at `now`.
    #[cold]
    fn publish(&mut self, now: u64) {
        let second = (now - self.measured_from) / NANOS_PER_SECOND;
        let at = self.measured_from + second * NANOS_PER_SECOND;
        (self.publish_at, self.has_to_wake) = (at.saturating_add(NANOS_PER_SECOND), self.has_receiver());
        let Some(publisher) = &self.publisher else { return };
        let Some(mut counts) = publisher.take_spare() else { return };
        std::mem::swap(&mut self.results, &mut counts);
        std::mem::swap(&mut self.results.intervals, &mut counts.intervals);
        counts.errors =
            std::mem::take(&mut self.errors).into_iter().map(|(cause, count)| (cause.name(), count)).collect();
        let is_after_load = self.sending_ended.is_some_and(|end| end <= self.published.at);
        let (due, opened) = (self.due_count.max(self.published.due), self.progress.opened.get());
        counts.messages.due = Some(due - self.published.due);
        counts.messages.reads.get_or_insert(0);
        counts.connections.opened = opened - self.published.opened;
        publisher.publish(second, self.open, is_after_load, counts);
        self.published = Published { due, opened, at };
    }

    /// The oldest second by due instants that is complete at `now` and not published.
    #[inline]
    pub(super) fn complete_due_second(&self, now: u64) -> Option<Range<u64>> {
        self.due_seconds.as_ref().and_then(|seconds| seconds.complete_at(now))
    }

    /// Publishes the oldest second by due instants, of which `undispatched` messages still wait in the schedule.
    #[cold]
    pub(super) fn publish_due_second(&mut self, undispatched: Undispatched) {
        let Some(mut second) = self.due_seconds.as_mut().map(|seconds| seconds.take(undispatched)) else { return };
        let interval = usize::try_from(second.index).ok().and_then(|index| self.results.intervals.get(index));
        let latency = interval.map(|interval| &interval.latency).filter(|latency| latency.count > 0);
        second.median = latency.map(|latency| (Duration::from_nanos(latency.p50_ns), latency.count));
        self.progress.publish_due_second(second);
    }

    #[inline]
    fn end_intervals_until(&mut self, now: u64) {
        while now >= self.second_end {
            self.end_interval(self.second_end);
        }
    }

    /// Ends the current interval at `end`.
    #[cold]
    fn end_interval(&mut self, end: u64) {
        let (second, open) = (std::mem::take(&mut self.second), self.open);
        let (start, nanos) = (self.second_began - self.measured_from, end.saturating_sub(self.second_began));
        let results = &mut self.results;
        let latency = self.latencies.pack();
        results.messages.answered += second.answered;
        *results.messages.reads.get_or_insert(0) += second.reads;
        results.bytes.sent += second.bytes_sent;
        let times = &mut results.histograms;
        if self.is_open_loop { &mut times.response_time } else { &mut times.service_time }.add(&self.latencies);
        self.latencies.clear();
        let (start_s, seconds) = (in_seconds(start), in_seconds(nanos));
        results.intervals.push(Interval { start_s, seconds, open, latency, ..second });
        self.second_began = end;
        // After the end of the load in the middle of a second, the next whole one.
        let part = (end - self.measured_from) % NANOS_PER_SECOND;
        self.second_end = end.saturating_add(NANOS_PER_SECOND - part);
    }

    /// Ends measuring at `now`; `is_interrupted` says that the run was stopped before the duration of its load was over. The
    /// measured time ends with the load, or with the last reply if nothing else ends it. Holding and closing
    /// connections are not included.
    pub(super) fn close(&mut self, now: u64, is_interrupted: bool) {
        self.cpu = self.cpu.or_else(|| self.cpu_begin.until_now());
        self.end_intervals_until(now);
        self.open = 0;
        self.end_interval(now.max(self.second_began));
        while self.due_seconds.as_ref().is_some_and(|seconds| seconds.has_more()) {
            self.publish_due_second(Undispatched::default());
        }
        let measured_until = |end: u64| in_seconds(end.saturating_sub(self.measured_from));
        let last = if is_interrupted { now } else { self.last_activity };
        let results = &mut self.results;
        results.measured_s = measured_until(self.sending_ended.unwrap_or(last));
        results.duration_s = measured_until(self.sending_ended.unwrap_or(now));
        results.cpu = self.cpu;
        if let Some(end) = self.sending_ended {
            results.split_after_load(in_seconds(end - self.measured_from));
        }
    }

    /// Results of this worker, after [`close`](Self::close). `targets` are those of the connections.
    pub(super) fn into_results(self, targets: &[String]) -> RunResults {
        let mut results = self.results;
        results.connections.opened = self.progress.opened.get() - self.published.opened;
        results.messages.due = Some(self.due_count.saturating_sub(self.published.due));
        for (cause, count) in self.errors {
            *results.errors.entry(cause.name()).or_default() += count;
        }
        let failed = self.failed_by_target.into_iter().chain(std::iter::repeat(0));
        for (target, count) in targets.iter().zip(failed) {
            *results.failed_by_target.entry(target.clone()).or_default() += count;
        }
        if self.peers.count() > 0 {
            self.peers.into_results(results.datagrams.get_or_insert_default());
        }
        results
    }
}

/// Times of a message that was due at `due`, blocked for `blocked` and sent at `sent`.
fn send_times(due: u64, blocked: u64, sent: u64) -> SendTimes {
    SendTimes { sent, send_delay: sent.saturating_sub(due + blocked), blocked }
}

#[allow(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are exact for 104 days")]
fn in_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests;
