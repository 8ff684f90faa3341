//! The messages on their way out: which may be written now, and which the kernel has taken.

use super::{Exchange, HandedOver, LoadPhase, Position};
use crate::client::pattern::Pattern;
use crate::service::Output;
use std::time::Instant;

/// How much of a pattern is made at a time, in bytes.
const PORTION_BYTES: usize = 1024;

impl Exchange {
    /// Its turn is over: what the kernel has not taken by now, it cannot take.
    pub(in crate::client) fn end_turn(&mut self) {
        let since = self.note_handed_over();
        if self.written_bytes > self.taken_bytes {
            let clock = self.plan.clock;
            self.in_flight.block(|| since.unwrap_or_else(|| clock.nanos(Instant::now())));
        }
    }

    /// Writes down when the kernel took what it has taken in this turn so far, if it took anything.
    pub(super) fn note_handed_over(&mut self) -> Option<u64> {
        let HandedOver { bytes, since } = self.plan.handed_over.take()?;
        self.taken_bytes += bytes;
        if self.in_flight.is_oldest_sent() != Some(true) {
            self.progress = since;
        }
        let metrics = &mut *self.plan.metrics.borrow_mut();
        metrics.messages.second.bytes_sent += bytes;
        let (plan, first, begun) = (&*self.plan, self.first, self.begun());
        let size_of = |number| plan.size_of(first + number);
        self.in_flight.handed_over((self.taken_bytes, since), begun, size_of, |departure| metrics.sent(departure));
        if self.expects_nothing() {
            // What nobody answers would be under way for ever.
            while self.in_flight.is_oldest_sent() == Some(true) {
                self.in_flight.answered((since, plan.pipeline), begun, size_of, |_| {});
            }
        }
        Some(since)
    }

    /// How many messages were begun to be written.
    pub(super) fn begun(&self) -> u64 {
        self.sent.messages + u64::from(self.sent.bytes > 0)
    }

    /// Sends what may be sent, as far as there is room.
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

    /// Begins one more message, if it may be sent now.
    fn begin(&mut self, now: u64) -> bool {
        let plan = &*self.plan;
        let has_one = self.sent.messages < self.total && plan.phase.get() == LoadPhase::Sending;
        if !has_one || self.in_flight.under_way() >= plan.pipeline {
            return false;
        }
        if self.in_flight.under_way() == 0 {
            self.progress = now;
        }
        if plan.is_paced {
            return self.in_flight.begin_next(self.written_bytes);
        }
        self.in_flight.begin(now, now, self.written_bytes);
        true
    }

    fn write_pattern(&self, pattern: Pattern, output: &mut Output<'_>) -> usize {
        let mut portion = [0; PORTION_BYTES];
        let left = self.size_of(self.sent.messages) - self.sent.bytes;
        let portion = &mut portion[..left.min(output.room()).min(PORTION_BYTES)];
        pattern.fill(self.written_bytes, portion);
        output.write(portion)
    }
}
