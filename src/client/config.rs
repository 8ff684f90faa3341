//! What a client is asked to do.

use crate::error::Error;
use crate::service::search::Request;
use crate::socket::{Endpoint, SocketOptions, TlsClientOptions};
use std::time::Duration;

/// The two messages of the tutorial's client.
pub(super) const TUTORIAL_MESSAGES: [&str; 2] = ["Message 1 from client.", "Message 2 from client."];

/// How many connects are in progress at a time. A listener's backlog holds 4,096; an eighth of that leaves room for
/// others and still fills any path with a round trip below 100 ms at 5,000 connections a second.
const MAX_CONNECTING: usize = 512;

/// How long a connect may take. Covers three lost SYNs (1 + 2 + 4 seconds, RFC 6298).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The descriptors kept back for everything that is not a connection.
const RESERVED: usize = 32;

/// The descriptors each worker needs: the poll, its copy for registering, the waker.
const RESERVED_PER_WORKER: usize = 4;

/// The configuration of a [`Client`](super::Client).
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where to connect. All addresses of a name are tried in turn.
    pub target: Endpoint,
    /// How many connections to open. Default: 1.
    pub connections: usize,
    /// The messages each connection sends, one after the other, from the first again when more are wanted. Default: the
    /// two of the tutorial.
    pub messages: Vec<Vec<u8>>,
    /// What to ask a server of the message protocol: sent instead of `messages`, in the same way. Each must be answered,
    /// and rightly: a value of the tutorial's table with the table's text, a binary request with its first ten bytes,
    /// any other value always in the same way. Default: nothing.
    pub requests: Vec<Request>,
    /// How many messages each connection sends. Default: each of `messages` once.
    pub messages_per_connection: Option<u64>,
    /// How many messages of a connection may be unanswered at a time. Default: all.
    pub pipeline: Option<u64>,
    /// Once every connection was tried, keep them open for this long. Default: each closes when it is done.
    pub hold: Option<Duration>,
    /// How many connects may be in progress at a time. Default: 512.
    pub max_connecting: usize,
    /// How long a connect may take, for each address. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// How long a reply may take. Default: 10 seconds.
    pub reply_timeout: Duration,
    /// How many workers, each one loop on one thread. Default: 1.
    pub workers: usize,
    /// TLS on every connection; its handshake is part of the connect, and bounded by `connect_timeout`. Default: plain text.
    pub tls: Option<TlsClientOptions>,
    /// The options of the sockets.
    pub socket: SocketOptions,
    /// Whether SIGINT and SIGTERM end the run with a report of what was done so far. Default: no.
    pub handle_signals: bool,
    /// Descriptors that others in the same process need, such as a server. Default: 0.
    pub other_descriptors: usize,
}

impl ClientConfig {
    /// The defaults: one connection to `target`.
    #[must_use]
    pub fn to(target: Endpoint) -> Self {
        Self {
            target,
            connections: 1,
            messages: TUTORIAL_MESSAGES.iter().map(|text| text.as_bytes().to_vec()).collect(),
            requests: Vec::new(),
            messages_per_connection: None,
            pipeline: None,
            hold: None,
            max_connecting: MAX_CONNECTING,
            connect_timeout: CONNECT_TIMEOUT,
            reply_timeout: REPLY_TIMEOUT,
            workers: 1,
            tls: None,
            socket: SocketOptions::default(),
            handle_signals: false,
            other_descriptors: 0,
        }
    }

    /// What goes out, message by message. Requests say that they will not be the only ones if that is so, or if the
    /// connection is to be held: then the server keeps it.
    pub(super) fn take_messages(&mut self) -> Vec<Vec<u8>> {
        if self.requests.is_empty() {
            return std::mem::take(&mut self.messages);
        }
        let total = self.messages_per_connection.unwrap_or(self.requests.len() as u64);
        let keeps_alive = total > 1 || self.hold.is_some();
        self.requests.iter().map(|request| request.message(keeps_alive)).collect()
    }

    /// Whether the work can be done when `descriptors` may be open.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for work that can never be done, [`Error::Descriptors`] when there are too few.
    pub(super) fn check(&self, descriptors: u64) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if matches!(&self.target, Endpoint::Tcp { host, .. } if host.is_empty()) {
            return refuse("\"\" is no host to connect to; give an address or a name such as 127.0.0.1");
        }
        if self.connections == 0 {
            return refuse("0 connections do nothing; give 1 or more");
        }
        if self.workers == 0 || self.max_connecting == 0 {
            return refuse("0 workers, or 0 connects at a time, do nothing; give 1 or more");
        }
        if self.connect_timeout.is_zero() || self.reply_timeout.is_zero() {
            return refuse(
                "a timeout of 0 gives up at once; give more, such as --connect-timeout 10s --reply-timeout 10s",
            );
        }
        self.socket.check()?;
        if self.pipeline == Some(0) {
            return refuse("a pipeline of 0 messages sends nothing; give 1 or more");
        }
        if self.messages.is_empty() || self.messages.iter().any(Vec::is_empty) {
            return refuse("an empty message cannot be told apart in an echo; give at least 1 byte, such as \"hello\"");
        }
        // Whatever numbers were typed, their sum is no small one.
        let per_worker = self.workers.saturating_mul(RESERVED_PER_WORKER);
        let others = self.other_descriptors.saturating_add(RESERVED).saturating_add(per_worker);
        let needed = self.connections.saturating_add(others) as u64;
        if needed > descriptors {
            let workers = if self.workers > 1 { format!(" and {} workers", self.workers) } else { String::new() };
            let wanted = format!("{} connections{workers}", self.connections);
            return Err(Error::Descriptors { wanted, needed, available: descriptors });
        }
        Ok(())
    }
}
