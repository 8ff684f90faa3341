//! System calls of Linux that no library in use offers. The only unsafe code of the crate.

#![allow(unsafe_code, reason = "no library in use has these calls")]

#[cfg(feature = "cli")]
use nix::sys::signal::SigSet;
use rustix::fd::BorrowedFd;
use rustix::ioctl::{Setter, ioctl, opcode};

/// `EPOLL_IOC_TYPE` of <linux/eventpoll.h>.
const EPOLL: u8 = 0x8a;

/// `struct epoll_params` of ioctl_eventpoll(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EpollParams {
    pub(super) busy_poll_usecs: u32,
    pub(super) busy_poll_budget: u16,
    pub(super) prefer_busy_poll: u8,
    /// Must be 0.
    pub(super) padding: u8,
}

/// `EPIOCSPARAMS` (Linux 6.9). Any other kind of descriptor refuses it.
pub(super) fn set_epoll_params(epoll: BorrowedFd<'_>, params: EpollParams) -> rustix::io::Result<()> {
    const SET: rustix::ioctl::Opcode = opcode::write::<EpollParams>(EPOLL, 1);
    // SAFETY: the kernel reads a structure of this layout, whose size is part of the opcode, and writes nothing.
    unsafe { ioctl(epoll, Setter::<SET, EpollParams>::new(params)) }
}

/// `EPIOCGPARAMS` (Linux 6.9).
#[cfg(test)]
pub(super) fn epoll_params(epoll: BorrowedFd<'_>) -> rustix::io::Result<EpollParams> {
    const GET: rustix::ioctl::Opcode = opcode::read::<EpollParams>(EPOLL, 2);
    // SAFETY: the kernel writes a structure of this layout, whose size is part of the opcode, or fails. It has only
    // integers, for which every value is valid.
    unsafe { ioctl(epoll, rustix::ioctl::Getter::<GET, EpollParams>::new()) }
}

/// adjtimex(2) without a change: the state of the clock, and what the kernel knows about it.
#[cfg(feature = "client")]
pub(super) fn adjtimex() -> (libc::c_int, libc::timex) {
    let mut timex = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is valid for the whole structure, and the kernel writes no more than that. The modes are 0, so
    // nothing is set.
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    // SAFETY: the structure has only integers, for which all bits zero are a value.
    (state, unsafe { timex.assume_init() })
}

/// Gives the calling thread a descriptor table of its own that has only stdin, stdout and stderr (`CLOSE_RANGE_UNSHARE`
/// of close_range(2), Linux 5.9). While one thread is alone with a table, its calls take no reference to the socket,
/// which saves about 2 % of the CPU time per message of 64 B. With an older kernel the thread shares the table as before.
///
/// Signals are handled by the other threads, whose handlers write to descriptors of the other table.
#[cfg(feature = "cli")]
pub(crate) fn keep_standard_streams() {
    if SigSet::all().thread_block().is_err() {
        return;
    }
    let (first, last, flags): (libc::c_uint, _, _) = (3, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: the call changes no memory. The table that other threads use stays as it is, and the calling thread owns no
    // descriptor.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
}
