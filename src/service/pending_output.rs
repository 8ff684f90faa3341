//! Messages that had no room in the output of a connection.

use super::Output;
use std::collections::VecDeque;

/// Messages that had no room in the output, in order. For a service that creates a reply once, and cannot create it
/// again from its input.
///
/// A message is written when there is room for all of it, so that bytes of a [`Handle`](super::Handle) never come
/// between its parts. Only one that is larger than the whole output is written in parts.
///
/// While a message is kept, the service calls [`flush`](Self::flush) first, returns
/// [`Wait::Writable`](super::Wait::Writable) until nothing is left, and reports [`held_bytes`](Self::held_bytes). The
/// caller limits what it writes: there is no other limit. Owns no heap while nothing is kept.
///
/// ```
/// use multiconn::service::{Context, Input, Output, PendingOutput, Service, Wait};
///
/// /// Numbers the lines that it sends back.
/// #[derive(Default)]
/// struct Numbered {
///     count: u64,
///     pending: PendingOutput,
/// }
///
/// impl Service for Numbered {
///     fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
///         while self.pending.flush(output) {
///             let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else { return Wait::Input };
///             self.count += 1;
///             let number = format!("{}: ", self.count);
///             self.pending.write(output, &[number.as_bytes(), &input.bytes()[..=end]].concat());
///             input.consume(end + 1);
///         }
///         Wait::Writable
///     }
///
///     fn held_bytes(&self) -> usize {
///         self.pending.held_bytes()
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct PendingOutput(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// All messages, one after the other.
    bytes: Vec<u8>,
    /// Number of bytes at the start that the output has taken.
    flushed: usize,
    /// Where each message ends in `bytes`.
    ends: VecDeque<usize>,
}

impl PendingOutput {
    /// Writes one message to `output`, or keeps it, if there is no room or earlier ones are kept.
    pub fn write(&mut self, output: &mut Output<'_>, message: &[u8]) {
        if self.0.is_some() || !output.write_whole(message) {
            self.push_with(|bytes| bytes.extend_from_slice(message));
        }
    }

    /// Keeps the message that `write` appends, for the next [`flush`](Self::flush).
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let kept = self.0.get_or_insert_default();
        write(&mut kept.bytes);
        kept.ends.push_back(kept.bytes.len());
    }

    /// Writes as many messages as there is room for. Returns whether nothing is kept any more.
    #[inline]
    #[must_use = "as long as something is kept, the service waits for room"]
    pub fn flush(&mut self, output: &mut Output<'_>) -> bool {
        if self.0.as_mut().is_some_and(|kept| kept.flush(output)) {
            self.0 = None;
        }
        self.0.is_none()
    }

    /// Whether nothing is kept.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Heap memory in bytes, for [`Service::held_bytes`](super::Service::held_bytes).
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |kept| size_of::<Kept>() + kept.bytes.capacity() + kept.ends.capacity() * size_of::<usize>())
    }

    /// Returns surplus memory.
    pub(super) fn shrink(&mut self) {
        if let Some(kept) = &mut self.0 {
            kept.bytes.shrink_to_fit();
            kept.ends.shrink_to_fit();
        }
    }
}

impl Kept {
    /// Returns whether all messages were written.
    fn flush(&mut self, output: &mut Output<'_>) -> bool {
        while let Some(&end) = self.ends.front() {
            let message = &self.bytes[self.flushed..end];
            if message.len() > output.limit() {
                self.flushed += output.write(message);
                return false;
            }
            if !output.write_whole(message) {
                return false;
            }
            self.flushed = end;
            self.ends.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Output, PendingOutput};
    use crate::buffer::{Buffer, BufferPool};

    /// Writes as many as there is room for, then has the peer take everything; returns what it takes each time.
    fn taken(limit: usize, messages: &[&[u8]]) -> Vec<String> {
        let (mut pending, mut buffer, mut pool) = (PendingOutput::default(), Buffer::new(), BufferPool::new());
        let mut all = Vec::new();
        for message in messages {
            pending.write(&mut Output::new(&mut buffer, &mut pool, limit), message);
        }
        loop {
            let is_flushed = pending.flush(&mut Output::new(&mut buffer, &mut pool, limit));
            all.push(String::from_utf8_lossy(buffer.bytes()).into_owned());
            assert_eq!((pending.is_empty(), pending.held_bytes() == 0), (is_flushed, is_flushed));
            if is_flushed {
                return all;
            }
            buffer.clear();
        }
    }

    #[test]
    fn messages_stay_whole() {
        assert_eq!(taken(8, &[b"one", b"two", b"three", b"", b"4"]), ["onetwo", "three4"]);
        assert_eq!(taken(8, &[b"one", b"12345678", b"two"]), ["one", "12345678", "two"]);
        assert_eq!(taken(100, &[b"one", b"two"]), ["onetwo"]);
        assert_eq!(taken(100, &[]), [""]);
    }

    #[test]
    fn a_message_larger_than_the_output_is_written_in_parts() {
        assert_eq!(taken(4, &[b"one", b"0123456789", b"two"]), ["one0", "1234", "5678", "9two"]);
    }
}
