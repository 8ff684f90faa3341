//! Messages from other threads; sending one wakes the loop.

use mio::{Registry, Token, Waker};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// Receiving end, owned by a loop.
#[derive(Debug)]
pub(super) struct Mailbox<M> {
    queue: mpsc::Receiver<M>,
    sender: Sender<M>,
    /// Messages taken from the queue in one call of `receive`; empty between two rounds.
    batch: Vec<M>,
}

/// Sending end; any number of threads may hold one.
#[derive(Debug)]
pub struct Sender<M> {
    queue: mpsc::Sender<M>,
    wakeup: Arc<Wakeup>,
}

/// Wakes the loop, once until it receives.
#[derive(Debug)]
struct Wakeup {
    waker: Waker,
    /// The loop was woken and has not received since. Saves a system call per message of a burst.
    is_pending: AtomicBool,
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), wakeup: Arc::clone(&self.wakeup) }
    }
}

impl<M> Sender<M> {
    /// Sends `message` and wakes the loop. A message to a loop that has ended is dropped.
    pub fn send(&self, message: M) {
        if self.queue.send(message).is_err() || self.wakeup.is_pending.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.wakeup.waker.wake() {
            self.wakeup.is_pending.store(false, Ordering::Release);
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

impl<M> Mailbox<M> {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let wakeup = Arc::new(Wakeup { waker: Waker::new(registry, token)?, is_pending: AtomicBool::new(false) });
        let (sender, queue) = mpsc::channel();
        Ok(Self { queue, sender: Sender { queue: sender, wakeup }, batch: Vec::new() })
    }

    pub(super) fn sender(&self) -> Sender<M> {
        self.sender.clone()
    }

    /// Returns the messages that are queued now. Messages that arrive while these are handled wake the loop again: two
    /// loops that keep answering each other must not starve the other events.
    pub(super) fn receive(&mut self) -> impl Iterator<Item = M> {
        // Before the messages are taken: one that is sent after that wakes the loop.
        self.sender.wakeup.is_pending.swap(false, Ordering::AcqRel);
        self.batch.extend(self.queue.try_iter());
        self.batch.drain(..)
    }
}
