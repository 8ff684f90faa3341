//! State shared by all workers of a server.

use super::admission::Admission;
use super::config::ServerConfig;
use super::counters::Counters;
use super::handover::Handover;
use super::malformed::MalformedCount;
use super::message::{Message, ServerHandle};
use super::process::Process;
use super::resolver::Resolver;
use super::service_manager::ServiceManager;
use super::tls_reload::ReloadableTls;
use crate::buffer::MemoryAccount;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// State shared by all workers. It is touched when a connection opens or closes, never per message.
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) admission: Admission,
    /// Memory that all connections hold between their turns.
    pub(super) memory: MemoryAccount,
    /// None for plain text.
    pub(super) tls: Option<Arc<ReloadableTls>>,
    /// The number of the newest connection, accepted or outgoing.
    pub(super) last_number: AtomicU64,
    pub(super) malformed: MalformedCount,
    /// Workers that have not ended yet.
    pub(super) running: AtomicUsize,
    /// Workers that are not ready yet.
    pub(super) starting: AtomicUsize,
    pub(super) handle: ServerHandle,
    /// The counters of each worker, which only that worker writes.
    pub(super) counters: Vec<Counters>,
    /// The ports on which datagrams are answered, on any address.
    pub(super) datagram_ports: Vec<u16>,
    pub(super) process: Process,
    pub(super) handover: Handover,
    pub(super) service_manager: ServiceManager,
    /// Resolves the names of outgoing connections.
    pub(super) resolver: Resolver,
}

impl Shared {
    /// The number of a new connection, counted from 1.
    pub(super) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a worker as ready. The last one reports that to the old process or else to the service manager.
    pub(super) fn worker_is_ready(&self) -> io::Result<()> {
        if self.starting.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let takes_over = self.handover.is_taking_over();
        match self.handover.release_parent(&self.process.is_draining)? {
            None => return Ok(()),
            // The old process notifies the service manager itself: until then it is the main process.
            Some(true) => {}
            Some(false) => self.service_manager.notify_ready(),
        }
        if takes_over {
            self.handle.workers.iter().for_each(|worker| worker.send(Message::Serve));
        }
        Ok(())
    }
}

/// Counts a worker as ended when dropped, and wakes the first worker, which may be waiting for that.
pub(super) struct WorkerGuard<'a>(pub(super) &'a Shared);

impl Drop for WorkerGuard<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.handle.workers[0].send(Message::Ended);
    }
}
