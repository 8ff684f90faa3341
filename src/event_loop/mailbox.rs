//! Messages from other threads; sending one wakes the loop.

use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::mpsc;

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
    waker: Arc<Waker>,
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<M> Sender<M> {
    /// Sends `message` and wakes the loop. A message to a loop that has ended is dropped.
    pub fn send(&self, message: M) {
        if self.queue.send(message).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

impl<M> Mailbox<M> {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Arc::new(Waker::new(registry, token)?);
        let (sender, queue) = mpsc::channel();
        Ok(Self { queue, sender: Sender { queue: sender, waker }, batch: Vec::new() })
    }

    pub(super) fn sender(&self) -> Sender<M> {
        self.sender.clone()
    }

    /// Returns the messages that are queued now. Messages that arrive while these are handled wake the loop again: two
    /// loops that keep answering each other must not starve the other events.
    pub(super) fn receive(&mut self) -> impl Iterator<Item = M> {
        self.batch.extend(self.queue.try_iter());
        self.batch.drain(..)
    }
}
