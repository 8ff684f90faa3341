//! Messages to workers, and the handle of a server, which sends them.

use super::resolver::Resolved;
use crate::event_loop::{Key, Sender};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

/// Shuts down a running server, from any thread.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    pub(super) workers: Vec<Sender<Message>>,
}

impl ServerHandle {
    /// Stops accepting, answers what was received, then ends; at the latest after the drain timeout.
    pub fn drain(&self) {
        self.workers.iter().for_each(|worker| worker.send(Message::Drain));
    }

    /// Ends at once and discards unsent output.
    pub fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.send(Message::Stop));
    }
}

/// A message to a worker.
#[derive(Debug)]
pub(super) enum Message {
    Drain,
    Stop,
    /// A handle of this connection was used.
    Wake(Key),
    /// The lookup of the name of this outgoing connection is complete.
    Resolved(Key, Resolved),
    /// Send a duplicate of each listening socket.
    DuplicateListeners(mpsc::Sender<io::Result<OwnedFd>>),
    /// All workers are ready, and the old process was told: accept connections.
    Serve,
    /// A new process accepts all further connections.
    HandedOver,
    /// Reply, to show that the loop runs.
    Ping(mpsc::Sender<()>),
    /// Another worker has ended.
    Ended,
}
