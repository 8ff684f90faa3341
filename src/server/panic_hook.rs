//! Rate-limited panic hook: enough output to find a fault, and not so much that peers could fill the log.
//!
//! A worker itself warns of panicking services once a second, with their number. The output of the panic hook comes on
//! top of that, and the hook belongs to the process.

use crate::error::Warning;
use std::collections::HashMap;
use std::panic::{set_hook, take_hook};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Limits panic reports to one per second for each source location. Reports go to the panic hook that is set when this
/// is called; panics beyond that are not reported.
///
/// A service that panics ends only its own connection. So a peer that can trigger a panic can repeat it, and by default
/// each panic is written to stderr, with a backtrace if enabled. A library leaves the hook of the process alone: the
/// program calls this, once, before it serves. `multiconn-server` does. The default hook blocks the worker while stderr
/// is not read; a program for which that can happen sets another hook first.
///
/// # Panics
///
/// If the current thread is panicking.
pub fn limit_panic_reports() {
    let report = take_hook();
    // By location, so that a panic of another kind, such as one that ends a worker, is always reported. The number of
    // locations in the program bounds the map.
    let warnings = Mutex::new(HashMap::<_, Warning>::new());
    set_hook(Box::new(move |panic| {
        let location = panic.location().map(|source| (source.file().to_owned(), source.line(), source.column()));
        let mut guard = warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = guard.entry(location).or_default().is_due(Instant::now());
        drop(guard);
        if is_due {
            report(panic);
        }
    }));
}
