//! Measurements of messages: latencies, unanswered messages, and one interval per second.

use super::snapshot::Snapshot;
use super::tcp::in_flight::{MessageTimes, SentBatch};
use crate::results::{Interval, Latencies};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Minimum length of the last interval, in seconds. A shorter one says little about a rate.
const MIN_INTERVAL_S: f64 = 0.5;

/// Why a message was never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The reply took longer than the reply timeout.
    TimedOut,
    /// The run ended first.
    Pending,
    /// Its connection was lost, or the reply was wrong.
    Lost,
}

/// Measurements of the messages of a run. Messages due during the warm-up are not included.
#[derive(Debug, Clone, Default)]
pub struct Measurements {
    /// Response times: from the instant a message was due to the end of its reply. Empty in a closed loop.
    pub from_due: Latencies,
    /// Service times: from the send of a message to the end of its reply. They include the client's time from reading
    /// the clock to writing the message: at most that for one buffer of messages.
    pub from_send: Latencies,
    /// Times from the send of a connection's first message to the first bytes received after it, where the end of a
    /// reply is unknown.
    pub first_byte: Latencies,
    /// Send delays: from the instant a message was due to its send, without the time blocked. They show how late the
    /// client was. Empty in a closed loop.
    pub lag: Latencies,
    /// Times blocked, of messages that the server delayed: the pipeline limit was reached, it accepted no bytes, or no
    /// connection was open.
    pub held_back: Latencies,
    /// Duration of each iteration of the client's event loop, without waiting.
    pub loop_turn: Latencies,
    /// Ages of the unanswered messages.
    pub unanswered_age: Latencies,
    /// Measured time: while messages were sent and, where nothing else ends a load, answered.
    pub span: Duration,
    /// CPU time of the workers; `None` where the system does not provide it.
    pub cpu: Option<Duration>,
    /// Time to which `cpu` refers: up to the end of the load, if that is before the end of the run.
    pub cpu_span: Duration,
    /// Messages that were due by the schedule.
    pub due: u64,
    /// Messages that the kernel accepted completely.
    pub sent: u64,
    /// Messages that were due and not sent completely, because the server left no room for them or the connection was
    /// lost.
    pub withheld: u64,
    /// Messages that were answered correctly.
    pub answered: u64,
    /// Messages whose reply did not arrive within the reply timeout.
    pub timed_out: u64,
    /// Messages without a reply when the run ended.
    pub pending: u64,
    /// Messages that were lost with their connection, or answered incorrectly.
    pub lost: u64,
    /// Unanswered messages that were never sent because no connection was open.
    pub unconnected: u64,
    /// One interval per second.
    pub seconds: Vec<Interval>,
    /// Counts after the end of the load, such as replies to messages still in flight.
    pub after_load: Interval,
}

/// Message measurements of one worker while it runs.
#[derive(Debug, Default)]
pub(super) struct MessageMetrics {
    pub(super) measured: Measurements,
    /// The current second.
    pub(super) second: Interval,
    latencies: Latencies,
    /// Maximum send delay in the current second, and in the last complete one, in nanoseconds.
    max_lag: u64,
    last_lag: u64,
    is_open_loop: bool,
    /// Messages due before this time are not measured.
    begin: u64,
    /// When sending ended, if that was before the end of the run.
    end: Option<u64>,
    /// When a message was last sent or answered.
    last: u64,
    /// Start and end of the current interval.
    second_begin: u64,
    second_end: u64,
    /// Connections that were open after the last iteration of the loop.
    open: u64,
    /// Index of the last complete second, and whether it was not reported yet.
    last_complete: usize,
    has_unreported: bool,
    /// CPU time of this thread at the beginning.
    cpu_begin: Option<Duration>,
}

impl MessageMetrics {
    pub(super) fn new(is_open_loop: bool) -> Self {
        Self { is_open_loop, second_end: NANOS_PER_SECOND, cpu_begin: cpu_time(), ..Self::default() }
    }

    /// Starts measuring at `begin`, and discards everything before.
    pub(super) fn begin(&mut self, begin: u64) {
        let second_end = begin.saturating_add(NANOS_PER_SECOND);
        *self = Self { begin, second_begin: begin, second_end, ..Self::new(self.is_open_loop) };
    }

    /// Discards values of the warm-up that have no due time. Everything else stays: a late loop may already have
    /// dispatched messages that were due after the warm-up.
    pub(super) fn end_warm_up(&mut self) {
        self.cpu_begin = cpu_time();
        self.measured.loop_turn.clear();
        self.second.errors = 0;
    }

    /// No more messages are sent from `end` on, which is noticed at `now`; replies may still arrive. Only the first
    /// call counts.
    pub(super) fn end(&mut self, end: u64, now: u64) {
        if self.end.is_some() {
            return;
        }
        let end = end.max(self.begin);
        self.end = Some(end);
        self.measured.cpu = self.cpu_so_far();
        // The second in which the load ends is split at its end.
        self.end_intervals_until(end.min(now));
        if (self.second_begin.saturating_add(1)..self.second_end).contains(&end) {
            self.second_end = end;
        }
        self.end_intervals_until(now);
    }

    fn cpu_so_far(&self) -> Option<Duration> {
        cpu_time().zip(self.cpu_begin).map(|(now, begin)| now.saturating_sub(begin))
    }

    /// Whether a message that was due at `due` is measured.
    #[inline]
    pub(super) fn is_measured(&self, due: u64) -> bool {
        due >= self.begin
    }

    /// Counts a message that was due at `due`.
    #[inline]
    pub(super) fn due(&mut self, due: u64) {
        self.measured.due += u64::from(due >= self.begin);
    }

    #[inline]
    pub(super) fn sent(&mut self, SentBatch { due, blocked, sent, count }: SentBatch) {
        if due < self.begin {
            return;
        }
        self.last = self.last.max(sent);
        self.measured.sent += count;
        self.second.sent += count;
        if self.is_open_loop {
            let lag = sent.saturating_sub(due + blocked);
            self.max_lag = self.max_lag.max(lag);
            self.measured.lag.record_many_nanos(lag, count);
            if blocked > 0 {
                self.measured.held_back.record_many_nanos(blocked, count);
            }
        }
    }

    #[inline]
    pub(super) fn answered(&mut self, times: MessageTimes, now: u64) {
        if times.due < self.begin {
            return;
        }
        self.last = self.last.max(now);
        self.second.replies += 1;
        let from_send = now.saturating_sub(times.sent.unwrap_or(times.due));
        if self.is_open_loop {
            self.measured.from_send.record_nanos(from_send);
            self.latencies.record_nanos(now.saturating_sub(times.due));
        } else {
            self.latencies.record_nanos(from_send);
        }
    }

    /// Counts a read whose bytes do not end a reply for certain. `first` are the times of the connection's first
    /// message, if these are the first bytes after it.
    pub(super) fn read(&mut self, first: Option<MessageTimes>, now: u64) {
        if now >= self.begin {
            self.second.reads += 1;
            self.last = self.last.max(now);
        }
        if let Some(times) = first.filter(|times| times.due >= self.begin) {
            self.measured.first_byte.record_nanos(now.saturating_sub(times.sent.unwrap_or(times.due)));
        }
    }

    /// Counts `count` messages that were due and not assigned to a connection. `no_connection` says that none was open.
    pub(super) fn count_unassigned(&mut self, due: u64, now: u64, count: u64, why: Unanswered, no_connection: bool) {
        if due >= self.begin {
            self.measured.due += count;
            self.measured.unconnected += if no_connection { count } else { 0 };
            self.count_unanswered(due, now, count, why);
        }
    }

    /// Counts bytes received at `now` that were correct, of the reply to a message with these times.
    #[inline]
    pub(super) fn add_verified_bytes(&mut self, bytes: u64, times: Option<MessageTimes>, now: u64) {
        if self.is_measured(times.map_or(now, |times| times.due)) {
            self.second.bytes_verified += bytes;
        }
    }

    /// Counts `count` messages that will never be answered.
    pub(super) fn unanswered(&mut self, times: MessageTimes, now: u64, count: u64, why: Unanswered) {
        if times.due < self.begin {
            return;
        }
        // Until the load ends, an assigned message is sent at once if there is room.
        if times.sent.is_none() && self.end.is_none_or(|end| times.assigned < end) {
            self.measured.withheld += count;
        }
        self.count_unanswered(times.due, now, count, why);
    }

    fn count_unanswered(&mut self, due: u64, now: u64, count: u64, why: Unanswered) {
        *match why {
            Unanswered::TimedOut => &mut self.measured.timed_out,
            Unanswered::Pending => &mut self.measured.pending,
            Unanswered::Lost => &mut self.measured.lost,
        } += count;
        self.measured.unanswered_age.record_many_nanos(now.saturating_sub(due), count);
    }

    /// Records a loop iteration of `nanos` nanoseconds, after which `open` connections are open. Returns whether a
    /// second is complete.
    #[inline]
    pub(super) fn end_round(&mut self, nanos: u64, now: u64, open: u64) -> bool {
        self.measured.loop_turn.record_nanos(nanos);
        self.open = open;
        self.end_intervals_until(now);
        std::mem::take(&mut self.has_unreported)
    }

    /// Snapshot of the last complete second.
    #[cold]
    pub(super) fn last_interval(&self) -> Option<Snapshot> {
        let lag = self.is_open_loop.then(|| Duration::from_nanos(self.last_lag));
        let interval = self.measured.seconds.get(self.last_complete)?.clone();
        let end_s = self.end.map(|end| in_seconds(end.saturating_sub(self.begin)));
        let is_after_load = end_s.is_some_and(|end_s| end_s <= interval.start_s);
        Some(Snapshot { interval, lag, is_after_load })
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
        let (start, nanos) = (self.second_begin - self.begin, end.saturating_sub(self.second_begin));
        let latency = self.latencies.pack();
        if nanos >= NANOS_PER_SECOND {
            self.last_lag = std::mem::take(&mut self.max_lag);
            (self.last_complete, self.has_unreported) = (self.measured.seconds.len(), true);
        }
        self.measured.answered += second.replies;
        if self.is_open_loop { &mut self.measured.from_due } else { &mut self.measured.from_send }.add(&self.latencies);
        self.latencies.clear();
        let (start_s, seconds) = (in_seconds(start), in_seconds(nanos));
        self.measured.seconds.push(Interval { start_s, seconds, open, latency, ..second });
        self.second_begin = end;
        self.second_end = end.saturating_add(NANOS_PER_SECOND);
    }

    /// Ends measuring at `now`; `is_cut` says that the run was stopped before the duration of its load was over. The
    /// measured time ends with the load, or with the last reply if nothing else ends it. Holding and closing
    /// connections are not included.
    pub(super) fn close(&mut self, now: u64, is_cut: bool) {
        self.measured.cpu = self.measured.cpu.or_else(|| self.cpu_so_far());
        self.end_intervals_until(now);
        self.open = 0;
        self.end_interval(now.max(self.second_begin));
        let measured_until = |end: u64| Duration::from_nanos(end.saturating_sub(self.begin));
        let last = if is_cut { now } else { self.last };
        self.measured.span = measured_until(self.end.unwrap_or(last));
        self.measured.cpu_span = measured_until(self.end.unwrap_or(now));
        if let Some(end) = self.end {
            self.measured.split_after_load(in_seconds(end - self.begin));
        }
    }
}

impl Measurements {
    /// The intervals of the measured time, and the one after the end of the load.
    pub(super) fn all_intervals(&self) -> impl Iterator<Item = &Interval> {
        self.seconds.iter().chain([&self.after_load])
    }

    /// Moves the intervals that began at `end_s` or later to `after_load`.
    fn split_after_load(&mut self, end_s: f64) {
        while let Some(later) = self.seconds.pop_if(|second| second.start_s > 0.0 && second.start_s >= end_s) {
            let seconds = self.after_load.seconds + later.seconds;
            self.after_load.add(&Interval { open: 0, ..later });
            self.after_load.seconds = seconds;
        }
    }

    /// Ends the intervals with the measured time, once all workers are merged. A rest too short for an interval is
    /// added to the last one.
    pub(super) fn end_intervals(&mut self) {
        if self.span.is_zero() {
            // Nothing was sent: the measured time is that of the run.
            self.span = self.cpu_span;
        }
        let end_s = self.span.as_secs_f64();
        self.split_after_load(end_s);
        self.after_load.start_s = end_s;
        let is_rest = |second: &mut Interval| second.start_s > 0.0 && end_s - second.start_s < MIN_INTERVAL_S;
        while let Some(later) = self.seconds.pop_if(is_rest) {
            let Some(last) = self.seconds.last_mut() else { break };
            let open = last.open;
            last.add(&later);
            last.open = open;
        }
        if let Some(last) = self.seconds.last_mut() {
            last.seconds = end_s - last.start_s;
        }
    }

    /// Adds the measurements of another worker over the same time.
    pub(super) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.from_due, &other.from_due),
            (&mut self.from_send, &other.from_send),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.lag, &other.lag),
            (&mut self.held_back, &other.held_back),
            (&mut self.loop_turn, &other.loop_turn),
            (&mut self.unanswered_age, &other.unanswered_age),
        ];
        for (ours, theirs) in pairs {
            ours.add(theirs);
        }
        let pairs = [
            (&mut self.due, other.due),
            (&mut self.sent, other.sent),
            (&mut self.withheld, other.withheld),
            (&mut self.answered, other.answered),
            (&mut self.timed_out, other.timed_out),
            (&mut self.pending, other.pending),
            (&mut self.lost, other.lost),
            (&mut self.unconnected, other.unconnected),
        ];
        for (ours, theirs) in pairs {
            *ours += theirs;
        }
        self.span = self.span.max(other.span);
        self.cpu_span = self.cpu_span.max(other.cpu_span);
        self.cpu = self.cpu.or(Some(Duration::ZERO)).zip(other.cpu).map(|(ours, theirs)| ours + theirs);
        self.after_load.add(&other.after_load);
        for (index, second) in other.seconds.iter().enumerate() {
            match self.seconds.get_mut(index) {
                Some(ours) => ours.add(second),
                None => self.seconds.push(second.clone()),
            }
        }
    }
}

/// CPU time of this thread (clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`).
fn cpu_time() -> Option<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[allow(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are exact for 104 days")]
fn in_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests;
