//! Stand-in for the service manager in a build without the feature `systemd`: nothing is notified.

#![expect(clippy::unused_self, reason = "the signatures of what it replaces")]

use std::time::Duration;

/// The environment variable with the process that the watchdog supervises.
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// No service manager.
#[derive(Debug)]
pub(super) struct ServiceManager;

impl ServiceManager {
    pub(super) fn new(_wanted: bool) -> Self {
        Self
    }

    pub(super) fn notify_ready(&self) {}

    pub(super) fn notify_reloading(&self) {}

    pub(super) fn notify_handed_over(&self, _child: u32) {}

    pub(super) fn notify_stopping(&self) {}

    pub(super) fn notify_watchdog(&self) {}

    pub(super) fn watchdog_interval(&self) -> Option<Duration> {
        None
    }
}
