//! Busy polling of network cards by the kernel while a loop waits for events (ioctl_eventpoll(2)).

use super::kernel_calls::{EpollParams, set_epoll_params};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Maximum of the kernel: `INT_MAX` microseconds.
const MAX_MICROS: u32 = i32::MAX.unsigned_abs();

/// Makes each wait of `epoll` poll the network card of its sockets for `duration`, in whole microseconds, before it sleeps.
pub(super) fn set_busy_poll(epoll: BorrowedFd<'_>, duration: Duration) -> io::Result<()> {
    let unsupported = |why: &str| Err(io::Error::new(ErrorKind::Unsupported, why));
    match set_epoll_params(epoll, params(duration)) {
        Err(Errno::NOTTY) => unsupported("Linux has that from version 6.9 on (ENOTTY)"),
        Err(Errno::OPNOTSUPP) => unsupported("this kernel was built without CONFIG_NET_RX_BUSY_POLL (EOPNOTSUPP)"),
        result => Ok(result?),
    }
}

/// Polls of the kernel's default number of packets. They are preferred to interrupts, which has an effect only where root
/// has set how long interrupts may stay masked.
fn params(duration: Duration) -> EpollParams {
    let micros = u32::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u32::MAX);
    EpollParams { busy_poll_usecs: micros.min(MAX_MICROS), prefer_busy_poll: 1, ..EpollParams::default() }
}

#[cfg(test)]
mod tests {
    use super::super::kernel_calls::epoll_params;
    use super::{EpollParams, params, set_busy_poll};
    use crate::event_loop::EventLoop;
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// The kernel has what it was given, if it has busy polling.
    #[test]
    fn parameters_are_read_back() {
        let poll = mio::Poll::new().expect("descriptors are free");
        let epoll = poll.registry().as_fd();
        for (duration, micros) in
            [(Duration::from_nanos(1), 1), (Duration::from_micros(50), 50), (Duration::MAX, 2_147_483_647)]
        {
            let expected = EpollParams { busy_poll_usecs: micros, prefer_busy_poll: 1, ..EpollParams::default() };
            assert_eq!(params(duration), expected);
            match set_busy_poll(epoll, duration) {
                Err(error) if error.kind() == ErrorKind::Unsupported => return,
                result => result.expect("it is supported"),
            }
            assert_eq!(epoll_params(epoll).expect("it is supported"), expected);
        }
    }

    #[test]
    fn the_kernel_gets_the_duration_of_busy_polling() {
        let new = || EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        new().busy_polling(Duration::ZERO).expect("no system call is made");
        match new().busy_polling(Duration::from_micros(50)) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
            Ok(event_loop) => {
                let epoll = event_loop.context.poll.registry().as_fd();
                let known = epoll_params(epoll).expect("it is supported");
                assert_eq!(known.busy_poll_usecs, 50);
            }
        }
    }

    #[test]
    fn another_descriptor_refuses_the_call() {
        let file = std::fs::File::open("/dev/null").expect("every system has it");
        let error = set_busy_poll(file.as_fd(), Duration::from_micros(50)).expect_err("this is no epoll descriptor");
        assert!(error.to_string().contains("6.9") && error.to_string().contains("ENOTTY"), "{error}");
    }
}
