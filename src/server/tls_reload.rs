//! Certificates and keys that are read again on SIGHUP.
//!
//! On a thread of its own: a file system can take long, and an event loop must not wait for it. Requests that come
//! meanwhile are one more reading after it.

use super::Shared;
use crate::error::in_words;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const RUNNING_AND_REQUESTED: u8 = 2;

/// Whether the files are being read, and must be read once more after that.
#[derive(Debug, Default)]
pub(super) struct TlsReload(AtomicU8);

impl TlsReload {
    /// Whether the caller has to start reading; else the thread that reads now does it.
    fn request(&self) -> bool {
        let next = |state| Some(if state == IDLE { RUNNING } else { RUNNING_AND_REQUESTED });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    /// The files were read; whether they must be read once more.
    fn finish(&self) -> bool {
        let next = |state| Some(if state == RUNNING { IDLE } else { RUNNING });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(RUNNING_AND_REQUESTED)
    }
}

/// Starts to read the files again, for connections that are accepted afterwards. Whatever is wrong with them, the server
/// goes on.
pub(super) fn start(shared: &Arc<Shared>) {
    if shared.tls.is_none() || !shared.tls_reload.request() {
        return;
    }
    let theirs = Arc::clone(shared);
    let read = move || {
        reload(&theirs);
        while theirs.tls_reload.finish() {
            reload(&theirs);
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
    fn requests_while_one_runs_are_one_more() {
        let reload = TlsReload::default();
        assert!(reload.request());
        assert!(!reload.request() && !reload.request());
        assert!(reload.finish());
        assert!(!reload.request());
        assert!(reload.finish() && !reload.finish());
        assert!(reload.request() && !reload.finish());
    }
}
