//! The bytes that a connection has to send, and the answer to them.

use super::plan::{Answer, Plan};
use crate::client::check::generated_bytes::Pattern;
use crate::client::config::ClientConfig;
use std::sync::Arc;

/// Messages of one connection.
#[derive(Debug)]
pub(super) struct MessageStream {
    messages: Arc<[Vec<u8>]>,
    pattern: Option<(Pattern, u64)>,
    /// Bytes of all messages; of one, if they are generated.
    cycle_bytes: u64,
    /// Number of the first message, of those of the connection and the ones that it replaces.
    first: u64,
    /// Messages to send, at most.
    pub(super) count: u64,
}

impl MessageStream {
    pub(super) fn new(config: &ClientConfig, messages: &Arc<[Vec<u8>]>, number: u64, generation: u64) -> Self {
        let reconnect_every = config.load.reconnect_every;
        let first = generation * reconnect_every.unwrap_or(0);
        let total = config.total_messages(messages.len());
        let stream = number + generation * config.connections as u64;
        let pattern = config.size.map(|size| (Pattern::new(config.load.seed, stream), size as u64));
        let count = total.saturating_sub(first).min(reconnect_every.unwrap_or(u64::MAX));
        let cycle_bytes =
            pattern.map_or_else(|| messages.iter().map(|message| message.len() as u64).sum(), |(_, size)| size);
        Self { messages: Arc::clone(messages), pattern, cycle_bytes, first, count }
    }

    fn message(&self, number: u64) -> &[u8] {
        let index = (self.first + number) % self.messages.len() as u64;
        &self.messages[usize::try_from(index).expect("there are few messages")]
    }

    fn size_of(&self, number: u64) -> u64 {
        self.pattern.map_or_else(|| self.message(number).len() as u64, |(_, size)| size)
    }

    /// Number of messages that lie completely in the first `bytes`, and where the last one of them ends.
    fn position(&self, bytes: u64) -> (u64, u64) {
        if let Some((_, size)) = self.pattern {
            return (bytes / size, bytes / size * size);
        }
        let cycles = bytes / self.cycle_bytes;
        let (mut number, mut end) = (cycles * self.messages.len() as u64, cycles * self.cycle_bytes);
        while end + self.size_of(number) <= bytes {
            end += self.size_of(number);
            number += 1;
        }
        (number, end)
    }

    /// Messages that lie completely in the first `bytes`.
    pub(super) fn complete_messages(&self, bytes: u64) -> u64 {
        self.position(bytes).0
    }

    /// Messages that begin in the first `bytes`.
    pub(super) fn begun_messages(&self, bytes: u64) -> u64 {
        let (complete, end) = self.position(bytes);
        complete + u64::from(end < bytes)
    }

    /// Where message `number` begins.
    pub(super) fn offset_of(&self, number: u64) -> u64 {
        let cycle = if self.pattern.is_some() { 1 } else { self.messages.len() as u64 };
        let rest: u64 = (0..number % cycle).map(|number| self.size_of(number)).sum();
        number / cycle * self.cycle_bytes + rest
    }

    /// The bytes from `offset` on.
    pub(super) fn fill(&self, offset: u64, bytes: &mut [u8]) {
        if let Some((pattern, _)) = self.pattern {
            return pattern.fill(offset, bytes);
        }
        let (mut number, begin) = self.position(offset);
        let mut within = usize::try_from(offset - begin).expect("messages are small");
        for byte in bytes {
            *byte = self.message(number)[within];
            within += 1;
            if within == self.message(number).len() {
                (number, within) = (number + 1, 0);
            }
        }
    }

    /// Bytes of the answer to the first `received` bytes.
    pub(super) fn answer_bytes(&self, plan: &Plan, received: u64) -> u64 {
        match plan.answer {
            Answer::Echo => received,
            Answer::Sized(size) => self.complete_messages(received) * size as u64,
            Answer::Nothing => 0,
        }
    }

    /// Byte `offset` of the answer.
    pub(super) fn answer_byte(&self, plan: &Plan, offset: u64) -> u8 {
        let mut byte = [b'x'];
        if plan.answer == Answer::Echo {
            self.fill(offset, &mut byte);
        }
        byte[0]
    }

    /// Messages that the first `received` bytes of the answer answer.
    pub(super) fn answered_messages(&self, plan: &Plan, received: u64) -> u64 {
        match plan.answer {
            Answer::Echo => self.complete_messages(received),
            Answer::Sized(size) => received / size as u64,
            Answer::Nothing => 0,
        }
    }

    /// Bytes of the answer up to the end of that to message `number`.
    pub(super) fn answer_end(&self, plan: &Plan, number: u64) -> u64 {
        match plan.answer {
            Answer::Echo => self.offset_of(number + 1),
            Answer::Sized(size) => (number + 1) * size as u64,
            Answer::Nothing => 0,
        }
    }
}
