//! Stand-in for `busy_poll.rs` on systems without ioctl_eventpoll(2).

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub(super) fn set_busy_poll(_epoll: BorrowedFd<'_>, _duration: Duration) -> io::Result<()> {
    Err(io::Error::new(ErrorKind::Unsupported, "only Linux has that"))
}
