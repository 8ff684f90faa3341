//! Pump: joins a socket to a connection in turns of reading, serving, writing and shutting down.
//!
//! One turn moves bytes until the socket would block or the turn's byte budget is spent. The pump makes no decision
//! about the connection: it asks the [`Connection`] what it wants and reports what the socket did. Nothing else joins a
//! socket to a connection.
//!
//! A turn of a quiet connection costs one read and one write per message. A read shorter than the buffer shows that the
//! socket is drained (epoll(7), question 9), which saves a second read that would only return `WouldBlock`.
//!
//! From the event loop to the system call everything that a message passes through is inlined. On some CPUs each function
//! that returns after a system call costs more than 100 ns, probably because mitigations in the kernel clear the predictions
//! of returns. A bare epoll loop whose calls are in a function of their own takes 7 % more CPU time per message.

mod session;
#[cfg(test)]
mod tests;

pub use session::Session;

use crate::buffer::{BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::service::{Host, Service};
use crate::socket::ByteStream;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Instant;

/// Result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The socket would block. An event or a deadline starts the next turn.
    Blocked,
    /// The byte budget is spent but more can be done. The connection must go to the back of the ready queue, because no
    /// event may follow for bytes that have already arrived.
    Yielded,
    /// The connection has opened and needs its service: see [`Connection::open`]. Another turn must follow.
    Opened,
    /// The connection is over; its socket should be closed now.
    Closed(CloseReason),
}

impl Turn {
    /// The close reason, if the connection is over.
    #[inline]
    pub fn closed(self) -> Option<CloseReason> {
        if let Self::Closed(reason) = self { Some(reason) } else { None }
    }
}

/// Observes the bytes that a pump moves, and supplies the time and the facts about the connection.
pub trait Observer: Host {
    /// Returns the current time.
    fn now(&mut self) -> Instant;
    /// Reads from `socket` into `room`. Called for every read.
    ///
    /// # Errors
    ///
    /// Those of [`ByteStream::read`].
    #[inline(always)]
    fn read<T: ByteStream>(&mut self, socket: &mut T, room: &mut [u8]) -> io::Result<usize> {
        socket.read(room)
    }
    /// Writes `bytes` to `socket`. Called for every write.
    ///
    /// # Errors
    ///
    /// Those of [`ByteStream::write`].
    #[inline(always)]
    fn write<T: ByteStream>(&mut self, socket: &mut T, bytes: &[u8]) -> io::Result<usize> {
        socket.write(bytes)
    }
    /// The handshake is complete, with these parameters. Called once, before the first bytes; never without a
    /// handshake.
    fn handshake_done(&mut self, _negotiated: &dyn fmt::Display) {}
    /// These bytes were received.
    fn received(&mut self, _bytes: &[u8]) {}
    /// The socket took these bytes.
    fn sent(&mut self, _bytes: &[u8]) {}
}

/// Observer that only supplies the time.
#[derive(Debug)]
pub struct TimeOnlyObserver(pub Instant);

impl Host for TimeOnlyObserver {}

impl Observer for TimeOnlyObserver {
    fn now(&mut self) -> Instant {
        self.0
    }
}

/// Everything a turn needs besides the connection and its socket.
#[derive(Debug)]
pub struct Pump<'a, O> {
    /// Supplies the storage for the turn.
    pub pool: &'a mut BufferPool,
    /// Counts the memory that connections hold between their turns.
    pub memory: &'a MemoryAccount,
    /// The limits of the connection.
    pub limits: &'a Limits,
    /// Observes the bytes and supplies the time.
    pub observer: &'a mut O,
}

impl<O: Observer> Pump<'_, O> {
    /// Runs one turn of `connection` on `socket`.
    #[inline(always)]
    pub fn turn<S: Service, T: ByteStream>(&mut self, connection: &mut Connection<S>, socket: &mut T) -> Turn {
        let mut budget = self.limits.turn_bytes;
        let turn = loop {
            if connection.wants_open() {
                break Turn::Opened;
            }
            if connection.wants_sends() {
                connection.queue_sends(self.pool, self.limits);
            }
            if connection.wants_service() {
                let now = self.observer.now();
                connection.serve(self.pool, self.limits, now, self.observer, socket);
            }
            if connection.wants_write() {
                let sent = self.write(connection, socket);
                budget = budget.saturating_sub(sent);
            }
            if socket.holds_unsent() && connection.wants_flush() {
                self.flush(connection, socket);
            }
            connection.finish_if_drained(self.limits);
            if connection.wants_shut() {
                self.shut(connection, socket);
            }
            if let Some(reason) = connection.closed() {
                break Turn::Closed(reason);
            }
            let wants_read = connection.wants_read(self.limits);
            if !wants_read && !connection.wants_service() && !connection.wants_sends_now() {
                if connection.wants_error() && check_error(connection, socket) {
                    continue;
                }
                break Turn::Blocked;
            }
            if budget == 0 {
                break Turn::Yielded;
            }
            if wants_read {
                let received = self.read(connection, socket);
                budget = budget.saturating_sub(received);
            }
        };
        connection.release(self.pool);
        turn
    }

    #[inline(always)]
    fn read<S: Service, T: ByteStream>(&mut self, connection: &mut Connection<S>, socket: &mut T) -> usize {
        let was_handshaking = connection.is_handshaking();
        let room = connection.reading(self.pool, self.limits);
        let offered = room.len();
        let result = retry_interrupted(|| self.observer.read(socket, room));
        // One read can complete the handshake and return what follows it: data, the end of input or an error. The
        // handshake is reported first in all cases.
        let completed_handshake = was_handshaking && !socket.is_handshaking();
        if completed_handshake {
            self.observer.handshake_done(socket.negotiated());
        }
        if let Ok(count @ 1..) = result {
            self.observer.received(&room[..count]);
        }
        if completed_handshake {
            connection.handle_opened(self.observer.now());
        }
        match result {
            Ok(0) => connection.handle_end(),
            Ok(count) => {
                connection.handle_received(count, socket.drained_by(offered, count), self.observer.now());
                return count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.handle_read_blocked(),
            Err(error) => connection.handle_error(&error),
        }
        0
    }

    #[inline(always)]
    fn write<S: Service, T: ByteStream>(&mut self, connection: &mut Connection<S>, socket: &mut T) -> usize {
        match retry_interrupted(|| self.observer.write(socket, connection.writing())) {
            Ok(count) => {
                self.observer.sent(&connection.writing()[..count]);
                connection.handle_sent(count, self.limits, self.observer.now());
                return count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.handle_write_blocked(self.observer.now()),
            Err(error) => connection.handle_error(&error),
        }
        0
    }

    fn flush<S: Service, T: ByteStream>(&mut self, connection: &mut Connection<S>, socket: &mut T) {
        match retry_interrupted(|| socket.flush()) {
            Ok(_) => connection.handle_flushed(!socket.holds_unsent(), self.observer.now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.handle_write_blocked(self.observer.now()),
            Err(error) => connection.handle_error(&error),
        }
    }

    fn shut<S: Service, T: ByteStream>(&mut self, connection: &mut Connection<S>, socket: &mut T) {
        let closes_directly = connection.ends_with_close() && !socket.needs_close_notify();
        match if closes_directly { Ok(()) } else { socket.shut_sending() } {
            Ok(()) => connection.handle_shut(self.observer.now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.handle_write_blocked(self.observer.now()),
            Err(error) => connection.handle_error(&error),
        }
    }
}

/// Asks the socket for an error, such as a reset, and returns whether it had one.
#[cold]
fn check_error<S: Service, T: ByteStream>(connection: &mut Connection<S>, socket: &T) -> bool {
    let error = socket.take_error();
    match &error {
        Some(error) => connection.handle_error(error),
        None => connection.handle_no_error(),
    }
    error.is_some()
}

/// Handles deadlines of `connection` that may have expired by `now`. Those of waiting output depend on the peer's
/// acknowledgements.
pub(crate) fn handle_deadline<S: Service, T: ByteStream>(
    connection: &mut Connection<S>,
    socket: &T,
    limits: &Limits,
    now: Instant,
) {
    if connection.wants_delivery(limits)
        && let Some(delivery) = socket.delivery()
    {
        connection.handle_delivery(delivery.acknowledged_bytes, delivery.lacks_end, now);
    }
    connection.handle_deadline(limits, now);
}

/// Repeats a call that a signal interrupted before it had any effect (signal(7)).
#[inline(always)]
fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
