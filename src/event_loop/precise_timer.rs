//! A timer of the kernel that wakes a poll at an instant, to the microsecond (timerfd_create(2)).

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use self::descriptor::PreciseTimer;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use self::none::PreciseTimer;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod descriptor {
    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::fd::{AsRawFd, OwnedFd};
    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::time::{Duration, Instant};

    /// A timer in a poll. It is never read: events come at edges, and setting it anew forgets that it has fired.
    #[derive(Debug)]
    pub(in crate::event_loop) struct PreciseTimer {
        descriptor: OwnedFd,
        /// One moment by two names: that of the standard library, and that of the kernel.
        origin: Instant,
        origin_since_boot: Duration,
    }

    impl PreciseTimer {
        pub(in crate::event_loop) const EXISTS: bool = true;

        /// A timer that `registry` knows by `token`.
        pub(in crate::event_loop) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
            // In this order the kernel's name is that of a slightly later moment: the timer never fires early.
            let origin = Instant::now();
            let origin_since_boot = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
            Ok(Self { descriptor, origin, origin_since_boot })
        }

        /// Wakes the poll at `instant`, or at once if that has passed, and no longer at the instant set before.
        pub(in crate::event_loop) fn set(&self, instant: Instant) -> io::Result<()> {
            let since_boot = self.origin_since_boot.saturating_add(instant.saturating_duration_since(self.origin));
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            // What no clock of the kernel can show will not be waited for to its end.
            let it_value = Timespec::try_from(since_boot).unwrap_or(Timespec { tv_sec: i64::MAX >> 32, tv_nsec: 0 });
            let once = Itimerspec { it_interval: never, it_value };
            timerfd_settime(&self.descriptor, TimerfdTimerFlags::ABSTIME, &once)?;
            Ok(())
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod none {
    use mio::{Registry, Token};
    use std::io;
    use std::time::Instant;

    /// There is none here: the timeout of the poll has to do.
    #[derive(Debug)]
    pub(in crate::event_loop) struct PreciseTimer;

    impl PreciseTimer {
        pub(in crate::event_loop) const EXISTS: bool = false;

        #[allow(clippy::unnecessary_wraps, reason = "as where there is one")]
        pub(in crate::event_loop) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as where there is one")]
        pub(in crate::event_loop) fn set(&self, _instant: Instant) -> io::Result<()> {
            Ok(())
        }
    }
}
