//! Panic guard: contains a panic of user code in the call that caused it.
//!
//! All code of library users that a server calls goes through it: services, their factories and destructors, and
//! responders. A panic during the unwinding of another one, and `panic = "abort"`, still end the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `call` and catches a panic.
///
/// # Errors
///
/// The text of the panic. State borrowed by `call` may then be in any state that it passes through while it runs.
#[inline(always)]
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic_text(&*panic);
        // The panic's payload belongs to user code as well, and its `Drop` may panic too.
        if let Err(nested) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(nested);
        }
        text
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::guarded;

    /// Panics whenever it is dropped.
    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            std::panic::panic_any(PanicsOnDrop);
        }
    }

    #[test]
    fn a_panic_returns_its_text() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| panic!("literal")), Err::<(), _>("literal".to_owned()));
        assert_eq!(guarded(|| panic!("number {}", 7)), Err::<(), _>("number 7".to_owned()));
        assert_eq!(guarded(|| std::panic::panic_any(7)), Err::<(), _>("no message".to_owned()));
    }

    #[test]
    fn a_panic_payload_that_panics_on_drop_is_contained() {
        assert!(guarded(|| drop(PanicsOnDrop)).is_err());
    }
}
