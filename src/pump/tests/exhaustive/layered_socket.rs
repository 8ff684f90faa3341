//! TLS-like layer over a scripted socket: a handshake, bytes held back in both directions, `close_notify`.

use crate::socket::ByteStream;
use crate::testing::{Event, ScriptedSocket, SimulatedSocket};
use std::io::{self, ErrorKind};

/// Bytes that the layer takes before the socket has taken them.
const HELD_BYTES: usize = 2;

/// Plain text is the same bytes as on the socket, after two bytes of handshake.
pub(super) struct LayeredSocket {
    pub(super) socket: ScriptedSocket,
    handshake_left: usize,
    /// Bytes that were read from the socket and not delivered. No event announces them.
    received: Vec<u8>,
    held: Vec<u8>,
    /// The socket took less than was offered, and has reported no event since.
    is_full: bool,
    written: Vec<u8>,
    close_notifies: usize,
}

impl LayeredSocket {
    pub(super) fn new(socket: ScriptedSocket) -> Self {
        let (received, held, written) = (Vec::new(), Vec::new(), Vec::new());
        Self { socket, handshake_left: 2, received, held, is_full: false, written, close_notifies: 0 }
    }
}

impl SimulatedSocket for LayeredSocket {
    fn next_event(&mut self) -> Option<Event> {
        let event = self.socket.next_event()?;
        self.is_full &= !(event.1 || event.2);
        Some(event)
    }

    fn written(&self) -> &[u8] {
        &self.written
    }
}

impl ByteStream for LayeredSocket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.received.is_empty() {
            let mut bytes = [0; 512];
            match self.socket.read(&mut bytes)? {
                0 if self.handshake_left > 0 => return Err(ErrorKind::UnexpectedEof.into()),
                0 => return Ok(0),
                count => {
                    let handshake = count.min(self.handshake_left);
                    self.handshake_left -= handshake;
                    self.received.extend_from_slice(&bytes[handshake..count]);
                }
            }
        }
        let count = room.len().min(self.received.len());
        room[..count].copy_from_slice(&self.received[..count]);
        self.received.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(self.handshake_left, 0, "nothing is written before the handshake is complete");
        assert_eq!(self.close_notifies, 0, "nothing is written after the end");
        let mut taken = 0;
        while taken < bytes.len() {
            let count = (bytes.len() - taken).min(HELD_BYTES.saturating_sub(self.held.len()));
            self.held.extend_from_slice(&bytes[taken..taken + count]);
            taken += count;
            match self.flush() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ if !self.held.is_empty() => break,
                _ => {}
            }
        }
        self.written.extend_from_slice(&bytes[..taken]);
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        self.flush()?;
        if !self.held.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.close_notifies += 1;
        assert_eq!(self.close_notifies, 1, "the sending half is shut down once");
        Ok(())
    }

    fn drained_by(&self, _offered: usize, _received: usize) -> bool {
        false
    }

    fn is_handshaking(&self) -> bool {
        self.handshake_left > 0
    }

    fn holds_unsent(&self) -> bool {
        !self.held.is_empty()
    }

    fn flush(&mut self) -> io::Result<usize> {
        let mut flushed = 0;
        while !self.held.is_empty() {
            if self.is_full {
                return if flushed == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(flushed) };
            }
            match self.socket.write(&self.held) {
                Ok(count) => {
                    self.is_full = count < self.held.len();
                    self.held.drain(..count);
                    flushed += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    fn take_error(&self) -> Option<io::Error> {
        self.socket.take_error()
    }

    fn needs_close_notify(&self) -> bool {
        true
    }
}
