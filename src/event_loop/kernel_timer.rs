//! A timer of the kernel that wakes a poll at an instant, to the microsecond (timerfd_create(2)).

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use self::descriptor::KernelTimer;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use self::none::KernelTimer;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod descriptor {
    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::fd::{AsRawFd, OwnedFd};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use std::io;
    use std::time::{Duration, Instant};

    /// Zero would switch the timer off.
    const AT_ONCE: Duration = Duration::from_nanos(1);

    /// The kernel refuses times that its clock will never show. Whoever waits for that long is told too early.
    const LONGEST: Duration = Duration::from_secs(1 << 32);

    /// A timer in a poll. It is never read: events come at edges, and setting it anew forgets that it has fired.
    #[derive(Debug)]
    pub(in crate::event_loop) struct KernelTimer(OwnedFd);

    impl KernelTimer {
        pub(in crate::event_loop) const EXISTS: bool = true;

        /// A timer that `registry` knows by `token`.
        pub(in crate::event_loop) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(descriptor))
        }

        /// Wakes the poll at `instant`, or at once if that has passed, and no longer at the instant set before.
        pub(in crate::event_loop) fn set(&self, instant: Instant) -> io::Result<()> {
            // Counted from a moment before the call: the timer never fires early.
            let left = instant.saturating_duration_since(Instant::now()).clamp(AT_ONCE, LONGEST);
            let it_value = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
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
    pub(in crate::event_loop) struct KernelTimer;

    impl KernelTimer {
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
