//! Datagrams with a fixed number in flight on each of several sockets, each a flow of its own.
//!
//! Lost datagrams are replaced after a pause. With [`Pattern::MergedDatagrams`] the kernel passes the datagrams of a flow
//! on as one packet (`UDP_SEGMENT` and `UDP_GRO`), as it does for QUIC. Otherwise the loopback interface never merges any.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};

use rustix::event::Timespec;

use super::LoadParameters;
use super::measure::{Readiness, measure};
use crate::common::Outcome;
use crate::common::traffic::Pattern;

/// After this long without a reply, the datagrams of a flow count as lost.
const PATIENCE: Duration = Duration::from_millis(20);
const PATIENCE_TIMESPEC: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Messages per receive call, and the space for each.
const BATCH: usize = 16;
const SLOT_BYTES: usize = 1 << 16;

struct Flow {
    socket: OwnedFd,
    in_flight: usize,
    /// No reply has arrived since the last look for lost datagrams.
    is_silent: bool,
}

struct Datagrams {
    readiness: Readiness,
    flows: Vec<Flow>,
    message_bytes: usize,
    depth: usize,
    is_merged: bool,
    /// All datagrams that one flow may have in flight. Their content is not checked.
    outgoing: Vec<u8>,
    storage: Vec<u8>,
    headers: MultiHeaders<SockaddrIn>,
    next_look: Instant,
}

pub(super) fn run(parameters: &LoadParameters) -> Outcome<()> {
    let mut datagrams = Datagrams::new(parameters).map_err(|error| format!("cannot open the flows: {error}"))?;
    for (index, flow) in datagrams.flows.iter().enumerate() {
        datagrams.readiness.add(&flow.socket, index)?;
    }
    for index in 0..datagrams.flows.len() {
        datagrams.fill(index)?;
    }
    measure(parameters, || datagrams.turn())
}

impl Datagrams {
    fn new(parameters: &LoadParameters) -> Result<Self, String> {
        let traffic = &parameters.traffic;
        let is_merged = traffic.pattern == Pattern::MergedDatagrams;
        let open = |_| -> std::io::Result<Flow> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, parameters.port))?;
            setsockopt(&socket, sockopt::UdpGroSegment, &is_merged)?;
            Ok(Flow { socket: socket.into(), in_flight: 0, is_silent: false })
        };
        Ok(Self {
            readiness: Readiness::new()?,
            flows: (0..traffic.connections).map(open).collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            message_bytes: traffic.message_bytes,
            depth: traffic.depth,
            is_merged,
            outgoing: vec![b'm'; traffic.message_bytes * traffic.depth],
            storage: vec![0; BATCH * SLOT_BYTES],
            headers: MultiHeaders::preallocate(BATCH, None),
            next_look: Instant::now() + PATIENCE,
        })
    }

    /// Waits once and handles the events. Returns the number of replies.
    fn turn(&mut self) -> Outcome<u64> {
        let mut completed = 0;
        for position in 0..self.readiness.wait_at_most(PATIENCE_TIMESPEC)?.unwrap_or(0) {
            let index = self.readiness.ready(position);
            let received =
                self.receive(self.flows[index].socket.as_raw_fd()).map_err(|error| format!("recv: {error}"))?;
            let flow = &mut self.flows[index];
            flow.in_flight = flow.in_flight.saturating_sub(received);
            flow.is_silent &= received == 0;
            completed += received as u64;
            self.fill(index)?;
        }
        if Instant::now() >= self.next_look {
            self.replace_lost()?;
        }
        Ok(completed)
    }

    /// Receives one batch. A message may carry several datagrams, all of one length.
    fn receive(&mut self, socket: RawFd) -> Result<usize, Errno> {
        let mut slots: Vec<_> = self.storage.chunks_exact_mut(SLOT_BYTES).map(|slot| [IoSliceMut::new(slot)]).collect();
        match recvmmsg(socket, &mut self.headers, &mut slots, MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => Ok(received.map(|message| message.bytes / self.message_bytes).sum()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Sends until the flow has its number of datagrams in flight, or the socket has no room.
    fn fill(&mut self, index: usize) -> Outcome<()> {
        let flow = &mut self.flows[index];
        let due = self.depth - flow.in_flight.min(self.depth);
        if due == 0 {
            return Ok(());
        }
        let (socket, bytes) = (flow.socket.as_raw_fd(), &self.outgoing[..due * self.message_bytes]);
        let sent = if self.is_merged && due > 1 {
            let segment =
                u16::try_from(self.message_bytes).map_err(|error| format!("a datagram is too long: {error}"))?;
            let controls = [ControlMessage::UdpGsoSegments(&segment)];
            sendmsg::<()>(socket, &[IoSlice::new(bytes)], &controls, MsgFlags::MSG_DONTWAIT, None).map(|_| due)
        } else {
            let payloads: Vec<_> = bytes.chunks_exact(self.message_bytes).map(|bytes| [IoSlice::new(bytes)]).collect();
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(due, None);
            sendmmsg(socket, &mut headers, &payloads, vec![None; due], [], MsgFlags::MSG_DONTWAIT).map(Iterator::count)
        };
        match sent {
            Ok(count) => flow.in_flight += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(format!("send: {error}")),
        }
        Ok(())
    }

    fn replace_lost(&mut self) -> Outcome<()> {
        self.next_look = Instant::now() + PATIENCE;
        for index in 0..self.flows.len() {
            let flow = &mut self.flows[index];
            if std::mem::replace(&mut flow.is_silent, true) {
                flow.in_flight = 0;
                self.fill(index)?;
            }
        }
        Ok(())
    }
}
