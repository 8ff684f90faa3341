//! Bytes that had no room in the output of a connection.

use super::Output;

/// Output that had no room yet, in order. For a service that creates a reply once, and cannot create it again from its
/// input.
///
/// [`write`](Self::write) keeps what has no room. While something is kept, the service calls [`flush`](Self::flush)
/// first, returns [`Wait::Writable`](super::Wait::Writable) until nothing is left, and reports
/// [`held_bytes`](Self::held_bytes). The caller limits what it writes: there is no other limit. Owns no heap while
/// nothing is kept.
///
/// ```
/// use multiconn::service::{Context, Input, Output, PendingOutput, Service, Wait};
/// ///
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
///             self.pending.write(output, format!("{}: ", self.count).as_bytes());
///             self.pending.write(output, &input.bytes()[..=end]);
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
pub struct PendingOutput {
    bytes: Vec<u8>,
    /// Number of bytes at the start that the output has taken.
    flushed: usize,
}

impl PendingOutput {
    /// Writes `bytes` to `output`, after those that are kept. Keeps what has no room.
    pub fn write(&mut self, output: &mut Output<'_>, bytes: &[u8]) {
        let written = if self.is_empty() { output.write(bytes) } else { 0 };
        self.bytes.extend_from_slice(&bytes[written..]);
    }

    /// Keeps the bytes that `write` appends, for the next [`flush`](Self::flush).
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
    }

    /// Writes as much as there is room for. Returns whether nothing is kept any more.
    #[inline]
    #[must_use = "as long as something is kept, the service waits for room"]
    pub fn flush(&mut self, output: &mut Output<'_>) -> bool {
        if !self.is_empty() {
            self.flushed += output.write(&self.bytes[self.flushed..]);
            if self.is_empty() {
                *self = Self::default();
            }
        }
        self.is_empty()
    }

    /// Whether nothing is kept.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flushed == self.bytes.len()
    }

    /// Heap memory in bytes, for [`Service::held_bytes`](super::Service::held_bytes).
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns surplus memory.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}
