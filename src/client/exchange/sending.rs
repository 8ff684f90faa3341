//! Sending side of an exchange: starts messages that may be sent, and records what the kernel accepted.

use super::{Exchange, KernelWrite, LoadPhase, Position};
use crate::client::pattern::Pattern;
use crate::service::Output;
use std::time::Instant;

/// Number of pattern bytes generated at a time.
const PORTION_BYTES: usize = 1024;

impl Exchange {
    /// Called at the end of a turn: bytes that the kernel has not accepted by now are blocked.
    pub(in crate::client) fn end_turn(&mut self) {
        let since = self.note_kernel_write();
        if self.written_bytes > self.accepted_bytes {
            let clock = self.plan.clock;
            self.in_flight.block(|| since.unwrap_or_else(|| clock.nanos(Instant::now())));
        }
    }

    /// Records the bytes that the kernel accepted in this turn so far; returns when, if there were any.
    pub(super) fn note_kernel_write(&mut self) -> Option<u64> {
        let KernelWrite { bytes, since } = self.plan.kernel_write.take()?;
        let measured_from = self.accepted_bytes.max(self.warm_up_bytes);
        self.accepted_bytes += bytes;
        if self.in_flight.is_oldest_sent() != Some(true) {
            self.progress = since;
        }
        let metrics = &mut *self.plan.metrics.borrow_mut();
        metrics.message_metrics.second.bytes_sent += self.accepted_bytes.saturating_sub(measured_from);
        let (plan, first, begun) = (&*self.plan, self.first, self.begun());
        let size_of = |number| plan.size_of(first + number);
        self.in_flight
            .kernel_accepted((self.accepted_bytes, since), begun, size_of, |sent_batch| metrics.sent(sent_batch));
        if self.expects_nothing() {
            // Without replies, messages would stay in flight for ever.
            while self.in_flight.is_oldest_sent() == Some(true) {
                self.in_flight.answered((since, plan.pipeline), begun, size_of, |_| {});
            }
        }
        Some(since)
    }

    /// Number of messages of which writing has begun.
    pub(super) fn begun(&self) -> u64 {
        self.sent.messages + u64::from(self.sent.bytes > 0)
    }

    /// Writes messages as far as there is room.
    pub(super) fn send(&mut self, output: &mut Output<'_>, now: u64) {
        while output.room() > 0 && (self.sent.bytes > 0 || self.begin(now)) {
            let written = match self.pattern {
                Some(pattern) => self.write_pattern(pattern, output),
                None => output.write(&self.message(self.sent.messages)[self.sent.bytes..]),
            };
            self.sent.bytes += written;
            self.written_bytes += written as u64;
            if self.sent.bytes == self.size_of(self.sent.messages) {
                self.sent = Position { messages: self.sent.messages + 1, bytes: 0 };
            }
        }
    }

    /// Begins the next message if it may be sent now.
    fn begin(&mut self, now: u64) -> bool {
        let plan = &*self.plan;
        let has_one = self.sent.messages < self.total && plan.phase.get() == LoadPhase::Sending;
        if !has_one || self.in_flight.count() >= plan.pipeline {
            return false;
        }
        if self.in_flight.count() == 0 {
            self.progress = now;
        }
        let due = if plan.is_open_loop {
            self.in_flight.begin_queued(self.written_bytes)
        } else {
            self.in_flight.begin(now, now, self.written_bytes);
            Some(now)
        };
        if due.is_some_and(|due| !plan.metrics.borrow().message_metrics.is_measured(due)) {
            self.warm_up_bytes = self.written_bytes + plan.size_of(self.first + self.sent.messages) as u64;
        }
        due.is_some()
    }

    fn write_pattern(&self, pattern: Pattern, output: &mut Output<'_>) -> usize {
        let mut portion = [0; PORTION_BYTES];
        let left = self.size_of(self.sent.messages) - self.sent.bytes;
        let portion = &mut portion[..left.min(output.room()).min(PORTION_BYTES)];
        pattern.fill(self.written_bytes, portion);
        output.write(portion)
    }
}
