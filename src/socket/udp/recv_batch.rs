//! Receive batch: many datagrams with one system call.

use super::DatagramSocket;
use super::control::{self, ControlHeader};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The maximum number of slots per call. It makes the cost of the call small beside that of the datagrams, and is
/// small enough that their replies still fit the cache.
const MAX_BATCH: usize = 64;

/// The initial number of slots, also used when few datagrams arrive: preparing unused slots costs time.
const MIN_BATCH: usize = 4;

/// Datagrams expected per call at most, where a slot holds several that the kernel has merged.
const MAX_DATAGRAMS: usize = 512;

/// The space for one datagram, or several merged ones, in bytes. No message is longer, so none is ever truncated.
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
    /// How many slots the next call has.
    slot_count: usize,
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
            slot_count: MIN_BATCH,
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
        let slots = self.storage.chunks_exact_mut(SLOT_BYTES).take(self.slot_count);
        let taken = control::receive(socket, slots, &mut self.headers);
        let used = self.headers.last().map_or(0, |last| last.slot + 1);
        let is_full = used == self.slot_count;
        self.slot_count = slot_count_after(used, self.headers.len());
        if let Some(overrun) = taken? {
            self.overrun = Some(overrun);
        }
        Ok(is_full)
    }

    /// The datagrams of the last call, oldest first.
    #[must_use]
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = InDatagram<'_>> {
        self.headers.iter().map(|header| InDatagram {
            bytes: &self.storage[header.slot * SLOT_BYTES + header.start..][..header.len],
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

/// The number of slots for the call after one that used `used` of them for `datagrams`.
fn slot_count_after(used: usize, datagrams: usize) -> usize {
    let most = MAX_DATAGRAMS / datagrams.div_ceil(used.max(1)).max(1);
    (used * 2).min(most).clamp(MIN_BATCH, MAX_BATCH)
}

#[cfg(test)]
mod tests {
    use super::slot_count_after;

    #[test]
    fn the_slots_follow_the_traffic() {
        assert_eq!([0, 1, 4, 32, 64].map(|used| slot_count_after(used, used)), [4, 4, 8, 64, 64]);
        // Merged datagrams: 8, 64 and 65,507 in a slot.
        assert_eq!([8, 64, 65_507].map(|each| slot_count_after(64, 64 * each)), [64, 8, 4]);
    }
}
