//! Bounded waiting: a condition is looked at until it holds, and a test that waits in vain says what for.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How long anything may take. Far more than it takes on a busy machine: only a test that fails waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long to pause between two looks at something that cannot wake us.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
///
/// When it finds nothing within [`PATIENCE`]; the message says that it waited for `what`.
#[track_caller]
pub(crate) fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// Waits until `condition` holds; panics like [`await_some`].
#[track_caller]
pub(crate) fn await_until(what: &str, mut condition: impl FnMut() -> bool) {
    await_some(what, || condition().then_some(()));
}

/// Makes a call again that was interrupted. One that waits with a timeout is, even without a handler, when the process was
/// stopped for a while (signal(7)).
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
