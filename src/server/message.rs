//! Messages to workers, and the handles that send them.

use crate::event_loop::{Key, Sender};
use crate::socket::Address;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

/// Facts about a connection for the factory of its service.
#[derive(Debug)]
pub struct ConnectionInfo<'a> {
    /// The number of the connection, counted from 1 over the whole server.
    pub number: u64,
    /// The peer's address.
    pub peer: &'a Address,
    pub(super) sender: &'a Sender<Message>,
    pub(super) key: Key,
}

impl ConnectionInfo<'_> {
    /// A waker for this connection, for other threads or other connections.
    #[must_use]
    pub fn waker(&self) -> ConnectionWaker {
        ConnectionWaker { sender: self.sender.clone(), key: self.key }
    }
}

/// Wakes the service of one connection, from any thread. Does nothing once the connection has ended.
#[derive(Debug, Clone)]
pub struct ConnectionWaker {
    sender: Sender<Message>,
    key: Key,
}

impl ConnectionWaker {
    /// Makes the worker call the service soon.
    pub fn wake(&self) {
        self.sender.send(Message::Wake(self.key));
    }
}

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
    Wake(Key),
    /// Send a duplicate of each listening socket.
    DuplicateListeners(mpsc::Sender<io::Result<OwnedFd>>),
    /// A new process accepts all further connections.
    HandedOver,
    /// Reply, to show that the loop runs.
    Ping(mpsc::Sender<()>),
    /// Another worker has ended.
    Ended,
}
