//! Datagrams on their way out, many with one call.

use super::DatagramSocket;
use super::hop_limit::FARTHEST;
use super::mmsg;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// How many datagrams one call sends at the most.
const MOST: usize = 64;

/// One datagram that waits to be sent.
#[derive(Debug, Clone)]
pub struct OutDatagram {
    range: Range<usize>,
    /// Whom it goes to; nobody in particular where the socket is connected.
    pub(super) to: Option<SocketAddr>,
    /// Which of this machine's addresses it should come from; whichever the system chooses, if none.
    pub(super) from: Option<IpAddr>,
    /// Its hop limit; that of the socket, if none.
    hops: Option<u8>,
}

impl OutDatagram {
    /// How long it is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it says nothing, which is a datagram like any other.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whom it goes to.
    #[must_use]
    pub fn to(&self) -> Option<SocketAddr> {
        self.to
    }
}

/// Datagrams that wait to be sent, one after the other in one piece of memory, which is used again.
#[derive(Debug, Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    datagrams: Vec<OutDatagram>,
}

impl SendBatch {
    /// Adds a datagram with what `write` appends, unless that returns false. `hops` is its hop limit, that of the socket if
    /// none.
    pub fn add(
        &mut self,
        to: Option<SocketAddr>,
        from: Option<IpAddr>,
        hops: Option<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        let is_wanted = write(&mut self.bytes);
        if is_wanted {
            let hops = hops.filter(|hops| *hops != FARTHEST);
            self.datagrams.push(OutDatagram { range: start..self.bytes.len(), to, from, hops });
        } else {
            self.bytes.truncate(start);
        }
        is_wanted
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// What waits, oldest first.
    #[must_use]
    pub fn datagrams(&self) -> &[OutDatagram] {
        &self.datagrams
    }

    /// What `datagram` says.
    #[must_use]
    pub fn bytes(&self, datagram: &OutDatagram) -> &[u8] {
        &self.bytes[datagram.range.clone()]
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.datagrams.clear();
        self.bytes.clear();
    }

    /// Sends what waits, and tells `outcome` of each datagram, in order, what became of it. Stops at the first for which
    /// the socket has no room, and returns how many were dealt with; nothing is thrown away.
    ///
    /// A failed datagram does not hold up the others: each may have its own way.
    pub fn send(&self, socket: &DatagramSocket, mut outcome: impl FnMut(&OutDatagram, io::Result<()>)) -> usize {
        let mut done = 0;
        while done < self.datagrams.len() {
            let run = self.run_from(done);
            let mut from = self.datagrams[done].from;
            let sent = loop {
                match mmsg::send(socket, run, &self.bytes_of(run), (from, self.datagrams[done].hops)) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // The address is gone since, or it was no single machine's: the system's choice is better than nothing.
                    Err(error) if from.is_some() && is_wrong_source(&error) => from = None,
                    result => break result,
                }
            };
            match sent {
                // The system never says so; taken for a success it would be asked for ever.
                Ok(0) => break,
                Ok(count) => {
                    run[..count].iter().for_each(|datagram| outcome(datagram, Ok(())));
                    done += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    outcome(&run[0], Err(error));
                    done += 1;
                }
            }
        }
        done
    }

    /// The letters from `start` on that one call can send: they come from the same address, and go as far.
    fn run_from(&self, start: usize) -> &[OutDatagram] {
        let rest = &self.datagrams[start..self.datagrams.len().min(start + MOST)];
        let same =
            rest.iter().take_while(|datagram| (datagram.from, datagram.hops) == (rest[0].from, rest[0].hops)).count();
        &rest[..same]
    }

    fn bytes_of(&self, run: &[OutDatagram]) -> Vec<&[u8]> {
        run.iter().map(|datagram| self.bytes(datagram)).collect()
    }
}

fn is_wrong_source(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::ADDRNOTAVAIL | Errno::NETUNREACH))
}
