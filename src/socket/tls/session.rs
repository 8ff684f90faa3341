//! One TLS stream: rustls between a conversation's plain bytes and a socket.
//!
//! Edges: a read that leaves bytes behind, decrypted ones or some in the socket, never says that the socket is drained; what
//! the socket would not take stays in rustls until a flush, and bounds what is taken after it. Input is decrypted in the room
//! that the caller offers, so that one call of the system brings as much as without TLS and an idle stream holds no more
//! than rustls does.

use super::TlsFault;
use super::memory::SessionMemory;
use crate::socket::{Stream, Transport};
use rustls::{Connection, HandshakeKind};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// How much ciphertext may wait for the socket, in bytes: what one call hands over. Beyond that, writes wait.
pub(super) const UNSENT_BYTES: usize = 64 * 1024;

/// How much is still read and thrown away after a fault, in bytes, so that the alert for it is not lost in a reset.
const DISCARDED_BYTES: usize = 256 * 1024;

/// Enough of the first bytes to tell a request of HTTP.
const OPENING_BYTES: usize = 8;

/// The alert for a handshake that is too large: illegal_parameter, fatal, as OpenSSL has it (RFC 8446, section 6.2).
const ILLEGAL_PARAMETER: [u8; 7] = [21, 3, 3, 0, 2, 2, 47];

/// A stream that begins with a handshake.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any combination can occur")]
pub struct TlsStream {
    socket: Stream,
    session: Connection,
    memory: SessionMemory,
    /// What is wrong, once something is.
    fault: Option<TlsFault>,
    /// The fault has been told: what comes after it is thrown away.
    told: bool,
    /// The latest read left nothing behind, neither here nor in the socket.
    drained: bool,
    /// The peer's close_notify has come in.
    peer_closed: bool,
    /// Something has come in.
    heard: bool,
    /// Our close_notify has been said.
    said_farewell: bool,
    /// Bytes thrown away after a fault.
    discarded: usize,
}

impl TlsStream {
    /// A stream that accepts `most_handshake` bytes before its handshake is complete.
    pub(super) fn new(socket: Stream, mut session: Connection, most_handshake: usize) -> Self {
        session.set_buffer_limit(Some(UNSENT_BYTES));
        Self {
            socket,
            session,
            memory: SessionMemory::new(most_handshake),
            fault: None,
            told: false,
            drained: false,
            peer_closed: false,
            heard: false,
            said_farewell: false,
            discarded: 0,
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &Stream {
        &self.socket
    }

    /// The socket below, to be registered.
    pub fn socket_mut(&mut self) -> &mut Stream {
        &mut self.socket
    }

    /// What is wrong with this connection, if something is.
    #[must_use]
    pub fn fault(&self) -> Option<TlsFault> {
        self.fault
    }

    /// What was decrypted before and waits for a reader.
    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let result = self.session.reader().read(room);
        if let Ok(count) = result {
            self.memory.handle_taken(count);
        }
        result
    }

    /// Decrypts the first `received` bytes of `room` where they lie, as far as that goes, and returns how many plain bytes
    /// stand there instead.
    ///
    /// rustls takes 4 KiB at a time. What it has decrypted goes into the part of the room that it has taken already; there
    /// can be more than that only by what an incomplete record had left with it before, which is less than a record and
    /// stays with rustls until the next read.
    fn decrypt(&mut self, room: &mut [u8], received: usize) -> usize {
        let (mut consumed, mut plain) = (0, 0);
        while consumed < received {
            let admitted = self.memory.admitted(received - consumed);
            if admitted == 0 {
                self.refuse_handshake();
                break;
            }
            match self.session.read_tls(&mut &room[consumed..consumed + admitted]) {
                // Behind the peer's farewell nothing counts.
                Ok(0) => break,
                Ok(count) => {
                    self.memory.handle_fed(&room[consumed..consumed + count]);
                    consumed += count;
                }
                Err(_) => {
                    self.fault = Some(TlsFault::Misbehaved);
                    break;
                }
            }
            match self.session.process_new_packets() {
                Ok(state) => {
                    self.peer_closed = state.peer_has_closed();
                    self.memory.handle_processed(&self.session, &state);
                }
                Err(error) => {
                    let fault = TlsFault::of(&error);
                    let is_server = matches!(self.session, Connection::Server(_));
                    self.fault = Some(if is_server { fault.of_client() } else { fault });
                    self.memory.handle_failed();
                    break;
                }
            }
            plain += self.take(&mut room[plain..consumed]).unwrap_or(0);
        }
        plain += self.take(&mut room[plain..]).unwrap_or(0);
        self.memory.shrink(&mut self.session);
        plain
    }

    /// The peer's handshake is too large. rustls makes no alert for that; one that is not encrypted can be sent as long as
    /// nothing was agreed on.
    fn refuse_handshake(&mut self) {
        self.fault = Some(TlsFault::TooLarge);
        if self.session.protocol_version().is_none() && !self.session.wants_write() {
            // If the socket takes no 7 bytes, the peer learns it from the end.
            let _ = self.socket.write(&ILLEGAL_PARAMETER);
        }
    }

    /// Reads from the socket until there are plain bytes, or nothing more.
    fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let received = match self.socket.read(room) {
                Ok(0) => return Err(self.handle_cut()),
                Ok(count) => count,
                Err(error) => return Err(error),
            };
            let was_short = received < room.len();
            if !self.heard {
                self.heard = true;
                self.fault = TlsFault::of_opening(&room[..received.min(OPENING_BYTES)]);
            }
            // Of what is no TLS, rustls still makes the alert that says so.
            let foreign = self.fault;
            let plain = self.decrypt(room, received);
            self.fault = foreign.or(self.fault);
            if plain > 0 {
                let is_open = self.fault.is_none() && !self.peer_closed;
                self.drained = was_short && is_open && plain < room.len();
                return Ok(plain);
            }
            self.check()?;
            if self.peer_closed {
                return if self.is_handshaking() { Err(self.handle_cut()) } else { Ok(0) };
            }
        }
    }

    /// Tells of a fault, once.
    fn check(&mut self) -> io::Result<()> {
        match self.fault {
            Some(fault) if !self.told => {
                self.told = true;
                Err(io::Error::new(ErrorKind::InvalidData, fault))
            }
            _ => Ok(()),
        }
    }

    /// The socket's input ended, and the peer's TLS had not.
    fn handle_cut(&mut self) -> io::Error {
        if self.session.is_handshaking() {
            self.fault = Some(TlsFault::Left);
        }
        ErrorKind::UnexpectedEof.into()
    }

    /// Throws away what comes after a fault, up to a limit.
    fn discard(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.discarded < DISCARDED_BYTES {
            match self.socket.read(room)? {
                0 => return Ok(0),
                count => self.discarded += count,
            }
        }
        Err(ErrorKind::ConnectionAborted.into())
    }
}

impl Transport for TlsStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.drained = false;
        if self.told {
            return self.discard(room);
        }
        match self.take(room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // After a part of what was decrypted, the socket has to be asked again: an event may have come meanwhile.
            result => return result,
        }
        self.check()?;
        self.receive(room)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nothing follows a fatal alert (RFC 8446, section 6.2).
        self.check()?;
        let mut taken = 0;
        while taken < bytes.len() {
            // What waits already goes along with it.
            let count = self.session.writer().write(&bytes[taken..])?;
            self.memory.handle_written(count);
            taken += count;
            match self.flush() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ if self.session.wants_write() => break,
                _ => {}
            }
        }
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Says close_notify (RFC 8446, section 6.1), and shuts the socket when it has taken everything.
    fn shut_sending(&mut self) -> io::Result<()> {
        // After a fault an alert has said it all.
        if !self.said_farewell && self.fault.is_none() {
            self.session.send_close_notify();
        }
        self.said_farewell = true;
        self.flush()?;
        if self.session.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.socket.shut_sending()
    }

    fn drained_by(&self, _offered: usize, _received: usize) -> bool {
        self.drained
    }

    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn holds_unsent(&self) -> bool {
        self.session.wants_write()
    }

    fn flush(&mut self) -> io::Result<usize> {
        let mut flushed = 0;
        while self.session.wants_write() {
            match self.session.write_tls(&mut Outlet(&mut self.socket)) {
                Ok(count) => {
                    flushed += count;
                    self.memory.handle_flushed(count, !self.session.wants_write());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && flushed > 0 => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    fn held_bytes(&self) -> usize {
        self.memory.held_bytes()
    }

    fn needs_close_notify(&self) -> bool {
        self.fault.is_none()
    }
}

/// Shows what was agreed on, such as "TLS 1.3, AES-256-GCM".
impl fmt::Display for TlsStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS",
        };
        let suite = self.session.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("no cipher suite");
        let resumed = match self.session.handshake_kind() {
            Some(HandshakeKind::Resumed) => "resumed",
            _ => "full handshake",
        };
        write!(out, "{version}, {suite}, ")?;
        match self.session.alpn_protocol() {
            Some(name) => write!(out, "ALPN {}, ", String::from_utf8_lossy(name).escape_default())?,
            None => out.write_str("no ALPN, ")?,
        }
        out.write_str(resumed)
    }
}

/// The socket as rustls writes to it: all its records in one call.
struct Outlet<'a>(&'a mut Stream);

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
