//! Expectation of an echo: every byte comes back as it was sent.

use super::{Checked, Exchange, Position};
use crate::client::pattern::Pattern;
use crate::client::report::Mismatch;

/// Maximum number of expected and of received bytes in a mismatch.
const SHOWN_BYTES: usize = 16;

impl Exchange {
    /// Compares the beginning of the received bytes with the bytes sent. They must not be ahead of what was sent.
    pub(super) fn check_echo(&self, received: &[u8]) -> Result<Checked, Mismatch> {
        let Position { messages, bytes } = self.verified;
        let size = self.size_of(messages);
        // Bytes that were not sent yet cannot come back.
        let end = if messages < self.sent.messages { size } else { self.sent.bytes };
        let count = (end - bytes).min(received.len());
        let same = match self.pattern {
            Some(pattern) => pattern.difference(self.verified_bytes, &received[..count]),
            None => first_difference(&self.message(messages)[bytes..bytes + count], &received[..count]),
        };
        match same {
            None if count > 0 => Ok(Checked::Correct { bytes: count, ends_message: bytes + count == size }),
            same => Err(self.mismatch(same.unwrap_or(0), (bytes, end), received)),
        }
    }

    /// Describes a difference after `same` equal bytes of `from..end` of the message being verified.
    fn mismatch(&self, same: usize, (from, end): (usize, usize), received: &[u8]) -> Mismatch {
        let shown = (end - from - same).min(SHOWN_BYTES);
        let expected = match self.pattern {
            Some(pattern) => pattern_bytes(pattern, self.verified_bytes + same as u64, shown),
            None => self.message(self.verified.messages)[from + same..from + same + shown].to_vec(),
        };
        Mismatch {
            connection: self.number,
            offset: self.verified_bytes + same as u64,
            expected,
            received: received[same..received.len().min(same + SHOWN_BYTES)].to_vec(),
            surplus_bytes: if from == end { received.len() } else { 0 },
        }
    }
}

fn first_difference(expected: &[u8], received: &[u8]) -> Option<usize> {
    if expected == received {
        return None;
    }
    expected.iter().zip(received).position(|(expected, received)| expected != received)
}

fn pattern_bytes(pattern: Pattern, offset: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    pattern.fill(offset, &mut bytes);
    bytes
}
