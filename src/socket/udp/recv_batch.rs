//! Receive batch: many datagrams with one system call.

use super::DatagramSocket;
use super::control::{self, ControlHeader};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The maximum number of datagrams per call. It makes the cost of the call small beside that of the datagrams, and is
/// small enough that their replies still fit the cache.
const MAX_BATCH: usize = 64;

/// The initial batch size, also used when few datagrams arrive: preparing unused slots costs time.
const MIN_BATCH: usize = 4;

/// The space for one datagram, in bytes. No datagram is longer, so none is ever truncated.
const SLOT_BYTES: usize = 1 << 16;

/// A received datagram.
#[derive(Debug, Clone, Copy)]
pub struct InDatagram<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// The sender, as the header claims.
    pub peer: SocketAddr,
    /// The destination address on this machine, where the socket is bound to the unspecified address.
    pub local: Option<IpAddr>,
    /// Whether it was sent by broadcast or multicast, where the socket is bound to the unspecified address. Then each
    /// socket of the port has received a copy.
    pub to_many: bool,
    /// The hop limit (TTL) with which it arrived, where a server's socket reports that.
    pub hops: Option<u8>,
    /// When the kernel received it, as time since 1970, where the socket [reports](DatagramSocket::report_arrivals) that.
    pub arrival: Option<Duration>,
}

/// Storage for received datagrams, reused by each call. It reserves 4 MiB of address space, of which only written pages
/// take memory: a few for each datagram of a batch.
#[derive(Debug)]
pub struct RecvBatch {
    storage: Vec<u8>,
    headers: Vec<ControlHeader>,
    /// How many datagrams the next call has slots for.
    batch_size: usize,
    /// How many datagrams the kernel has dropped on the socket so far, because its queue was full.
    overrun: Option<u32>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            storage: vec![0; MAX_BATCH * SLOT_BYTES],
            headers: Vec::with_capacity(MAX_BATCH),
            batch_size: MIN_BATCH,
            overrun: None,
        }
    }

    /// Receives the oldest datagrams, replacing those of the last call. Returns whether there may be more. A short
    /// batch has drained the socket, as a short read drains a stream.
    ///
    /// # Errors
    ///
    /// Those of recvmmsg(2); `WouldBlock` when there is no datagram. A connected socket also returns errors of earlier
    /// sends, such as `ConnectionRefused`.
    pub fn receive(&mut self, socket: &DatagramSocket) -> io::Result<bool> {
        self.headers.clear();
        let slots = self.storage.chunks_exact_mut(SLOT_BYTES).take(self.batch_size);
        let taken = control::receive(socket, slots, &mut self.headers);
        let is_full = self.headers.len() == self.batch_size;
        self.batch_size = (self.headers.len() * 2).clamp(MIN_BATCH, MAX_BATCH);
        if let Some(overrun) = taken? {
            self.overrun = Some(overrun);
        }
        Ok(is_full)
    }

    /// The datagrams of the last call, oldest first.
    #[must_use]
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = InDatagram<'_>> {
        self.headers.iter().zip(self.storage.chunks_exact(SLOT_BYTES)).map(|(header, slot)| InDatagram {
            bytes: &slot[..header.len],
            peer: header.peer,
            local: header.local,
            to_many: header.to_many,
            hops: header.hops,
            arrival: header.arrival,
        })
    }

    /// How many datagrams the kernel has dropped on the socket of the last call since it was opened, because its queue
    /// was full. To be called once after each receive.
    pub fn take_overrun(&mut self) -> Option<u32> {
        self.overrun.take()
    }
}
