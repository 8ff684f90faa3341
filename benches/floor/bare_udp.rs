//! Minimal UDP echo server: recvmmsg and sendmmsg without any other function. It is the lower bound of the comparison.
//!
//! It neither merges nor splits datagrams, and has no limit: it answers forged datagrams, too.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::common::{Outcome, child};

const BATCH: usize = 64;

/// The space for one datagram; longer ones are truncated.
const SLOT_BYTES: usize = 2 << 10;

pub(crate) fn serve() -> Outcome<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("cannot bind: {error}"))?;
    let port = socket.local_addr().map_err(|error| format!("cannot get the port: {error}"))?.port();
    let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| format!("cannot set up: {error}"))?;
    let added = epoll::add(&epoll, &socket, EventData::new_u64(0), EventFlags::IN);
    added.map_err(|error| format!("cannot set up: {error}"))?;
    child::announce(port);
    let mut echo = Echo::new(socket.as_raw_fd());
    let mut events = Vec::with_capacity(1);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("event loop failed: {error}")),
        }
        while echo.turn().map_err(|error| format!("echo failed: {error}"))? == BATCH {}
    }
}

/// The headers are reused: all addresses have the length of an IPv4 address, and there are no control messages.
struct Echo {
    socket: RawFd,
    storage: Vec<u8>,
    incoming: MultiHeaders<SockaddrIn>,
    outgoing: MultiHeaders<SockaddrIn>,
    lengths: Vec<usize>,
    peers: Vec<Option<SockaddrIn>>,
}

impl Echo {
    fn new(socket: RawFd) -> Self {
        Self {
            socket,
            storage: vec![0; BATCH * SLOT_BYTES],
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
            lengths: Vec::with_capacity(BATCH),
            peers: Vec::with_capacity(BATCH),
        }
    }

    /// Echoes a batch, and returns how many datagrams it had. Replies for which there is no room are lost.
    fn turn(&mut self) -> Result<usize, Errno> {
        let mut slots: Vec<_> = self.storage.chunks_exact_mut(SLOT_BYTES).map(|slot| [IoSliceMut::new(slot)]).collect();
        let received = match recvmmsg(self.socket, &mut self.incoming, &mut slots, MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            Err(error) => return Err(error),
        };
        self.lengths.clear();
        self.peers.clear();
        for message in received {
            self.lengths.push(message.bytes);
            self.peers.push(message.address);
        }
        let slots = self.storage.chunks_exact(SLOT_BYTES).zip(&self.lengths);
        let payloads: Vec<_> = slots.map(|(slot, length)| [IoSlice::new(&slot[..*length])]).collect();
        match sendmmsg(self.socket, &mut self.outgoing, &payloads, &self.peers, [], MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EAGAIN) => Ok(payloads.len()),
            Err(error) => Err(error),
        }
    }
}
