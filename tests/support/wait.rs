//! Bounded waiting: polls a condition until it holds, and panics with a message if it does not.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The limit of every wait. Far longer than anything takes on a busy machine: only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two checks of a condition that cannot notify.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `look` returns a value.
///
/// # Panics
///
/// If it returns none within [`PATIENCE`]; the message says that it waited for `what`.
#[track_caller]
pub(crate) fn await_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    await_some_within(PATIENCE, what, look)
}

/// Waits like [`await_some`], up to `limit`.
#[track_caller]
pub(crate) fn await_some_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds; panics like [`await_some`].
#[track_caller]
pub(crate) fn await_until(what: &str, mut condition: impl FnMut() -> bool) {
    await_some(what, || condition().then_some(()));
}

/// Repeats an interrupted call. A call with a timeout is interrupted even without a signal handler when the process was
/// stopped for a while (signal(7)).
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
