//! What the kernel and the servers know about a connect, and the connection that it made.

use super::Nanos;
use super::plan::Plan;
use super::server::Attempt;
use super::stream::MessageStream;
use crate::client::config::Expect;
use crate::simulated_kernel::{Endpoint, Kernel, Transfer};

/// Facts about an attempt to connect.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the facts are independent, and any combination can occur")]
pub(super) struct Facts {
    pub(super) number: usize,
    pub(super) stream: MessageStream,
    pub(super) opened: Nanos,
    /// When the client learned that the connect had completed.
    pub(super) connected: Option<Nanos>,
    pub(super) closed: Option<Nanos>,
    pub(super) was_registered: bool,
    /// Messages of which the kernel has taken a byte, and all bytes.
    pub(super) begun: u64,
    pub(super) sent: u64,
    /// Messages of which the client has read the correct answer.
    pub(super) answered: u64,
    /// The client has read a wrong byte.
    pub(super) has_read_wrong: bool,
    /// The client has read the end.
    pub(super) has_read_end: bool,
    pub(super) was_reset: bool,
    /// A write took less than it was offered.
    pub(super) was_full: bool,
    pub(super) transfers: Vec<Transfer>,
}

/// Bytes of the answer that the client has compared. What it reads after a timeout, while it ends the connection, is dropped.
fn compared_bytes(plan: &Plan, stream: &MessageStream, endpoint: &Endpoint) -> u64 {
    let before = endpoint.read_before_shut.filter(|before| {
        let begun = stream.begun_messages(endpoint.written_bytes);
        !plan.awaits_close() && stream.answered_messages(plan, *before) < begun
    });
    before.unwrap_or(endpoint.read_bytes)
}

/// Bytes of the answer that the client has compared, and that were right.
pub(super) fn correct_bytes(plan: &Plan, stream: &MessageStream, endpoint: &Endpoint, attempt: &Attempt) -> u64 {
    compared_bytes(plan, stream, endpoint).min(attempt.wrong_at.unwrap_or(u64::MAX))
}

impl Facts {
    pub(super) fn new(plan: &Plan, kernel: &Kernel, attempt: &Attempt, generation: u64) -> Self {
        let stream = plan.stream(attempt.number, generation);
        let endpoint = kernel.endpoint(attempt.endpoint);
        let (compared, correct) =
            (compared_bytes(plan, &stream, endpoint), correct_bytes(plan, &stream, endpoint, attempt));
        let is_compared = |transfer: &&Transfer| !transfer.is_read || transfer.end <= compared;
        Self {
            number: attempt.number,
            opened: endpoint.opened,
            connected: endpoint.connected,
            closed: endpoint.is_closed.then_some(endpoint.closed_at),
            was_registered: endpoint.was_registered,
            begun: stream.begun_messages(endpoint.written_bytes),
            sent: stream.complete_messages(endpoint.written_bytes),
            answered: stream.answered_messages(plan, correct),
            has_read_wrong: compared > correct,
            has_read_end: endpoint.end_read,
            was_reset: endpoint.is_reset,
            was_full: endpoint.was_full,
            transfers: endpoint.transfers.iter().filter(is_compared).copied().collect(),
            stream,
        }
    }

    /// Whether every message that may be sent was answered.
    pub(super) fn is_answered(&self) -> bool {
        self.answered == self.stream.count && !self.has_read_wrong
    }

    /// When the last byte of message `number` was written.
    pub(super) fn sent_at(&self, number: u64) -> Option<Nanos> {
        let end = self.stream.offset_of(number + 1);
        self.transfers.iter().find(|transfer| !transfer.is_read && transfer.end >= end).map(|transfer| transfer.at)
    }

    pub(super) fn last_transfer(&self, is_read: bool) -> Option<Nanos> {
        self.transfers.iter().rfind(|transfer| transfer.is_read == is_read).map(|transfer| transfer.at)
    }

    /// The earliest and the latest instant from which the answer to the oldest unanswered message can be late.
    pub(super) fn awaited_since(&self, plan: &Plan) -> [Nanos; 2] {
        let connected = self.connected.unwrap_or_default();
        let [read, written] = [true, false].map(|is_read| self.last_transfer(is_read).unwrap_or(connected));
        if !plan.counts_replies() {
            return [written, read.max(written)];
        }
        // A part of a frame is not known to be right.
        let is_whole = plan.config.expect == Expect::Any && plan.config.framing.is_some();
        let last = self.answered.checked_sub(1).map_or(0, |last| self.stream.answer_end(plan, last));
        let whole = self.transfers.iter().find(|transfer| transfer.is_read && transfer.end >= last);
        let whole = whole.filter(|_| last > 0).map_or(connected, |transfer| transfer.at);
        let oldest = self.sent_at(self.answered).unwrap_or(written);
        [if is_whole { whole } else { read }.max(oldest), read.max(written)]
    }
}
