//! Bytes on their way between the loop and a thread that may block. The loop never waits here, the thread does.

use std::io::ErrorKind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many bytes wait between the two: as many as a connection's buffer takes at a time.
const CAPACITY: usize = 64 * 1024;

/// A bounded queue of bytes between the loop and a thread.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Whoever gives has nothing more to give.
    ended: bool,
    /// The thread has written everything and closed its output.
    finished: bool,
    /// The thread can go on no more, and why.
    broken: Option<ErrorKind>,
    /// The loop has no more use for it.
    abandoned: bool,
}

impl Pipe {
    // What the threads do.

    /// Waits until there is room, then puts `bytes` in. Whether the loop has to be told, and none if it is not interested
    /// any more.
    pub(super) fn put(&self, bytes: &[u8]) -> Option<bool> {
        let mut state = self.wait_while(|state| state.bytes.len() >= CAPACITY && !state.abandoned);
        let was_empty = state.bytes.is_empty();
        state.bytes.extend_from_slice(bytes);
        (!state.abandoned).then_some(was_empty)
    }

    /// Waits until there are bytes, and exchanges all of them for those of `chunk`, which were dealt with; false after the
    /// last ones.
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

    // What the loop does.

    /// Offers the bytes to `take`, which says how many it took.
    pub(super) fn drain(&self, take: impl FnOnce(&[u8]) -> usize) {
        let mut state = self.lock();
        let count = take(&state.bytes);
        state.bytes.drain(..count);
        self.changed.notify_all();
    }

    /// Puts in as many of `bytes` as there is room for, and returns how many that were.
    pub(super) fn offer(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let count = CAPACITY.saturating_sub(state.bytes.len()).min(bytes.len());
        state.bytes.extend_from_slice(&bytes[..count]);
        self.changed.notify_all();
        count
    }

    /// Puts in a line of `bytes` if there is any room at all; whether there was.
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

    /// Forget what is in it: nobody takes and nobody gives any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.bytes.clear();
        self.changed.notify_all();
    }

    // What both do.

    /// Nothing more will be put in.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether nothing is in it and nothing more will be.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.ended && state.bytes.is_empty()
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Whether everything that was put in was dealt with, or never will be.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.lock();
        state.abandoned || state.broken.is_some() || state.finished
    }

    /// Why the thread has ended, if it was an error.
    pub(super) fn broken(&self) -> Option<ErrorKind> {
        self.lock().broken
    }

    /// A panic elsewhere leaves a queue of bytes as good as it was.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}
