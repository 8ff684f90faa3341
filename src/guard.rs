//! Calls of code that may panic: a panic ends what was called and nothing else.
//!
//! All code of a library's user that a server calls goes through here: services, what makes and what drops them, and
//! responders. A panic during the unwinding of another one, and `panic = "abort"`, end the process whatever is done.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `call`.
///
/// # Errors
///
/// The text of the panic, when it panicked. What `call` has borrowed may be left in any state that it can be in while it runs.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = text_of(&*panic);
        // The value that a panic carries is the user's as well, and so is its Drop.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(another);
        }
        text
    })
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::guarded;

    /// Panics whenever it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| panic!("literal")), Err::<(), _>("literal".to_owned()));
        assert_eq!(guarded(|| panic!("number {}", 7)), Err::<(), _>("number 7".to_owned()));
        assert_eq!(guarded(|| std::panic::panic_any(7)), Err::<(), _>("no message".to_owned()));
    }

    #[test]
    fn a_panic_that_panics_when_it_is_dropped_is_contained() {
        assert!(guarded(|| drop(Bomb)).is_err());
    }
}
