//! What is measured of the messages: latencies, what never came, and what happened in each second.

use super::in_flight::{MessageTimes, SentBatch};
use super::snapshot::Snapshot;
use crate::results::{Interval, Latencies};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The shortest interval at the end, in seconds. A shorter one says little about a rate.
const SHORTEST_S: f64 = 0.5;

/// Why a message was never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The answer took longer than the reply timeout.
    TimedOut,
    /// The run ended first.
    Pending,
    /// Its connection was lost, or it was answered wrongly.
    Lost,
}

/// What was measured of the messages.
///
/// Nothing of it counts what was due during the warm-up.
#[derive(Debug, Clone, Default)]
pub struct Measurements {
    /// From when a message was due to the end of its answer. Empty when there was no schedule.
    pub from_due: Latencies,
    /// From when a message was handed to the kernel to the end of its answer. What the client does between reading the
    /// clock and handing over belongs to it: at most the time for one buffer of messages.
    pub from_send: Latencies,
    /// From handing the first message of a connection to the kernel to the first bytes after it, where nothing tells where a
    /// reply ends.
    pub first_byte: Latencies,
    /// From when a message was due to when it was handed to the kernel, without the time for which the server held it
    /// back: how late the client was itself. Empty when there was no schedule.
    pub lag: Latencies,
    /// For how long the server held messages back, of those that had to wait for it: it owed as many answers as it may,
    /// took no more bytes, or there was no connection.
    pub held_back: Latencies,
    /// How long each round of the client's loop took, without its waiting.
    pub loop_turn: Latencies,
    /// How long those messages had waited that were never answered.
    pub unanswered_age: Latencies,
    /// How long was measured: the time in which messages were sent and, where nothing else ends a load, answered.
    pub span: Duration,
    /// The CPU time that the workers took; none where the system does not tell.
    pub cpu: Option<Duration>,
    /// Over how long: up to the end of a load that has one before the end of the run.
    pub cpu_span: Duration,
    /// Messages that were due by the schedule.
    pub due: u64,
    /// Messages handed to the kernel, to the last byte.
    pub sent: u64,
    /// Messages that were due and not sent, or not whole, because the server left no room for them, or its connection was lost.
    pub withheld: u64,
    /// Messages that were answered, and rightly.
    pub answered: u64,
    /// Messages given up because the answer took too long.
    pub timed_out: u64,
    /// Messages that were not answered when the run ended.
    pub pending: u64,
    /// Messages that were lost with their connection, or answered wrongly.
    pub lost: u64,
    /// Of those that were due and never answered: how many were never sent, since no connection was there to take them.
    pub unconnected: u64,
    /// What happened in each second.
    pub seconds: Vec<Interval>,
}

/// The book of one worker.
#[derive(Debug, Default)]
pub(super) struct MessageMetrics {
    pub(super) measured: Measurements,
    /// The second that goes on.
    pub(super) second: Interval,
    latencies: Latencies,
    /// How late the latest message was sent in the second that goes on, and in the last one, in nanoseconds.
    most_lag: u64,
    last_lag: u64,
    is_paced: bool,
    /// What was due before this time is not measured.
    begin: u64,
    /// When messages were no longer sent, if that was before the end of the run.
    end: Option<u64>,
    /// When something was last sent or answered.
    last: u64,
    /// When the second that goes on ends.
    second_end: u64,
    /// What this thread had taken of its CPU when it began.
    cpu_begin: Option<Duration>,
}

impl MessageMetrics {
    pub(super) fn new(is_paced: bool) -> Self {
        Self { is_paced, second_end: NANOS_PER_SECOND, cpu_begin: cpu_time(), ..Self::default() }
    }

    /// Measures from `begin` on, and forgets what was before.
    pub(super) fn begin(&mut self, begin: u64) {
        *self = Self { begin, second_end: begin.saturating_add(NANOS_PER_SECOND), ..Self::new(self.is_paced) };
    }

    /// Forgets what has no due time by which it could be told from what is measured. All else stays: a loop that is late
    /// has handed out messages already that were due after the warm-up.
    pub(super) fn end_warm_up(&mut self) {
        self.cpu_begin = cpu_time();
        self.measured.loop_turn.clear();
        let Interval { sent, replies, .. } = self.second;
        self.second = Interval { sent, replies, ..Interval::default() };
    }

    /// No more messages are sent from `end` on; answers may still come. The first end counts.
    pub(super) fn end(&mut self, end: u64) {
        if self.end.is_none() {
            self.end = Some(end);
            self.measured.cpu = self.cpu_so_far();
        }
    }

    fn cpu_so_far(&self) -> Option<Duration> {
        cpu_time().zip(self.cpu_begin).map(|(now, begin)| now.saturating_sub(begin))
    }

    /// A message was due at this time.
    #[inline]
    pub(super) fn due(&mut self, due: u64) {
        self.measured.due += u64::from(due >= self.begin);
    }

    #[inline]
    pub(super) fn sent(&mut self, SentBatch { due, held, sent, count }: SentBatch) {
        if due < self.begin {
            return;
        }
        self.last = self.last.max(sent);
        self.measured.sent += count;
        self.second.sent += count;
        if self.is_paced {
            let lag = sent.saturating_sub(due + held);
            self.most_lag = self.most_lag.max(lag);
            self.measured.lag.record_many_nanos(lag, count);
            if held > 0 {
                self.measured.held_back.record_many_nanos(held, count);
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
        if self.is_paced {
            self.measured.from_send.record_nanos(from_send);
            self.latencies.record_nanos(now.saturating_sub(times.due));
        } else {
            self.latencies.record_nanos(from_send);
        }
    }

    /// Bytes came that end no reply for certain; `first` are the times of the first message, if they are the first after it.
    pub(super) fn read(&mut self, first: Option<MessageTimes>, now: u64) {
        self.second.reads += 1;
        self.last = self.last.max(now);
        if let Some(times) = first.filter(|times| times.due >= self.begin) {
            self.measured.first_byte.record_nanos(now.saturating_sub(times.sent.unwrap_or(times.due)));
        }
    }

    /// `count` messages that were due were given to no connection; `is_alone` says that none was there.
    pub(super) fn not_given(&mut self, due: u64, now: u64, count: u64, why: Unanswered, is_alone: bool) {
        if due >= self.begin {
            self.measured.due += count;
            self.measured.unconnected += if is_alone { count } else { 0 };
            self.missed(due, now, count, why);
        }
    }

    /// So many bytes came back and were right, of the answer to a message with these times.
    #[inline]
    pub(super) fn right(&mut self, bytes: u64, times: Option<MessageTimes>) {
        if times.is_none_or(|times| times.due >= self.begin) {
            self.second.bytes_verified += bytes;
        }
    }

    /// `count` messages will never be answered.
    pub(super) fn unanswered(&mut self, times: MessageTimes, now: u64, count: u64, why: Unanswered) {
        if times.due < self.begin {
            return;
        }
        // What a connection is given goes out at once where there is room, until the load ends.
        if times.sent.is_none() && self.end.is_none_or(|end| times.given < end) {
            self.measured.withheld += count;
        }
        self.missed(times.due, now, count, why);
    }

    fn missed(&mut self, due: u64, now: u64, count: u64, why: Unanswered) {
        *match why {
            Unanswered::TimedOut => &mut self.measured.timed_out,
            Unanswered::Pending => &mut self.measured.pending,
            Unanswered::Lost => &mut self.measured.lost,
        } += count;
        self.measured.unanswered_age.record_many_nanos(now.saturating_sub(due), count);
    }

    /// A round of the loop took so long; `open` connections are open after it. Whether a second is over.
    #[inline]
    pub(super) fn turned(&mut self, nanos: u64, now: u64, open: u64) -> bool {
        let is_over = now >= self.second_end;
        self.measured.loop_turn.record_nanos(nanos);
        while now >= self.second_end {
            self.end_second(NANOS_PER_SECOND, open);
        }
        is_over
    }

    /// What the last second was like that is over.
    #[cold]
    pub(super) fn last_second(&self) -> Option<Snapshot> {
        let lag = self.is_paced.then(|| Duration::from_nanos(self.last_lag));
        let interval = self.measured.seconds.last()?.clone();
        let end_s = self.end.map(|end| in_seconds(end.saturating_sub(self.begin)));
        let is_after_load = end_s.is_some_and(|end_s| end_s <= interval.start_s);
        Some(Snapshot { interval, lag, is_after_load })
    }

    #[cold]
    fn end_second(&mut self, nanos: u64, open: u64) {
        let second = std::mem::take(&mut self.second);
        let start = self.second_end.saturating_sub(self.begin.saturating_add(NANOS_PER_SECOND));
        let latency = self.latencies.pack();
        self.last_lag = std::mem::take(&mut self.most_lag);
        self.measured.answered += second.replies;
        if self.is_paced { &mut self.measured.from_due } else { &mut self.measured.from_send }.add(&self.latencies);
        self.latencies.clear();
        let (start_s, seconds) = (in_seconds(start), in_seconds(nanos));
        self.measured.seconds.push(Interval { start_s, seconds, open, latency, ..second });
        self.second_end = self.second_end.saturating_add(NANOS_PER_SECOND);
    }

    /// The run has ended at `now`; `is_stopped` says that it was told to. The measured time ends with the load: when the last
    /// message was answered, if nothing else has ended it. Holding and closing connections are no part of it.
    pub(super) fn close(&mut self, now: u64, is_stopped: bool) {
        self.measured.cpu = self.measured.cpu.or_else(|| self.cpu_so_far());
        while now >= self.second_end {
            self.end_second(NANOS_PER_SECOND, 0);
        }
        let rest = now.saturating_sub(self.second_end - NANOS_PER_SECOND);
        self.end_second(rest, 0);
        let last = (self.last > self.begin && !is_stopped).then_some(self.last);
        let measured_until = |end: u64| Duration::from_nanos(end.saturating_sub(self.begin));
        self.measured.span = measured_until(self.end.or(last).unwrap_or(now));
        self.measured.cpu_span = measured_until(self.end.unwrap_or(now));
    }
}

impl Measurements {
    /// Ends the intervals with the time that was measured, once all workers are in. What came later, or in a rest too short
    /// to be one, belongs to the last of them.
    pub(super) fn end_seconds(&mut self) {
        let end_s = self.span.as_secs_f64();
        let is_rest = |second: &mut Interval| second.start_s > 0.0 && end_s - second.start_s < SHORTEST_S;
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

    /// Adds what another worker measured in the same time.
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
        for (index, second) in other.seconds.iter().enumerate() {
            match self.seconds.get_mut(index) {
                Some(ours) => ours.add(second),
                None => self.seconds.push(second.clone()),
            }
        }
    }
}

/// What this thread has taken of its CPU (clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`).
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
