//! Many datagrams with one system call: recvmmsg(2) and sendmmsg(2).
//!
//! The headers are rebuilt for each call: the kernel writes the length of each address into them, and the length of an
//! IPv4 address would truncate the IPv6 address of a later call.

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::RawFd;

/// Receives one datagram into each of `slots`, as far as there are any, and passes each to `handle`. `control_bytes` is the
/// space for the control messages of one.
pub(in crate::socket) fn receive_datagrams<'a>(
    socket: RawFd,
    slots: impl Iterator<Item = &'a mut [u8]>,
    control_bytes: usize,
    mut handle: impl FnMut(&RecvMsg<'_, '_, SockaddrStorage>),
) -> io::Result<()> {
    let mut slots: Vec<_> = slots.map(|slot| [IoSliceMut::new(slot)]).collect();
    let mut multi = MultiHeaders::preallocate(slots.len(), Some(Vec::with_capacity(control_bytes)));
    for message in recvmmsg(socket, &mut multi, &mut slots, MsgFlags::MSG_DONTWAIT, None)? {
        handle(&message);
    }
    Ok(())
}

/// Sends one datagram of each of `slices` to each of `addresses`, all with the same `controls`, which take `control_bytes`.
/// Returns how many were sent.
pub(in crate::socket) fn send_datagrams(
    socket: RawFd,
    slices: &[[IoSlice<'_>; 1]],
    addresses: &[Option<SockaddrStorage>],
    controls: &[ControlMessage<'_>],
    control_bytes: usize,
) -> io::Result<usize> {
    let space = (control_bytes > 0).then(|| Vec::with_capacity(control_bytes));
    let mut multi = MultiHeaders::preallocate(slices.len(), space);
    Ok(sendmmsg(socket, &mut multi, slices, addresses, controls, MsgFlags::MSG_DONTWAIT)?.count())
}
