//! Kernel timer that wakes a poll at an instant, with microsecond precision (timerfd_create(2)).

#[cfg(all(any(target_os = "linux", target_os = "android"), not(any(multiconn_fallbacks, multiconn_simulated))))]
pub(super) use self::descriptor::KernelTimer;
#[cfg(any(multiconn_fallbacks, multiconn_simulated, not(any(target_os = "linux", target_os = "android"))))]
pub(super) use self::none::KernelTimer;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(any(multiconn_fallbacks, multiconn_simulated))))]
mod descriptor {
    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::fd::{AsRawFd, OwnedFd};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use std::io;
    use std::time::{Duration, Instant};

    /// Shortest timeout. Zero would disarm the timer.
    const MIN_TIMEOUT: Duration = Duration::from_nanos(1);

    /// Longest timeout, about 136 years: the kernel rejects times beyond the range of its clock. A timer armed for a
    /// later instant fires early.
    const MAX_TIMEOUT: Duration = Duration::from_secs(1 << 32);

    /// Timer descriptor in a poll set. It is never read: events are edge-triggered, and setting it again clears the
    /// expiration.
    #[derive(Debug)]
    pub(in crate::event_loop) struct KernelTimer(OwnedFd);

    impl KernelTimer {
        pub(in crate::event_loop) const EXISTS: bool = true;

        /// Creates a timer and registers it with `registry` under `token`.
        pub(in crate::event_loop) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(descriptor))
        }

        /// Wakes the poll at `instant`, or at once if it has passed. Replaces the instant set before.
        pub(in crate::event_loop) fn set(&self, instant: Instant) -> io::Result<()> {
            // The timeout is computed before the system call, so the timer never fires early.
            let timeout = instant.saturating_duration_since(Instant::now()).clamp(MIN_TIMEOUT, MAX_TIMEOUT);
            let it_value = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
            let setting = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &setting)?;
            Ok(())
        }
    }
}

#[cfg(any(multiconn_fallbacks, multiconn_simulated, not(any(target_os = "linux", target_os = "android"))))]
mod none {
    use mio::{Registry, Token};
    use std::io;
    use std::time::Instant;

    /// Placeholder for systems without timerfd: the timeout of the poll is used instead.
    #[derive(Debug)]
    pub(in crate::event_loop) struct KernelTimer;

    impl KernelTimer {
        pub(in crate::event_loop) const EXISTS: bool = false;

        #[allow(clippy::unnecessary_wraps, reason = "same signature as the timerfd version")]
        pub(in crate::event_loop) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "same signature as the timerfd version")]
        pub(in crate::event_loop) fn set(&self, _instant: Instant) -> io::Result<()> {
            Ok(())
        }
    }
}
