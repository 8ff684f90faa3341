//! Send batch: many datagrams with one system call.

use super::DatagramSocket;
use super::control::{self, Route};
use super::hop_limit::MAX_REPLY_HOPS;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The maximum number of datagrams per call.
const MAX_BATCH: usize = 64;

/// A datagram to be sent.
#[derive(Debug, Clone)]
pub struct OutDatagram {
    range: Range<usize>,
    /// The destination; none on a connected socket.
    to: Option<SocketAddr>,
    route: Route,
}

impl OutDatagram {
    /// The payload length, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// The destination.
    #[must_use]
    pub fn to(&self) -> Option<SocketAddr> {
        self.to
    }
}

/// Datagrams to be sent. Their payloads share one buffer, which is reused.
#[derive(Debug, Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    datagrams: Vec<OutDatagram>,
}

impl SendBatch {
    /// Adds a datagram with the payload that `write` appends, unless `write` returns false. `hops` is its hop limit;
    /// the socket's own if none. Returns whether it was added.
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
            let hops = hops.filter(|hops| *hops != MAX_REPLY_HOPS);
            self.datagrams.push(OutDatagram { range: start..self.bytes.len(), to, route: Route { from, hops } });
        } else {
            self.bytes.truncate(start);
        }
        is_wanted
    }

    /// The datagrams of the batch, oldest first.
    #[must_use]
    pub fn datagrams(&self) -> &[OutDatagram] {
        &self.datagrams
    }

    /// The payload of `datagram`.
    #[must_use]
    pub fn bytes(&self, datagram: &OutDatagram) -> &[u8] {
        &self.bytes[datagram.range.clone()]
    }

    /// Removes all datagrams.
    pub fn clear(&mut self) {
        self.datagrams.clear();
        self.bytes.clear();
    }

    /// Sends the batch, and calls `on_result` with the result of each datagram, in order. Stops at the first datagram
    /// for which the socket has no room, and returns how many were processed. The batch is left unchanged.
    ///
    /// A failed datagram does not stop the others, which may have other destinations.
    pub fn send(&self, socket: &DatagramSocket, mut on_result: impl FnMut(&OutDatagram, io::Result<()>)) -> usize {
        let mut done = 0;
        while done < self.datagrams.len() {
            let run = self.run_from(done);
            let mut route = self.datagrams[done].route;
            let sent = loop {
                match control::send(socket, &self.addressed(run), route) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // The address was removed since, or is not a unicast address: fall back to the system's choice.
                    Err(error) if route.from.is_some() && is_wrong_source(&error) => route.from = None,
                    result => break result,
                }
            };
            match sent {
                // The system never returns 0. Treated as a success, it would loop for ever.
                Ok(0) => break,
                Ok(count) => {
                    run[..count].iter().for_each(|datagram| on_result(datagram, Ok(())));
                    done += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    on_result(&run[0], Err(error));
                    done += 1;
                }
            }
        }
        done
    }

    /// The datagrams from `start` on that one call can send: they have the same source address and hop limit.
    fn run_from(&self, start: usize) -> &[OutDatagram] {
        let rest = &self.datagrams[start..self.datagrams.len().min(start + MAX_BATCH)];
        let same = rest.iter().take_while(|datagram| datagram.route == rest[0].route).count();
        &rest[..same]
    }

    fn addressed(&self, run: &[OutDatagram]) -> Vec<(Option<SocketAddr>, &[u8])> {
        run.iter().map(|datagram| (datagram.to, self.bytes(datagram))).collect()
    }
}

fn is_wrong_source(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::ADDRNOTAVAIL | Errno::NETUNREACH))
}
