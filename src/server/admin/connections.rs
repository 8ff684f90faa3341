//! Admin connections: HTTP connections of the first worker, with their own limits.
//!
//! They share the acceptors, the session table, the timers and the ready queue of the worker. They do not count against
//! the limits of the service, are not counted as connections, and are neither logged nor refused. When too many are
//! open, a new one evicts the one that has waited longest.

use super::routes::{PageService, page_service};
use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
use crate::connection::Limits;
use crate::event_loop::{Key, LoopContext};
use crate::pump::{Pump, Session, TimeOnlyObserver};
use crate::server::config::MAX_ADMIN_CONNECTIONS;
use crate::server::shared::Shared;
use crate::socket::Stream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a client may take to send a whole request, counted from the accept or from the answer before. A request
/// usually fits one packet, and a client with infrequent requests can reconnect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to receive a whole answer: 60 KB at 6 KB/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const LINGER: Duration = Duration::from_secs(1);

/// One admin connection.
#[derive(Debug)]
pub(in crate::server) struct AdminConnection {
    pub(in crate::server) session: Session<PageService>,
}

impl AdminConnection {
    pub(in crate::server) fn new(shared: &Arc<Shared>, socket: Stream, now: Instant) -> Self {
        let mut session = Session::new(Some(page_service(shared)), socket, now);
        // The request may have arrived already: it is answered before another connection replaces this one.
        session.connection.handle_event(true, true, false);
        Self { session }
    }

    /// Runs a turn. Returns whether the connection is over, or has exceeded its timeout.
    pub(in crate::server) fn turn(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        pool: &mut BufferPool,
        admin: &AdminConnections,
    ) -> bool {
        let observer = &mut TimeOnlyObserver(context.now);
        let mut pump = Pump { pool, memory: &admin.memory, limits: &admin.limits, observer };
        let is_closed = self.session.turn(&mut pump, context, key).closed().is_some();
        let (is_answering, since) = self.wait_state();
        let deadline = since + if is_answering { ANSWER_TIMEOUT } else { REQUEST_TIMEOUT };
        self.session.arm(context, key, Some(deadline));
        is_closed || context.now >= deadline
    }

    /// Whether the connection is sending an answer rather than awaiting a request, and since when.
    fn wait_state(&self) -> (bool, Instant) {
        let opened = self.session.connection.opened();
        let page = self.session.connection.service();
        page.map_or((false, opened), |page| (page.is_answering(), page.waiting_since().unwrap_or(opened)))
    }
}

/// The admin connections that are open, and their limits.
#[derive(Debug)]
pub(in crate::server) struct AdminConnections {
    /// In the order of their accepts: several can wait since the same round of the loop.
    keys: Vec<Key>,
    /// Separate from that of the service, so that the pages are served even when that is full. There are only a few
    /// connections, and their buffers are bounded.
    pub(in crate::server) memory: MemoryAccount,
    pub(in crate::server) limits: Limits,
}

impl AdminConnections {
    pub(in crate::server) fn new() -> Self {
        let limits = Limits { turn_bytes: BLOCK_BYTES, linger: LINGER, ..Limits::without_timeouts() };
        Self { keys: Vec::new(), memory: MemoryAccount::unlimited(), limits }
    }

    /// The number of open connections.
    pub(in crate::server) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(in crate::server) fn add(&mut self, key: Key) {
        self.keys.push(key);
    }

    pub(in crate::server) fn remove(&mut self, key: Key) {
        self.keys.retain(|other| *other != key);
    }

    /// The connection that a new one evicts; none while there is room. It is the one that has waited longest. Those with
    /// a complete request come last.
    pub(in crate::server) fn connection_to_evict<'a>(
        &self,
        mut connection: impl FnMut(Key) -> Option<&'a AdminConnection>,
    ) -> Option<Key> {
        let is_full = self.keys.len() >= MAX_ADMIN_CONNECTIONS;
        let longest = || self.keys.iter().copied().min_by_key(|key| connection(*key).map(AdminConnection::wait_state));
        is_full.then(longest).flatten()
    }
}
