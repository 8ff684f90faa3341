//! The circle itself: read, serve, write, shut down. Nothing else joins a socket to a connection.
//!
//! One turn moves bytes until the socket has nothing more to give or to take, or until the turn's byte budget is
//! spent. The pump decides nothing about the conversation: it asks the [`Connection`] what it wants, and tells it what
//! the socket did.
//!
//! Per message of a quiet conversation a turn costs one read and one write: a read shorter than the room offered means
//! that the socket is drained (epoll(7), question 9), so the second read that would only say "would block" is saved.

mod session;
#[cfg(test)]
mod tests;

pub use session::Session;

use crate::buffer::{BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::service::Service;
use crate::socket::Transport;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Instant;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The socket can do nothing more for now; an event or a deadline will bring the next turn.
    Blocked,
    /// The byte budget is spent but there is more to do: the connection must go to the back of the ready queue, because
    /// no event may come for what is already there.
    Yielded,
    /// The conversation is over; the socket should be closed now.
    Closed(CloseReason),
}

/// What watches the bytes go by, and holds the clock.
pub trait Observer {
    /// The time that counts for what happens now.
    fn now(&mut self) -> Instant;
    /// The handshake is complete, with these parameters. Called once, before the first bytes, and never without a handshake.
    fn handshake_done(&mut self, _negotiated: &dyn fmt::Display) {}
    /// These bytes came in.
    fn received(&mut self, bytes: &[u8]);
    /// These bytes were taken by the socket.
    fn sent(&mut self, bytes: &[u8]);
}

/// Everything a turn needs besides the connection and its socket.
#[derive(Debug)]
pub struct Pump<'a, O> {
    /// Lends the storage for the turn.
    pub pool: &'a mut BufferPool,
    /// Counts what connections hold between their turns.
    pub memory: &'a MemoryAccount,
    /// The limits of the connection.
    pub limits: &'a Limits,
    /// Watches and tells the time.
    pub observer: &'a mut O,
}

impl<O: Observer> Pump<'_, O> {
    /// Gives `connection` its turn on `socket`.
    #[inline]
    pub fn turn<S: Service, T: Transport>(&mut self, connection: &mut Connection<S>, socket: &mut T) -> Turn {
        let mut budget = self.limits.turn_bytes;
        let turn = loop {
            if connection.wants_service() {
                connection.serve(self.pool, self.limits, self.observer.now());
            }
            if connection.wants_write() {
                let sent = self.write(connection, socket);
                budget = budget.saturating_sub(sent);
            }
            if socket.holds_unsent() && connection.wants_flush() {
                self.flush(connection, socket);
            }
            connection.finish_if_drained();
            if connection.wants_shut() {
                self.shut(connection, socket);
            }
            if let Some(reason) = connection.closed() {
                break Turn::Closed(reason);
            }
            let reads = connection.wants_read(self.limits);
            if !reads && !connection.wants_service() {
                break Turn::Blocked;
            }
            if budget == 0 {
                break Turn::Yielded;
            }
            if reads {
                let received = self.read(connection, socket);
                budget = budget.saturating_sub(received);
            }
        };
        connection.release(self.pool);
        turn
    }

    #[inline]
    fn read<S: Service, T: Transport>(&mut self, connection: &mut Connection<S>, socket: &mut T) -> usize {
        let was_handshaking = connection.is_handshaking();
        let room = connection.reading(self.pool, self.limits);
        let offered = room.len();
        let result = retried(|| socket.read(room));
        // One read can complete the handshake and bring what follows it: data, the end of input, an error. The handshake
        // counts first, whatever the read returns.
        let is_handshake_done = was_handshaking && !socket.is_handshaking();
        if is_handshake_done {
            self.observer.handshake_done(socket.negotiated());
        }
        if let Ok(count @ 1..) = result {
            self.observer.received(&room[..count]);
        }
        if is_handshake_done {
            connection.handle_opened(self.limits, self.observer.now());
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

    #[inline]
    fn write<S: Service, T: Transport>(&mut self, connection: &mut Connection<S>, socket: &mut T) -> usize {
        match retried(|| socket.write(connection.writing())) {
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

    fn flush<S: Service, T: Transport>(&mut self, connection: &mut Connection<S>, socket: &mut T) {
        match retried(|| socket.flush()) {
            Ok(_) => connection.handle_flushed(!socket.holds_unsent(), self.observer.now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.handle_write_blocked(self.observer.now()),
            Err(error) => connection.handle_error(&error),
        }
    }

    fn shut<S: Service, T: Transport>(&mut self, connection: &mut Connection<S>, socket: &mut T) {
        let says_nothing = connection.ends_with_close() && !socket.needs_close_notify();
        match if says_nothing { Ok(()) } else { socket.shut_sending() } {
            Ok(()) => connection.handle_shut(self.observer.now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.handle_write_blocked(self.observer.now()),
            Err(error) => connection.handle_error(&error),
        }
    }
}

/// A deadline of `connection` may have come by `now`. Whether one of waiting output has depends on what the peer took.
fn handle_deadline<S: Service, T: Transport>(
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

/// A signal may interrupt any call before it did anything (signal(7)): it is simply made again.
#[inline]
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
