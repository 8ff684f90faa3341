//! Wall clock. The system can set it, so it may jump, unlike the monotonic clock of the loop; it is read anew for each
//! use.

use std::time::{Duration, SystemTime};

/// Time since 1970-01-01 UTC; zero on a machine whose clock is set to an earlier time.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Maximum error of the wall clock, as the kernel knows it from the program that synchronizes it (adjtimex(2)). None if
/// nothing does, and on other systems than Linux.
#[cfg(feature = "client")]
#[must_use]
pub fn clock_error() -> Option<Duration> {
    sys::clock_error()
}

#[cfg(all(feature = "client", target_os = "linux"))]
mod sys {
    use std::mem::MaybeUninit;
    use std::time::Duration;

    #[allow(unsafe_code, reason = "no library in use has this call")]
    pub(super) fn clock_error() -> Option<Duration> {
        let mut timex = MaybeUninit::<libc::timex>::zeroed();
        // SAFETY: the pointer is valid for the whole structure, and the kernel writes no more than that. The modes are 0, so
        // nothing is set.
        let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
        // SAFETY: the structure has only integers, for which all bits zero are a value.
        let timex = unsafe { timex.assume_init() };
        let is_synchronized = state >= 0 && timex.status & libc::STA_UNSYNC == 0;
        let micros = u64::try_from(timex.maxerror).ok().filter(|_| is_synchronized)?;
        Some(Duration::from_micros(micros))
    }
}

#[cfg(all(feature = "client", not(target_os = "linux")))]
mod sys {
    pub(super) fn clock_error() -> Option<std::time::Duration> {
        None
    }
}
