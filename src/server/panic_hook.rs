//! What is said when something panics: enough to find the fault, and never so much that peers could fill the log with it.
//!
//! A worker itself warns of services that panic, once a second, with their number. What the panic hook writes comes on top
//! of that, and the hook belongs to the process.

use crate::error::Warning;
use std::collections::HashMap;
use std::panic::{set_hook, take_hook};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Has each place in the source report its panics once a second at most, by the panic hook that is set when this is
/// called; all others are not reported.
///
/// A service that panics ends its own connection and no other, so a peer who knows how to bring that about can do it
/// again and again, and by default each panic is written to stderr, with a backtrace if those are on. A library leaves
/// the hook of the process alone: it is for the program to call this, once, before it serves. `multiconn-server` does.
/// The default hook blocks the worker while stderr is not read; a program for which that can happen sets another one before.
///
/// # Panics
///
/// When called while the thread panics.
pub fn limit_panic_reports() {
    let report = take_hook();
    // By place, so that a panic of another kind, such as one that ends a worker, is reported in any case. There are as many
    // places as the program has.
    let places = Mutex::new(HashMap::<_, Warning>::new());
    set_hook(Box::new(move |panic| {
        let place = panic.location().map(|place| (place.file().to_owned(), place.line(), place.column()));
        let mut guard = places.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = guard.entry(place).or_default().is_due(Instant::now());
        drop(guard);
        if is_due {
            report(panic);
        }
    }));
}
