//! PID 1 of a container: signals without a default action, and orphans (pid_namespaces(7)).
//!
//! The kernel delivers no signal to PID 1 that it does not handle, and makes it the parent of every orphan of its
//! namespace. Without effect in any other process.

use rustix::process::{WaitOptions, wait};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;

/// Exit status of a shell for a process that a signal ended, less the number of the signal.
const SIGNALED: i32 = 128;

/// Reaps orphans when they end. Our programs have no children of their own as PID 1: the server refuses a handover.
pub(super) fn reap_orphans() {
    if std::process::id() != 1 {
        return;
    }
    let Ok(mut ended) = Signals::new([SIGCHLD]) else { return };
    let reap = move || {
        // Those that ended before the signal was handled, then those of each signal.
        for _ in std::iter::once(SIGCHLD).chain(ended.forever()) {
            while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        }
    };
    // Without the thread, orphans stay in the process table until the container ends.
    let _ = Builder::new().name("orphans".to_owned()).spawn(reap);
}

/// Ends the program on SIGINT or SIGTERM, as the default action does in other processes. For a program that does not
/// handle these signals.
pub(super) fn end_on_signals() {
    if std::process::id() == 1 {
        for signal in [SIGINT, SIGTERM] {
            // If it cannot be registered, only SIGKILL ends the program.
            let _ = register_conditional_shutdown(signal, SIGNALED + signal, Arc::new(AtomicBool::new(true)));
        }
    }
}
