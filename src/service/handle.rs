//! Handle of a connection: wakes it, sends through it, and closes it, from any thread.

use super::CloseReason;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Controls one connection from any thread, and from other connections. All calls return at once and do nothing once
/// the connection has ended. Clones control the same connection.
///
/// Made by [`Context::handle`](super::Context::handle).
#[derive(Clone)]
pub struct Handle(Arc<Remote>);

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
struct Remote {
    id: u64,
    notify: Arc<dyn Notify>,
    /// Maximum number of bytes that wait to be sent.
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
    /// A handle of the connection `id`; `notify` is informed with `key`. At most `limit` bytes wait to be sent.
    pub(crate) fn new(id: u64, key: u64, limit: usize, notify: Arc<dyn Notify>) -> Self {
        let state = State { key, ..State::default() };
        Self(Arc::new(Remote { id, notify, limit, state: Mutex::new(state) }))
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

    /// Has the service called soon. Several calls before that count as one.
    pub fn wake(&self) {
        self.request(|state| state.requests.wake = true);
    }

    /// Sends `bytes` to the peer, as a whole, after what was sent before. At most
    /// [`Limits::buffer_bytes`](super::Limits::buffer_bytes) wait; the memory counts for the connection. An `Arc<[u8]>`
    /// is shared, not copied, until the socket takes it.
    ///
    /// The bytes go between two calls of the service. A service that writes one message in several calls must not be
    /// sent to.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is sent then.
    pub fn send(&self, bytes: impl Into<Arc<[u8]>>) -> Result<(), SendError> {
        let bytes = bytes.into();
        let mut state = self.state();
        if state.is_closed || state.close.is_some() || state.requests.reset.is_some() {
            return Err(SendError::Closed);
        }
        if bytes.len() > self.0.limit {
            return Err(SendError::TooLarge);
        }
        if state.bytes + bytes.len() > self.0.limit {
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

    /// Closes the connection in order: what waits is sent first.
    pub fn close(&self, reason: CloseReason) {
        self.request(|state| {
            state.close.get_or_insert(reason);
            state.requests.send = true;
        });
    }

    /// Closes the connection at once. What waits is discarded, and the peer reads a reset (TCP).
    pub fn reset(&self, reason: CloseReason) {
        self.request(|state| {
            state.requests.reset.get_or_insert(reason);
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
                NextSend::Message(message)
            }
            Some(message) => {
                state.messages.push_front(message);
                NextSend::Blocked
            }
            None => state.close.map_or(NextSend::Nothing, NextSend::Close),
        }
    }

    /// Number of bytes that wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state().bytes
    }

    /// Accepts no more bytes.
    pub(crate) fn refuse(&self) {
        self.state().is_closed = true;
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

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handle").field("id", &self.0.id).finish_non_exhaustive()
    }
}
