//! Reloads certificates and keys on SIGHUP.
//!
//! This runs on its own thread, because a file system can block and the event loop must not wait for it. Requests
//! during a reload cause one further reload.

use crate::error::in_words;
use crate::socket::TlsAcceptor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const RUNNING_AND_REQUESTED: u8 = 2;

/// Whether a reload runs, and whether another one was requested since.
#[derive(Debug, Default)]
struct ReloadRequests(AtomicU8);

impl ReloadRequests {
    /// Requests a reload. Returns whether the caller has to start it; otherwise the running thread does it.
    fn request(&self) -> bool {
        let next = |state| Some(if state == IDLE { RUNNING } else { RUNNING_AND_REQUESTED });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    /// Ends a reload. Returns whether another one was requested.
    fn finish(&self) -> bool {
        let next = |state| Some(if state == RUNNING { IDLE } else { RUNNING });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(RUNNING_AND_REQUESTED)
    }
}

/// TLS of a server, whose files can be read again.
#[derive(Debug)]
pub(super) struct ReloadableTls {
    pub(super) acceptor: TlsAcceptor,
    requests: ReloadRequests,
}

impl ReloadableTls {
    pub(super) fn new(acceptor: TlsAcceptor) -> Self {
        Self { acceptor, requests: ReloadRequests::default() }
    }

    /// Starts to read the files again, for connections accepted afterwards. On any error the server continues with the
    /// old ones.
    pub(super) fn start_reload(self: &Arc<Self>) {
        if !self.requests.request() {
            return;
        }
        let tls = Arc::clone(self);
        let read = move || {
            tls.reload();
            while tls.requests.finish() {
                tls.reload();
            }
        };
        if let Err(error) = std::thread::Builder::new().name("tls-reload".to_owned()).spawn(read) {
            log::error!("TLS reload failed; previous files stay in use: cannot start a thread: {}", in_words(&error));
            self.requests.finish();
        }
    }

    fn reload(&self) {
        match self.acceptor.reload() {
            Ok(()) => log::info!("TLS files reloaded: certificate SHA-256 {}", self.acceptor.fingerprint()),
            Err(error) => log::error!("TLS reload failed; previous files stay in use: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReloadRequests;

    #[test]
    fn requests_during_a_reload_cause_one_more() {
        let reload = ReloadRequests::default();
        assert!(reload.request());
        assert!(!reload.request() && !reload.request());
        assert!(reload.finish());
        assert!(!reload.request());
        assert!(reload.finish() && !reload.finish());
        assert!(reload.request() && !reload.finish());
    }
}
