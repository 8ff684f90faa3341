//! Many datagrams with a system call each, where there is no recvmmsg(2) and sendmmsg(2): recvmsg(2) and sendmsg(2).

use nix::sys::socket::{ControlMessage, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, sendmsg};
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
    let mut space = vec![0; control_bytes];
    for (index, slot) in slots.enumerate() {
        match recvmsg(socket, &mut [IoSliceMut::new(slot)], Some(&mut space), MsgFlags::MSG_DONTWAIT) {
            Ok(message) => handle(&message),
            // As with recvmmsg(2): what was received counts, and the error belongs to the next call.
            Err(error) => return if index == 0 { Err(error.into()) } else { Ok(()) },
        }
    }
    Ok(())
}

/// Sends one datagram of each of `slices` to each of `addresses`, all with the same `controls`. Returns how many were sent.
pub(in crate::socket) fn send_datagrams(
    socket: RawFd,
    slices: &[[IoSlice<'_>; 1]],
    addresses: &[Option<SockaddrStorage>],
    controls: &[ControlMessage<'_>],
    _control_bytes: usize,
) -> io::Result<usize> {
    for (index, (slice, address)) in slices.iter().zip(addresses).enumerate() {
        if let Err(error) = sendmsg(socket, slice, controls, MsgFlags::MSG_DONTWAIT, address.as_ref()) {
            return if index == 0 { Err(error.into()) } else { Ok(index) };
        }
    }
    Ok(slices.len())
}
