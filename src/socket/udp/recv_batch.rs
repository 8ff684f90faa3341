//! Datagrams as they come in, many with one call.

use super::DatagramSocket;
use super::mmsg;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// How many datagrams one call takes at the most: enough to make the cost of the call itself vanish beside that of the
/// datagrams, few enough that their answers still lie in the cache.
const MOST: usize = 64;

/// How many it takes at first, and again when few come: room for more than are there has to be prepared for nothing.
const FEWEST: usize = 4;

/// The room for one datagram, in bytes: no datagram is longer, so none is ever cut.
const SLOT_BYTES: usize = 1 << 16;

/// A datagram that has come in.
#[derive(Debug, Clone, Copy)]
pub struct InDatagram<'a> {
    /// What it says.
    pub bytes: &'a [u8],
    /// Who sent it, as the header claims.
    pub peer: SocketAddr,
    /// The address of this machine that it was sent to, where the socket is bound to every address.
    pub local: Option<IpAddr>,
    /// Whether it was sent to many, by broadcast or multicast, where the socket is bound to every address: then each
    /// socket of the port has got a copy.
    pub to_many: bool,
    /// How many hops it had left (TTL, hop limit), where a server's socket is told.
    pub hops: Option<u8>,
}

/// What is known of a datagram besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) to_many: bool,
    pub(super) hops: Option<u8>,
}

/// Room for datagrams, used again with each call. 4 MiB of addresses, of which the machine only spends what was written
/// to: a few pages for each of the datagrams that come at a time.
#[derive(Debug)]
pub struct RecvBatch {
    space: Vec<u8>,
    headers: Vec<Header>,
    /// How many datagrams the next call makes room for.
    expected: usize,
    /// How many datagrams the kernel has dropped on the socket so far, because nobody took them in time.
    overrun: Option<u32>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvBatch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { space: vec![0; MOST * SLOT_BYTES], headers: Vec::with_capacity(MOST), expected: FEWEST, overrun: None }
    }

    /// Takes the datagrams that have waited longest, in place of those of the last call; returns whether there may be more.
    /// A short batch has emptied the socket, as a short read does a stream.
    ///
    /// # Errors
    ///
    /// Those of recvmmsg(2); `WouldBlock` when none waits. Of a connected socket they can tell what became of what was sent
    /// before, such as `ConnectionRefused`.
    pub fn receive(&mut self, socket: &DatagramSocket) -> io::Result<bool> {
        self.headers.clear();
        let slots = self.space.chunks_exact_mut(SLOT_BYTES).take(self.expected);
        let taken = mmsg::receive(socket, slots, self.expected, &mut self.headers);
        let is_full = self.headers.len() == self.expected;
        self.expected = (self.headers.len() * 2).clamp(FEWEST, MOST);
        if let Some(overrun) = taken? {
            self.overrun = Some(overrun);
        }
        Ok(is_full)
    }

    /// The datagrams of the last call, oldest first.
    #[must_use]
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = InDatagram<'_>> {
        self.headers.iter().zip(self.space.chunks_exact(SLOT_BYTES)).map(|(header, slot)| InDatagram {
            bytes: &slot[..header.len],
            peer: header.peer,
            local: header.local,
            to_many: header.to_many,
            hops: header.hops,
        })
    }

    /// How many datagrams the kernel has dropped on the socket of the last call since it was opened, because its queue was
    /// full; to be asked once after each call.
    pub fn take_overrun(&mut self) -> Option<u32> {
        self.overrun.take()
    }
}
