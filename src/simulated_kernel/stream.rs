//! Streams: bounded buffers, bytes that travel, ends and resets.

use super::poll::Source;
use super::{Action, Kernel, Nanos, Registration, with};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

/// A read or a write of a loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Number of the poll before it.
    pub(crate) round: u64,
    /// When a write began, or a read had ended.
    pub(crate) at: Nanos,
    /// Bytes of the stream up to its end.
    pub(crate) end: u64,
    pub(crate) is_read: bool,
}

/// One end of a stream.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(crate) struct Endpoint {
    /// The other end.
    pub(super) peer: usize,
    pub(crate) peer_address: SocketAddr,
    pub(super) registration: Option<Registration>,
    /// The script that owns it.
    script: Option<usize>,
    /// Bytes that have arrived.
    received: VecDeque<u8>,
    /// Its connect has not completed.
    pub(super) is_connecting: bool,
    /// Bytes that travel to it.
    travelling: usize,
    /// Bytes that travel to it or wait in it, at most.
    room: usize,
    /// The end has arrived.
    has_end: bool,
    /// A read has returned the end.
    pub(crate) end_read: bool,
    /// A reset has arrived.
    pub(crate) is_reset: bool,
    pub(super) error: Option<Errno>,
    /// The sending half is shut down.
    is_shut: bool,
    /// The end that was sent has arrived.
    end_arrived: bool,
    pub(crate) is_closed: bool,
    /// It took less than was offered, and has announced no room since.
    pub(crate) is_full: bool,
    resets_on_close: bool,
    /// When what was sent to it last arrives.
    last_arrival: Nanos,
    pub(crate) opened: Nanos,
    pub(crate) accepted: Option<Nanos>,
    /// The loop that has accepted it.
    pub(crate) accepted_by: usize,
    /// When the loop has learned that its connect has completed.
    pub(crate) connected: Option<Nanos>,
    /// Bytes that the loop had read when it shut down the sending half.
    pub(crate) read_before_shut: Option<u64>,
    /// It was registered with a loop.
    pub(crate) was_registered: bool,
    /// Its reads and writes, if they are kept.
    pub(crate) transfers: Vec<Transfer>,
    /// A write took less than it was offered.
    pub(crate) was_full: bool,
    /// The listener was closed before it was accepted.
    pub(crate) was_refused: bool,
    /// Bytes that the program has read, and written.
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    /// Bytes that have arrived at the other end.
    pub(crate) acknowledged_bytes: u64,
    /// When the program last wrote a byte, or one that it wrote arrived while others wait.
    pub(crate) last_moved: Nanos,
    /// When a byte that it wrote last arrived, or it wrote after everything had.
    pub(crate) last_delivered: Nanos,
    pub(crate) closed_at: Nanos,
    /// It was closed with a reset although its end had been sent.
    pub(crate) has_reset_after_end: bool,
}

/// A stream of a loop.
#[derive(Debug)]
pub struct SimulatedStream(u32);

impl SimulatedStream {
    pub(super) fn new(endpoint: usize) -> Self {
        Self(u32::try_from(endpoint).expect("a simulation is small"))
    }

    pub(crate) fn endpoint(&self) -> usize {
        self.0 as usize
    }

    pub(crate) fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        assert!(!room.is_empty(), "a read into an empty buffer looks like the end");
        with(|kernel| {
            kernel.call(4, self.endpoint());
            kernel.interrupt()?;
            assert!(!kernel.endpoints[self.endpoint()].end_read, "read after the end");
            let count = kernel.read(self.endpoint(), room)?;
            kernel.endpoints[self.endpoint()].end_read = count == 0;
            kernel.keep_transfer(self.endpoint(), kernel.now, count, true);
            kernel.record(count as u64);
            Ok(count)
        })
    }

    /// Copies what has arrived, and leaves it there (recv(2), `MSG_PEEK`).
    pub(crate) fn peek(&self, room: &mut [u8]) -> io::Result<usize> {
        with(|kernel| {
            kernel.call(9, self.endpoint());
            kernel.interrupt()?;
            let endpoint = &kernel.endpoints[self.endpoint()];
            let count = room.len().min(endpoint.received.len());
            for (byte, place) in endpoint.received.range(..count).zip(room) {
                *place = *byte;
            }
            // Without any, as a read: the end, or an error.
            if count == 0 { kernel.read(self.endpoint(), &mut []) } else { Ok(count) }
        })
    }

    pub(crate) fn peer_address(&self) -> SocketAddr {
        with(|kernel| kernel.endpoints[self.endpoint()].peer_address)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "an empty write is a wasted call");
        with(|kernel| {
            let begin = kernel.now;
            kernel.call(5, self.endpoint());
            kernel.interrupt()?;
            let count = kernel.write(self.endpoint(), bytes)?;
            kernel.keep_transfer(self.endpoint(), begin, count, false);
            kernel.record(count as u64);
            Ok(count)
        })
    }

    pub(crate) fn shut_sending(&self) {
        with(|kernel| {
            kernel.call(6, self.endpoint());
            kernel.shut(self.endpoint());
            let endpoint = &mut kernel.endpoints[self.endpoint()];
            endpoint.read_before_shut = Some(endpoint.read_bytes);
        });
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        with(|kernel| kernel.endpoints[self.endpoint()].error.take().map(Into::into))
    }

    pub(crate) fn reset_on_close(&self) {
        with(|kernel| kernel.endpoints[self.endpoint()].resets_on_close = true);
    }

    /// Bytes that the peer has acknowledged, and whether the end was sent and is not acknowledged.
    pub(crate) fn delivery(&self) -> (u64, bool) {
        with(|kernel| {
            let endpoint = &kernel.endpoints[self.endpoint()];
            (endpoint.acknowledged_bytes, endpoint.is_shut && !endpoint.end_arrived)
        })
    }
}

impl mio::event::Source for SimulatedStream {
    fn register(&mut self, _registry: &Registry, token: Token, _interests: Interest) -> io::Result<()> {
        with(|kernel| {
            if kernel.faults.register_errors && kernel.rng.one_in(20) {
                kernel.connect_faults.at_once += 1;
                return Err(Errno::NOSPC.into());
            }
            let registration = Some((kernel.current, token));
            let endpoint = &mut kernel.endpoints[self.endpoint()];
            (endpoint.registration, endpoint.was_registered) = (registration, true);
            kernel.announce(registration, Source::Endpoint(self.endpoint()));
            Ok(())
        })
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.register(registry, token, interests)
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        with(|kernel| {
            let registration = kernel.endpoints[self.endpoint()].registration.take();
            let registration = registration.expect("deregistered twice");
            kernel.forget(registration, Source::Endpoint(self.endpoint()));
        });
        Ok(())
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        with(|kernel| {
            kernel.call(7, self.endpoint());
            assert!(kernel.endpoints[self.endpoint()].registration.is_none(), "closed while registered");
            kernel.descriptors -= 1;
            kernel.close(self.endpoint());
        });
    }
}

impl Kernel {
    pub(crate) fn endpoint(&self, number: usize) -> &Endpoint {
        &self.endpoints[number]
    }

    /// The other end.
    pub(crate) fn other(&self, number: usize) -> &Endpoint {
        &self.endpoints[self.endpoints[number].peer]
    }

    /// The number of the other end.
    pub(crate) fn peer_of(&self, number: usize) -> usize {
        self.endpoints[number].peer
    }

    fn keep_transfer(&mut self, number: usize, at: Nanos, count: usize, is_read: bool) {
        if self.keeps_transfers && count > 0 {
            let round = self.rounds;
            let endpoint = &mut self.endpoints[number];
            let end = if is_read { endpoint.read_bytes } else { endpoint.written_bytes };
            endpoint.transfers.push(Transfer { round, at, end, is_read });
        }
    }

    /// Bytes that have arrived at `number`, and were not read.
    pub(crate) fn unread_bytes(&self, number: usize) -> usize {
        self.endpoints[number].received.len()
    }

    /// Whether `number` has something to read that no event will announce.
    pub(crate) fn has_unannounced_input(&self, number: usize) -> bool {
        self.readiness(number)[0] && !self.is_announced(Source::Endpoint(number))
    }

    pub(super) fn new_pair(&mut self, rooms: [usize; 2], address: SocketAddr, script: usize) -> [usize; 2] {
        let first = self.endpoints.len();
        for (index, room) in rooms.into_iter().enumerate() {
            self.endpoints.push(Endpoint {
                peer: first + 1 - index,
                peer_address: address,
                registration: None,
                script: (index == 1).then_some(script),
                received: VecDeque::new(),
                is_connecting: false,
                travelling: 0,
                room,
                has_end: false,
                end_read: false,
                is_reset: false,
                error: None,
                is_shut: false,
                end_arrived: false,
                is_closed: false,
                is_full: false,
                resets_on_close: false,
                last_arrival: self.now,
                opened: self.now,
                accepted: None,
                accepted_by: 0,
                connected: None,
                read_before_shut: None,
                was_registered: false,
                transfers: Vec::new(),
                was_full: false,
                was_refused: false,
                read_bytes: 0,
                written_bytes: 0,
                acknowledged_bytes: 0,
                last_moved: self.now,
                last_delivered: self.now,
                closed_at: 0,
                has_reset_after_end: false,
            });
        }
        [first, first + 1]
    }

    fn interrupt(&mut self) -> io::Result<()> {
        if self.faults.interruptions && self.rng.one_in(12) { Err(Errno::INTR.into()) } else { Ok(()) }
    }

    /// Readable, writable, hang-up.
    pub(super) fn readiness(&self, number: usize) -> [bool; 3] {
        let endpoint = &self.endpoints[number];
        if endpoint.is_connecting {
            return [false; 3];
        }
        let is_broken = endpoint.is_reset;
        let has_end = (endpoint.has_end || is_broken) && !endpoint.end_read;
        let readable = !endpoint.received.is_empty() || has_end;
        [readable, is_broken || self.window(number) > 0, endpoint.has_end || is_broken]
    }

    /// Bytes that the other end takes now.
    fn window(&self, number: usize) -> usize {
        let other = self.other(number);
        other.room.saturating_sub(other.received.len() + other.travelling)
    }

    pub(crate) fn read(&mut self, number: usize, room: &mut [u8]) -> io::Result<usize> {
        let now = self.now;
        let endpoint = &mut self.endpoints[number];
        let count = room.len().min(endpoint.received.len());
        if count == 0 {
            return match endpoint.error.take() {
                Some(error) => Err(error.into()),
                None if endpoint.has_end || endpoint.is_reset => Ok(0),
                None => Err(Errno::AGAIN.into()),
            };
        }
        for (byte, place) in endpoint.received.drain(..count).zip(room) {
            *place = byte;
        }
        endpoint.read_bytes += count as u64;
        let peer = endpoint.peer;
        if self.endpoints[peer].is_full {
            let delay = self.delay();
            self.schedule(now + delay, Action::Window(peer));
        }
        Ok(count)
    }

    pub(crate) fn write(&mut self, number: usize, bytes: &[u8]) -> io::Result<usize> {
        let window = self.window(number);
        let endpoint = &mut self.endpoints[number];
        assert!(!endpoint.is_shut, "written after the end");
        assert!(!endpoint.is_connecting, "written before the connect has completed");
        if let Some(error) = endpoint.error.take() {
            return Err(error.into());
        }
        if endpoint.is_reset {
            return Err(Errno::PIPE.into());
        }
        let count = bytes.len().min(window);
        endpoint.is_full = count < bytes.len();
        endpoint.was_full |= endpoint.is_full;
        if count == 0 {
            return Err(Errno::AGAIN.into());
        }
        if endpoint.acknowledged_bytes == endpoint.written_bytes {
            endpoint.last_delivered = self.now;
        }
        endpoint.written_bytes += count as u64;
        endpoint.last_moved = self.now;
        let peer = endpoint.peer;
        self.endpoints[peer].travelling += count;
        self.travel(peer, Action::Deliver(peer, bytes[..count].to_vec()));
        Ok(count)
    }

    /// Lets something travel to `to`, behind all that was sent before.
    fn travel(&mut self, to: usize, action: Action) {
        let arrival = (self.now + self.delay()).max(self.endpoints[to].last_arrival);
        self.endpoints[to].last_arrival = arrival;
        self.schedule(arrival, action);
    }

    pub(crate) fn shut(&mut self, number: usize) {
        let endpoint = &mut self.endpoints[number];
        assert!(!endpoint.is_shut, "the sending half is shut down once");
        endpoint.is_shut = true;
        let peer = endpoint.peer;
        self.travel(peer, Action::Finish(peer));
    }

    /// Closes an endpoint: with a reset if it has unread input, as in RFC 1122, section 4.2.2.13.
    pub(crate) fn close(&mut self, number: usize) {
        let now = self.now;
        let endpoint = &mut self.endpoints[number];
        assert!(!endpoint.is_closed, "closed twice");
        endpoint.is_closed = true;
        endpoint.closed_at = now;
        endpoint.has_reset_after_end = endpoint.is_shut && endpoint.resets_on_close;
        if endpoint.is_reset {
            return;
        }
        if endpoint.resets_on_close || !endpoint.received.is_empty() {
            self.send_reset(number);
        } else if !endpoint.is_shut {
            self.shut(number);
        }
    }

    /// Closes an endpoint with a reset, whatever it has received.
    pub(crate) fn abort(&mut self, number: usize) {
        self.endpoints[number].resets_on_close = true;
        self.close(number);
    }

    pub(super) fn send_reset(&mut self, from: usize) {
        let peer = self.endpoints[from].peer;
        if self.faults.lost_bytes {
            let delay = self.delay();
            self.schedule(self.now + delay, Action::Reset(peer));
        } else {
            self.travel(peer, Action::Reset(peer));
        }
    }

    pub(super) fn deliver(&mut self, number: usize, bytes: &[u8]) {
        let now = self.now;
        let endpoint = &mut self.endpoints[number];
        endpoint.travelling -= bytes.len();
        let peer = endpoint.peer;
        if endpoint.is_reset {
            return;
        }
        if endpoint.is_closed {
            // Nobody reads it.
            return self.send_reset(number);
        }
        endpoint.received.extend(bytes);
        let sender = &mut self.endpoints[peer];
        sender.acknowledged_bytes += bytes.len() as u64;
        sender.last_delivered = now;
        if sender.is_full {
            sender.last_moved = now;
        }
        self.news(number);
    }

    pub(super) fn finish(&mut self, number: usize) {
        let endpoint = &mut self.endpoints[number];
        if endpoint.is_reset {
            return;
        }
        endpoint.has_end = true;
        let peer = endpoint.peer;
        self.endpoints[peer].end_arrived = true;
        self.news(number);
    }

    pub(super) fn receive_reset(&mut self, number: usize) {
        let endpoint = &mut self.endpoints[number];
        if endpoint.is_reset || endpoint.is_closed {
            return;
        }
        endpoint.is_reset = true;
        endpoint.error = Some(Errno::CONNRESET);
        if endpoint.script.is_some() {
            // Some systems discard what was not read.
            endpoint.received.clear();
        }
        self.news(number);
    }

    pub(super) fn open_window(&mut self, number: usize) {
        // It may have been filled again since.
        let has_room = self.window(number) > 0;
        let endpoint = &mut self.endpoints[number];
        if endpoint.is_full && has_room && !endpoint.is_closed {
            endpoint.is_full = false;
            self.news(number);
        }
    }

    pub(super) fn news(&mut self, number: usize) {
        let endpoint = &self.endpoints[number];
        let (registration, script) = (endpoint.registration, endpoint.script);
        self.announce(registration, Source::Endpoint(number));
        self.due_scripts.extend(script);
    }
}
