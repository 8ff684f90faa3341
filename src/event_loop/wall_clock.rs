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
    #[cfg(target_os = "linux")]
    {
        let (state, timex) = super::kernel_calls::adjtimex();
        max_error(state, timex.status, timex.maxerror)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The error in microseconds, unless the call failed or nothing synchronizes the clock.
#[cfg(all(feature = "client", target_os = "linux"))]
fn max_error(state: libc::c_int, status: libc::c_int, micros: libc::c_long) -> Option<Duration> {
    let is_synchronized = state >= 0 && status & libc::STA_UNSYNC == 0;
    u64::try_from(micros).ok().filter(|_| is_synchronized).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    #[test]
    fn the_time_is_that_of_the_system() {
        let system = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
        let (before, time, after) = (system(), super::unix_time(), system());
        assert!((before..=after).contains(&time) || after < before, "{time:?}");
    }

    #[cfg(all(feature = "client", target_os = "linux"))]
    #[test]
    fn only_a_synchronized_clock_has_a_known_error() {
        use super::max_error;
        let (plain, unsynchronized) = (libc::STA_PLL, libc::STA_PLL | libc::STA_UNSYNC);
        assert_eq!(max_error(0, plain, 1500), Some(std::time::Duration::from_micros(1500)));
        assert_eq!(max_error(libc::TIME_INS, 0, 0), Some(std::time::Duration::ZERO));
        assert_eq!(max_error(0, unsynchronized, 1500), None);
        assert_eq!(max_error(-1, plain, 1500), None);
        assert_eq!(max_error(0, plain, -1), None);
    }

    /// Until the clock is synchronized again, the error grows.
    #[cfg(all(feature = "client", target_os = "linux"))]
    #[test]
    fn the_error_is_that_of_the_kernel() {
        let kernel = || {
            let (state, timex) = crate::event_loop::kernel_calls::adjtimex();
            super::max_error(state, timex.status, timex.maxerror)
        };
        let is_known = |_| {
            let (before, error, after) = (kernel(), super::clock_error(), kernel());
            (before..=after).contains(&error)
        };
        assert!((0..10).any(is_known));
    }
}
