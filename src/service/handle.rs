//! Handle of a connection: wakes it, sends through it, and closes it, from any thread.

use super::CloseReason;
use crate::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError};

/// Memory in bytes that a waiting message takes besides its own bytes: its place in the queue, and the counts and the
/// rounding of its allocation. Without it, one-byte messages would hold fifty times as much memory as is counted.
const MESSAGE_BYTES: usize = 64;

/// Places for messages that an empty queue keeps: the first allocation.
const KEPT_MESSAGES: usize = 4;

/// Controls one connection from any thread, and from other connections. All calls return at once and do nothing once
/// the connection has ended. Clones control the same connection.
///
/// Made by [`Context::handle`](super::Context::handle).
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// Why [`Handle::send`] did not accept bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Earlier bytes wait, and the limit would be exceeded: the peer reads too slowly.
    #[error("the connection's send queue is full")]
    Full,
    /// The bytes exceed the limit by themselves.
    #[error("the bytes do not fit the connection's buffer")]
    TooLarge,
    /// The connection has ended its output, or has ended.
    #[error("the connection is closed")]
    Closed,
}

/// Informs the loop of a connection that its handle was used.
pub(crate) trait Notify: Send + Sync {
    /// The connection with `key` has requests. Called once until they are taken.
    fn notify(&self, key: u64);
}

/// The side of a connection that handles share with it.
struct Shared {
    id: u64,
    notify: Arc<dyn Notify>,
    /// Maximum number of bytes that wait to be sent, with [`MESSAGE_BYTES`] for each message after the first.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The key with which the loop knows the connection.
    key: u64,
    /// No bytes are accepted.
    is_closed: bool,
    /// The loop was informed and has not taken the requests yet.
    is_notified: bool,
    requests: Requests,
    /// Close in order, after the messages.
    close: Option<CloseReason>,
    messages: VecDeque<Arc<[u8]>>,
    /// Number of bytes in the messages.
    bytes: usize,
}

/// What handles asked of a connection since the last time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Requests {
    /// Call the service.
    pub(crate) wake: bool,
    /// See [`Handle::next_send`].
    pub(crate) send: bool,
    /// Close at once, by a reset.
    pub(crate) reset: Option<CloseReason>,
}

/// What a handle sends next.
#[derive(Debug)]
pub(crate) enum NextSend {
    /// These bytes.
    Message(Arc<[u8]>),
    /// More bytes than there is room for.
    Blocked,
    /// Nothing more: close in order.
    Close(CloseReason),
    /// Nothing for now.
    Nothing,
}

impl Handle {
    /// A handle of the connection `id`; `notify` is informed with `key`. About `limit` bytes may wait to be sent.
    pub(crate) fn new(id: u64, key: u64, limit: usize, notify: Arc<dyn Notify>) -> Self {
        let state = State { key, ..State::default() };
        Self(Arc::new(Shared { id, notify, limit, state: Mutex::new(state) }))
    }

    /// As [`new`](Self::new), for a connection that the loop does not know yet. The loop is not informed before
    /// [`attach`](Self::attach), after which it has to take the requests once.
    pub(crate) fn detached(id: u64, limit: usize, notify: Arc<dyn Notify>) -> Self {
        let handle = Self::new(id, 0, limit, notify);
        handle.state().is_notified = true;
        handle
    }

    /// Sets the key of the connection.
    pub(crate) fn attach(&self, key: u64) {
        self.state().key = key;
    }

    /// A handle without a connection.
    pub(crate) fn inert() -> Self {
        struct Ignore;
        impl Notify for Ignore {
            fn notify(&self, _key: u64) {}
        }
        Self::new(0, 0, 0, Arc::new(Ignore))
    }

    /// The number of the connection: see [`Context::id`](super::Context::id).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Calls the service soon. Several calls before that count as one.
    pub fn wake(&self) {
        self.request(|state| state.requests.wake = true);
    }

    /// Sends `bytes` to the peer, as a whole, after what was sent before. At most
    /// [`Limits::buffer_bytes`](super::Limits::buffer_bytes) wait, where each message counts 64 bytes more than it has;
    /// the memory counts for the connection. An `Arc<[u8]>` is shared, not copied, until it is the next to be written.
    ///
    /// The bytes go between two calls of the service, and before what the service writes later, but not while it waits for
    /// [`Wait::Writable`](super::Wait): the rest of its message goes first. A service that writes one message in several
    /// calls and waits in another way must not be sent to.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is sent then.
    pub fn send(&self, bytes: impl Into<Arc<[u8]>>) -> Result<(), SendError> {
        let bytes = bytes.into();
        let mut state = self.state();
        if state.is_closed {
            return Err(SendError::Closed);
        }
        if bytes.len() > self.0.limit {
            return Err(SendError::TooLarge);
        }
        if !state.messages.is_empty() && state.held_bytes() + MESSAGE_BYTES + bytes.len() > self.0.limit {
            return Err(SendError::Full);
        }
        if !bytes.is_empty() {
            state.bytes += bytes.len();
            state.messages.push_back(bytes);
            state.requests.send = true;
            self.notify(state);
        }
        Ok(())
    }

    /// Closes the connection in order: what waits is sent first. A service that waits for [`Wait::Writable`](super::Wait)
    /// is not called again.
    pub fn close(&self, reason: CloseReason) {
        self.request(|state| {
            state.close.get_or_insert(reason);
            state.is_closed = true;
            state.requests.send = true;
        });
    }

    /// Closes the connection at once. What waits is discarded, and the peer reads a reset (TCP).
    pub fn reset(&self, reason: CloseReason) {
        self.request(|state| {
            state.requests.reset.get_or_insert(reason);
            state.is_closed = true;
        });
    }

    /// Takes the requests since the last time.
    pub(crate) fn take_requests(&self) -> Requests {
        let mut state = self.state();
        state.is_notified = false;
        std::mem::take(&mut state.requests)
    }

    /// Takes what is sent next, with `room` for that many bytes.
    pub(crate) fn next_send(&self, room: usize) -> NextSend {
        let mut state = self.state();
        match state.messages.pop_front() {
            Some(message) if message.len() <= room => {
                state.bytes -= message.len();
                state.release_storage();
                NextSend::Message(message)
            }
            Some(message) => {
                state.messages.push_front(message);
                NextSend::Blocked
            }
            None => state.close.map_or(NextSend::Nothing, NextSend::Close),
        }
    }

    /// Whether the connection closes when nothing waits any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.state().close.is_some()
    }

    /// Memory in bytes of the messages that wait to be sent; 0 if none does.
    pub(crate) fn held_bytes(&self) -> usize {
        self.state().held_bytes()
    }

    /// Accepts no more bytes.
    pub(crate) fn refuse(&self) {
        self.state().is_closed = true;
    }

    /// Accepts no more bytes and drops those that wait: nothing more can be sent.
    pub(crate) fn discard(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.bytes = 0;
        state.messages = VecDeque::new();
    }

    /// Accepts no more bytes and drops those that wait: the connection has ended.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        *state = State { is_closed: true, is_notified: true, ..State::default() };
    }

    fn request(&self, set: impl FnOnce(&mut State)) {
        let mut state = self.state();
        set(&mut state);
        self.notify(state);
    }

    /// Informs the loop, unless it was informed. The lock is released first.
    fn notify(&self, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.is_notified, true) {
            let key = state.key;
            drop(state);
            self.0.notify.notify(key);
        }
    }

    /// Nothing that runs under the lock panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held_bytes(&self) -> usize {
        self.bytes + self.messages.len() * MESSAGE_BYTES
    }

    /// A connection to which nothing is sent keeps no large queue.
    fn release_storage(&mut self) {
        if self.messages.is_empty() && self.messages.capacity() > KEPT_MESSAGES {
            self.messages = VecDeque::new();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handle").field("id", &self.0.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{CloseReason, Handle, KEPT_MESSAGES, MESSAGE_BYTES, NextSend, Notify, SendError};
    use std::sync::Arc;

    struct Ignore;

    impl Notify for Ignore {
        fn notify(&self, _key: u64) {}
    }

    #[test]
    fn the_memory_of_small_messages_is_limited_and_released() {
        let limit = 1 << 16;
        let handle = Handle::new(1, 1, limit, Arc::new(Ignore));
        let accepted = (0..limit).take_while(|_| handle.send([b'x']).is_ok()).count();
        assert_eq!(accepted, limit / (MESSAGE_BYTES + 1));
        assert_eq!(handle.send([b'x']), Err(SendError::Full));
        let held = handle.held_bytes();
        assert!((limit - MESSAGE_BYTES..=limit).contains(&held), "{held} bytes are counted");
        for _ in 0..accepted {
            assert!(matches!(handle.next_send(1), NextSend::Message(_)));
        }
        assert!(matches!(handle.next_send(1), NextSend::Nothing));
        assert_eq!(handle.held_bytes(), 0);
        assert!(handle.state().messages.capacity() <= KEPT_MESSAGES);
    }

    #[test]
    fn a_shared_message_is_not_copied() {
        let (handle, message) = (Handle::new(1, 1, 64, Arc::new(Ignore)), Arc::<[u8]>::from(&b"shared"[..]));
        handle.send(Arc::clone(&message)).expect("room");
        assert!(matches!(handle.next_send(5), NextSend::Blocked));
        let NextSend::Message(sent) = handle.next_send(6) else { panic!("it fits") };
        assert!(Arc::ptr_eq(&sent, &message));
        handle.close(CloseReason::Idle);
        assert!(matches!(handle.next_send(0), NextSend::Close(CloseReason::Idle)));
    }
}
