//! Reloads certificates and keys on SIGHUP.
//!
//! This runs on its own thread, because a file system can block and the event loop must not wait for it. Requests
//! during a reload cause one further reload.

use super::Shared;
use crate::error::in_words;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const RUNNING_AND_REQUESTED: u8 = 2;

/// Whether a reload runs, and whether another one was requested since.
#[derive(Debug, Default)]
pub(super) struct TlsReload(AtomicU8);

impl TlsReload {
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

/// Starts to read the files again, for connections accepted afterwards. On any error the server continues with the old
/// ones.
pub(super) fn start(shared: &Arc<Shared>) {
    if shared.tls.is_none() || !shared.tls_reload.request() {
        return;
    }
    let thread_shared = Arc::clone(shared);
    let read = move || {
        reload(&thread_shared);
        while thread_shared.tls_reload.finish() {
            reload(&thread_shared);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("tls-reload".to_owned()).spawn(read) {
        log::error!("the TLS files stay as they were: cannot start a thread: {}", in_words(&error));
        shared.tls_reload.finish();
    }
}

fn reload(shared: &Shared) {
    let Some(tls) = &shared.tls else { return };
    match tls.reload() {
        Ok(()) => log::info!("Read the TLS files again: certificate SHA-256 {}", tls.fingerprint()),
        Err(error) => log::error!("the TLS files stay as they were: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::TlsReload;

    #[test]
    fn requests_during_a_reload_cause_one_more() {
        let reload = TlsReload::default();
        assert!(reload.request());
        assert!(!reload.request() && !reload.request());
        assert!(reload.finish());
        assert!(!reload.request());
        assert!(reload.finish() && !reload.finish());
        assert!(reload.request() && !reload.finish());
    }
}
