//! Datagrams on their way out, many with one call.

use super::DatagramSocket;
use super::batch;
use super::hops::FARTHEST;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// How many datagrams one call sends at the most.
const MOST: usize = 64;

/// One datagram that waits to be sent.
#[derive(Debug, Clone)]
pub struct Letter {
    range: Range<usize>,
    /// Whom it goes to; nobody in particular where the socket is connected.
    pub(super) to: Option<SocketAddr>,
    /// Which of this machine's addresses it should come from; whichever the system chooses, if none.
    pub(super) from: Option<IpAddr>,
    /// Its hop limit; that of the socket, if none.
    hops: Option<u8>,
}

impl Letter {
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
pub struct Outbox {
    bytes: Vec<u8>,
    letters: Vec<Letter>,
}

impl Outbox {
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
            self.letters.push(Letter { range: start..self.bytes.len(), to, from, hops });
        } else {
            self.bytes.truncate(start);
        }
        is_wanted
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// What waits, oldest first.
    #[must_use]
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// What `letter` says.
    #[must_use]
    pub fn bytes(&self, letter: &Letter) -> &[u8] {
        &self.bytes[letter.range.clone()]
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.letters.clear();
        self.bytes.clear();
    }

    /// Sends what waits, and tells `outcome` of each datagram, in order, what became of it. Stops at the first for which
    /// the socket has no room, and returns how many were dealt with; nothing is thrown away.
    ///
    /// A failed datagram does not hold up the others: each may have its own way.
    pub fn send(&self, socket: &DatagramSocket, mut outcome: impl FnMut(&Letter, io::Result<()>)) -> usize {
        let mut done = 0;
        while done < self.letters.len() {
            let run = self.run_from(done);
            let mut from = self.letters[done].from;
            let sent = loop {
                match batch::send(socket, run, &self.bytes_of(run), (from, self.letters[done].hops)) {
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
                    run[..count].iter().for_each(|letter| outcome(letter, Ok(())));
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
    fn run_from(&self, start: usize) -> &[Letter] {
        let rest = &self.letters[start..self.letters.len().min(start + MOST)];
        let same = rest.iter().take_while(|letter| (letter.from, letter.hops) == (rest[0].from, rest[0].hops)).count();
        &rest[..same]
    }

    fn bytes_of(&self, run: &[Letter]) -> Vec<&[u8]> {
        run.iter().map(|letter| self.bytes(letter)).collect()
    }
}

fn is_wrong_source(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::ADDRNOTAVAIL | Errno::NETUNREACH))
}
