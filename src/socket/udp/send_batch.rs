//! Send batch: many datagrams with one system call.

use super::DatagramSocket;
use super::control::{self, Route};
use super::hop_limit::MAX_REPLY_HOPS;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The maximum number of messages per call.
const MAX_BATCH: usize = 64;

/// The maximum number of datagrams that one message carries (`UDP_MAX_SEGMENTS` of linux/udp.h, before Linux 6.9).
const MAX_MERGED: usize = 64;

/// The maximum length of a message that carries several datagrams, in bytes: with the headers of IPv6 and UDP 65,535.
const MAX_MERGED_BYTES: usize = 65_487;

/// The size from which a batch is full, in bytes and in datagrams. With one more datagram it has 4 MiB at most.
const FULL_BYTES: usize = (4 << 20) - (1 << 16);
const FULL_DATAGRAMS: usize = 1024;

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

    /// Whether it should be sent before more is added: datagrams that were received merged can have many replies.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.datagrams.len() >= FULL_DATAGRAMS
    }

    /// Sends the batch, and calls `on_result` with the result of each datagram, in order. Stops at the first datagram
    /// for which the socket has no room, and returns how many were processed. The batch is left unchanged.
    ///
    /// A failed datagram does not stop the others, which may have other destinations.
    pub fn send(&self, socket: &DatagramSocket, mut on_result: impl FnMut(&OutDatagram, io::Result<()>)) -> usize {
        let (mut done, mut merges) = (0, socket.merges());
        while done < self.datagrams.len() {
            let call = self.call_from(done, merges);
            let payloads: Vec<_> = call.messages.iter().map(|message| self.payload(message)).collect();
            let mut route = self.datagrams[done].route;
            let sent = loop {
                match control::send(socket, &payloads, route, call.segment) {
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
                    let end = call.messages[count - 1].end;
                    self.datagrams[done..end].iter().for_each(|datagram| on_result(datagram, Ok(())));
                    done = end;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The rest of the batch is sent one by one, and each datagram gets a result of its own.
                Err(error) if call.segment.is_some() && is_unmergeable(&error) => merges = false,
                Err(error) => {
                    on_result(&self.datagrams[done], Err(error));
                    done += 1;
                }
            }
        }
        done
    }

    /// The messages from datagram `start` on that one call can send: they have the same source address, hop limit and
    /// segment. A datagram that is no longer than the segment is not split.
    fn call_from(&self, start: usize, merges: bool) -> Call {
        let route = self.datagrams[start].route;
        let mut call = Call { messages: Vec::with_capacity(MAX_BATCH), segment: None };
        let (mut next, mut longest) = (start, 0);
        while call.messages.len() < MAX_BATCH && self.datagrams.get(next).is_some_and(|first| first.route == route) {
            let message = if merges { next..self.end_of_message(next) } else { next..next + 1 };
            let len = self.datagrams[next].len();
            let is_merged = message.len() > 1;
            let segment = call.segment.map(usize::from).or(is_merged.then_some(len));
            let fits = segment.is_none_or(|segment| longest.max(len) <= segment && (!is_merged || len == segment));
            if !fits {
                break;
            }
            call.segment = segment.and_then(|segment| segment.try_into().ok());
            longest = longest.max(len);
            next = message.end;
            call.messages.push(message);
        }
        call
    }

    /// The end of the datagrams from `start` on that one message can carry: they have one destination and route, and equal
    /// lengths, of which the last may be shorter. Payloads lie one after another.
    fn end_of_message(&self, start: usize) -> usize {
        let first = &self.datagrams[start];
        let (segment, mut total) = (first.len(), first.len());
        let mut end = start + 1;
        for datagram in self.datagrams[end..].iter().take(MAX_MERGED - 1) {
            let len = datagram.len();
            total += len;
            let is_same = datagram.to == first.to && datagram.route == first.route;
            // A datagram without payload would be lost.
            if !is_same || len == 0 || len > segment || total > MAX_MERGED_BYTES {
                break;
            }
            end += 1;
            if len < segment {
                break;
            }
        }
        end
    }

    fn payload(&self, message: &Range<usize>) -> (Option<SocketAddr>, &[u8]) {
        let (first, last) = (&self.datagrams[message.start], &self.datagrams[message.end - 1]);
        (first.to, &self.bytes[first.range.start..last.range.end])
    }
}

/// What one call sends.
#[derive(Debug)]
struct Call {
    /// The datagrams that each message carries.
    messages: Vec<Range<usize>>,
    /// The length of each datagram of a message that carries several, but for the last.
    segment: Option<u16>,
}

/// Whether the kernel refuses a message because it carries several datagrams: a network card without checksum offload
/// (`EIO`), or datagrams that have to be fragmented (`EINVAL`, `EMSGSIZE`).
fn is_unmergeable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::INVAL | Errno::MSGSIZE))
}

fn is_wrong_source(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::ADDRNOTAVAIL | Errno::NETUNREACH))
}

#[cfg(test)]
mod tests {
    use super::{MAX_MERGED, SendBatch};
    use std::net::SocketAddr;

    /// A batch of datagrams to ports, each with a length.
    fn batch(datagrams: &[(u16, usize)]) -> SendBatch {
        let mut batch = SendBatch::default();
        for &(port, len) in datagrams {
            batch.add(Some(SocketAddr::from(([127, 0, 0, 1], port))), None, None, |bytes| {
                bytes.resize(bytes.len() + len, 0);
                true
            });
        }
        batch
    }

    /// The numbers of datagrams per message of each call, and its segment.
    fn calls(datagrams: &[(u16, usize)], merges: bool) -> Vec<(Vec<usize>, Option<u16>)> {
        let (batch, mut start, mut calls) = (batch(datagrams), 0, Vec::new());
        while start < datagrams.len() {
            let call = batch.call_from(start, merges);
            start = call.messages.last().expect("a call sends something").end;
            let bytes: usize = call.messages.iter().map(|message| batch.payload(message).1.len()).sum();
            let range = call.messages[0].start..start;
            assert_eq!(bytes, datagrams[range].iter().map(|(_, len)| len).sum::<usize>());
            calls.push((call.messages.iter().map(ExactSizeIterator::len).collect(), call.segment));
        }
        calls
    }

    #[test]
    fn datagrams_of_one_length_to_one_peer_are_merged() {
        assert_eq!(calls(&[(1, 8), (1, 8), (1, 3), (1, 3), (2, 8), (2, 8)], true), [(vec![3, 1, 2], Some(8)),]);
        assert_eq!(calls(&[(1, 8), (2, 8), (1, 8)], true), [(vec![1, 1, 1], None)]);
        assert_eq!(calls(&[(1, 8), (1, 8)], false), [(vec![1, 1], None)]);
        // Another segment, or a longer datagram, begins a call.
        assert_eq!(
            calls(&[(1, 9), (2, 8), (2, 8), (3, 9), (4, 4), (4, 4)], true),
            [(vec![1], None), (vec![2], Some(8)), (vec![1], None), (vec![2], Some(4)),]
        );
    }

    #[test]
    fn messages_have_limits() {
        assert_eq!(calls(&[(1, 0), (1, 0), (1, 1), (1, 1), (1, 0)], true), [(vec![1, 1, 2, 1], Some(1))]);
        assert_eq!(calls(&[(1, 1); MAX_MERGED + 1], true), [(vec![MAX_MERGED, 1], Some(1))]);
        assert_eq!(calls(&[(1, 30_000); 5], true), [(vec![2, 2, 1], Some(30_000))]);
        assert_eq!(calls(&[(1, 65_507); 2], true), [(vec![1, 1], None)]);
    }

    #[test]
    fn a_batch_becomes_full() {
        assert!(!batch(&[(1, 8); 1000]).is_full() && batch(&[(1, 8); 1024]).is_full());
        assert!(batch(&[(1, 1 << 16); 64]).is_full());
    }
}
