//! Watchdog notifications to the service manager, as long as every worker responds.
//!
//! This thread supervises every worker, including the first.

use super::message::{Message, ServerHandle};
use super::shared::Shared;
use std::io;
use std::sync::{Arc, mpsc};

/// Notifies the watchdog, if there is one, twice per interval while all workers respond. While a worker hangs, nothing
/// is sent.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let Some(interval) = shared.service_manager.watchdog_interval() else { return Ok(()) };
    let shared = Arc::clone(shared);
    let watch = move || {
        while all_workers_respond(&shared.handle) {
            shared.service_manager.notify_watchdog();
            std::thread::sleep(interval / 2);
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map(drop)
}

/// Waits until every worker has answered a ping; false when all have ended.
fn all_workers_respond(handle: &ServerHandle) -> bool {
    let (sender, responses) = mpsc::channel();
    handle.workers.iter().for_each(|worker| worker.send(Message::Ping(sender.clone())));
    drop(sender);
    // Ends when each worker has answered, or has ended and so dropped its sender.
    responses.iter().count() > 0
}
