//! Wakes of connections by their handles: from other threads through the mailbox, on the worker's own thread at once.

use crate::event_loop::{Key, Sender};
use crate::server::message::Message;
use crate::service::Notify;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// The worker that runs on this thread; 0 for none.
    static RUNNING: Cell<u64> = const { Cell::new(0) };
    /// Connections of that worker that were woken and not served since, in the order of their wakes.
    static WOKEN: RefCell<Vec<Key>> = const { RefCell::new(Vec::new()) };
}

/// Informs a worker that a handle of one of its connections was used.
pub(super) struct WorkerNotify {
    worker: u64,
    sender: Sender<Message>,
}

impl Notify for WorkerNotify {
    fn notify(&self, key: u64) {
        let key = Key::from(key);
        if RUNNING.get() == self.worker {
            push(key);
        } else {
            self.sender.send(Message::Wake(key));
        }
    }
}

/// Adds a connection of the worker that runs on this thread to those that were woken.
pub(super) fn push(key: Key) {
    WOKEN.with_borrow_mut(|woken| woken.push(key));
}

/// Runs `act` as another thread would.
#[cfg(all(test, multiconn_simulated))]
pub(super) fn on_another_thread(act: impl FnOnce()) {
    let worker = RUNNING.replace(0);
    act();
    RUNNING.set(worker);
}

/// Connections that were woken on the thread of their worker.
#[derive(Debug)]
pub(super) struct LocalWakes {
    worker: u64,
    /// Storage of the last batch, to be used again.
    spare: Vec<Key>,
}

impl LocalWakes {
    /// Collects the wakes of the worker that runs on this thread from now on.
    pub(super) fn of_new_worker() -> Self {
        static WORKERS: AtomicU64 = AtomicU64::new(0);
        let worker = WORKERS.fetch_add(1, Ordering::Relaxed) + 1;
        RUNNING.set(worker);
        WOKEN.take();
        Self { worker, spare: Vec::new() }
    }

    pub(super) fn notify(&self, sender: Sender<Message>) -> WorkerNotify {
        WorkerNotify { worker: self.worker, sender }
    }

    /// Lets the worker of these wakes run on this thread, instead of another one.
    #[cfg(all(test, multiconn_simulated))]
    pub(super) fn enter(&self) {
        assert!(self.is_empty(), "the other worker has left connections that were woken");
        RUNNING.set(self.worker);
    }

    /// Whether no connection was woken since the last batch.
    #[inline]
    #[expect(clippy::unused_self, reason = "there is one on each thread")]
    pub(super) fn is_empty(&self) -> bool {
        WOKEN.with_borrow(Vec::is_empty)
    }

    /// Takes the keys of the connections that were woken, in the order of their wakes.
    pub(super) fn take(&mut self) -> Vec<Key> {
        WOKEN.replace(std::mem::take(&mut self.spare))
    }

    /// Keeps the storage of a batch for the next one.
    pub(super) fn recycle(&mut self, mut batch: Vec<Key>) {
        batch.clear();
        self.spare = batch;
    }
}

impl Drop for LocalWakes {
    fn drop(&mut self) {
        RUNNING.set(0);
        WOKEN.take();
    }
}
