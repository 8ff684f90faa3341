//! Bounded byte queue between the event loop and a thread that may block. Only the thread waits.

use std::io::ErrorKind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Capacity in bytes: as much as a connection's default buffer.
const CAPACITY: usize = 64 * 1024;

/// Bounded byte queue between the event loop and a thread.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// The producer has no more bytes.
    ended: bool,
    /// The thread has written everything and closed its output.
    finished: bool,
    /// Error that ended the thread.
    broken: Option<ErrorKind>,
    /// The loop does not use the pipe any more.
    abandoned: bool,
}

impl Pipe {
    // Called by the threads.

    /// Waits for room, then appends `bytes`. Returns whether the loop has to be woken, or `None` if it has abandoned
    /// the pipe.
    pub(super) fn put(&self, bytes: &[u8]) -> Option<bool> {
        let mut state = self.wait_while(|state| state.bytes.len() >= CAPACITY && !state.abandoned);
        let was_empty = state.bytes.is_empty();
        state.bytes.extend_from_slice(bytes);
        (!state.abandoned).then_some(was_empty)
    }

    /// Waits for bytes and moves all of them to `chunk`, whose old content is discarded. Returns false after the last
    /// ones.
    pub(super) fn exchange(&self, chunk: &mut Vec<u8>) -> bool {
        chunk.clear();
        let mut state = self.wait_while(|state| state.bytes.is_empty() && !state.ended && !state.abandoned);
        std::mem::swap(&mut state.bytes, chunk);
        !chunk.is_empty() && !state.abandoned
    }

    /// Everything was written, and the output is closed.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
    }

    /// The thread ends because of an error.
    pub(super) fn abort(&self, kind: ErrorKind) {
        let mut state = self.lock();
        state.broken = Some(kind);
        state.bytes.clear();
    }

    // Called by the loop.

    /// Passes the bytes to `take`, which returns how many it has consumed.
    pub(super) fn drain(&self, take: impl FnOnce(&[u8]) -> usize) {
        let mut state = self.lock();
        let count = take(&state.bytes);
        state.bytes.drain(..count);
        self.changed.notify_all();
    }

    /// Appends as many of `bytes` as there is room for, and returns their number.
    pub(super) fn offer(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let count = CAPACITY.saturating_sub(state.bytes.len()).min(bytes.len());
        state.bytes.extend_from_slice(&bytes[..count]);
        self.changed.notify_all();
        count
    }

    /// Appends `bytes` and a line end if there is any room. Returns whether there was.
    pub(super) fn offer_line(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        let has_room = state.bytes.len() < CAPACITY;
        if has_room {
            state.bytes.extend_from_slice(bytes);
            state.bytes.push(b'\n');
            self.changed.notify_all();
        }
        has_room
    }

    /// Discards the content; neither side waits any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.bytes.clear();
        self.changed.notify_all();
    }

    // Called by both.

    /// No more bytes will be appended.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether the pipe is empty and no more bytes will be appended.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.ended && state.bytes.is_empty()
    }

    /// Whether the pipe is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Whether everything appended was written, or never will be.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.lock();
        state.abandoned || state.broken.is_some() || state.finished
    }

    /// Error that ended the thread, if any.
    pub(super) fn broken(&self) -> Option<ErrorKind> {
        self.lock().broken
    }

    /// Ignores poisoning: a panic elsewhere leaves the byte queue valid.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}
