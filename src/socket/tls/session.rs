//! One TLS stream: rustls between plaintext and a socket.
//!
//! Events are edge-triggered. A read that leaves bytes behind, decrypted or in the socket, never reports the socket as
//! drained. Output that the socket does not take stays in rustls until a flush, and bounds further writes.
//!
//! Input is decrypted in the caller's buffer. So one system call reads as much as without TLS, and an idle stream holds
//! no more memory than rustls does.

use super::memory::{SessionMemory, UNSENT_BYTES};
use crate::socket::TlsFacts;
use crate::socket::byte_stream::ByteStream;
use crate::socket::tls_fault::TlsFault;
use rustls::{Connection, HandshakeKind};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// How much input is read and discarded after a fault, in bytes, so that a reset does not destroy the alert.
const DISCARDED_BYTES: usize = 256 * 1024;

/// Enough of the first bytes to recognize an HTTP request.
const OPENING_BYTES: usize = 8;

/// The alert for a handshake that is too large: illegal_parameter, fatal, as OpenSSL sends it (RFC 8446, section 6.2).
const ILLEGAL_PARAMETER: [u8; 7] = [21, 3, 3, 0, 2, 2, 47];

/// TLS over the transport `T`; it starts with the handshake.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any combination can occur")]
pub struct TlsLayer<T> {
    socket: T,
    session: Connection,
    memory: SessionMemory,
    /// The first fault of the connection.
    fault: Option<TlsFault>,
    /// The fault has been returned to the caller; later input is discarded.
    fault_reported: bool,
    /// The latest read left nothing behind, neither here nor in the socket.
    drained: bool,
    /// The peer's close_notify has arrived.
    peer_closed: bool,
    /// Some input has arrived.
    has_received: bool,
    /// Our close_notify has been sent, or a fault made it unnecessary.
    close_notify_sent: bool,
    /// The socket's sending half is shut down. What rustls still has to send, such as the alert for a record that was
    /// damaged, is dropped.
    has_shut: bool,
    /// Bytes discarded after a fault.
    discarded: usize,
}

impl<T: ByteStream> TlsLayer<T> {
    /// A stream that accepts `max_handshake` bytes before its handshake is complete.
    pub(super) fn new(socket: T, mut session: Connection, max_handshake: usize) -> Self {
        session.set_buffer_limit(Some(UNSENT_BYTES));
        Self {
            socket,
            session,
            memory: SessionMemory::new(max_handshake),
            fault: None,
            fault_reported: false,
            drained: false,
            peer_closed: false,
            has_received: false,
            close_notify_sent: false,
            has_shut: false,
            discarded: 0,
        }
    }

    /// The underlying socket.
    pub fn socket(&self) -> &T {
        &self.socket
    }

    /// The underlying socket, for registration.
    pub fn socket_mut(&mut self) -> &mut T {
        &mut self.socket
    }

    /// The fault of the connection, if any.
    #[must_use]
    pub fn fault(&self) -> Option<TlsFault> {
        self.fault
    }

    /// The negotiated protocol version.
    fn version(&self) -> &'static str {
        match self.session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS",
        }
    }

    /// Takes plaintext that was decrypted before.
    fn take(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.session.reader().read(buf);
        if let Ok(count) = result {
            self.memory.handle_taken(count);
        }
        result
    }

    /// Decrypts the first `received` bytes of `buf` in place, and returns how many bytes of plaintext it holds now.
    ///
    /// rustls takes 4 KiB at a time. The plaintext goes into the part of `buf` that rustls has already consumed. There
    /// can be more plaintext than that only by what an earlier, incomplete record had left in rustls. This excess is
    /// less than a record, and stays in rustls until the next read.
    fn decrypt(&mut self, buf: &mut [u8], received: usize) -> usize {
        let (mut consumed, mut plain) = (0, 0);
        while consumed < received {
            let admitted = self.memory.admitted(received - consumed);
            if admitted == 0 {
                self.refuse_handshake();
                break;
            }
            match self.session.read_tls(&mut &buf[consumed..consumed + admitted]) {
                // Input after the peer's close_notify is ignored.
                Ok(0) => break,
                Ok(count) => {
                    self.memory.handle_fed(&buf[consumed..consumed + count]);
                    consumed += count;
                }
                Err(_) => {
                    self.fault = Some(TlsFault::ProtocolViolation);
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
            plain += self.take(&mut buf[plain..consumed]).unwrap_or(0);
        }
        plain += self.take(&mut buf[plain..]).unwrap_or(0);
        self.memory.shrink(&mut self.session);
        plain
    }

    /// Refuses a handshake that is too large. rustls makes no alert for that. An unencrypted one can be sent as long as
    /// no protocol version was negotiated.
    fn refuse_handshake(&mut self) {
        self.fault = Some(TlsFault::TooLarge);
        if self.session.protocol_version().is_none() && !self.session.wants_write() {
            // If the socket does not take the 7 bytes, the peer only sees the connection close.
            let _ = self.socket.write(&ILLEGAL_PARAMETER);
        }
    }

    /// Reads from the socket until there is plaintext, or no more input.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let received = match self.socket.read(buf) {
                Ok(0) => return Err(self.handle_truncation()),
                Ok(count) => count,
                Err(error) => return Err(error),
            };
            let was_short = received < buf.len();
            if !self.has_received {
                self.has_received = true;
                self.fault = TlsFault::of_opening(&buf[..received.min(OPENING_BYTES)]);
            }
            // rustls still makes the alert for input that is not TLS.
            let opening_fault = self.fault;
            let plain = self.decrypt(buf, received);
            self.fault = opening_fault.or(self.fault);
            if plain > 0 {
                let is_open = self.fault.is_none() && !self.peer_closed;
                self.drained = was_short && is_open && plain < buf.len();
                return Ok(plain);
            }
            self.check()?;
            if self.peer_closed {
                return if self.is_handshaking() { Err(self.handle_truncation()) } else { Ok(0) };
            }
        }
    }

    /// Returns a fault as an error, once.
    fn check(&mut self) -> io::Result<()> {
        match self.fault {
            Some(fault) if !self.fault_reported => {
                self.fault_reported = true;
                Err(io::Error::new(ErrorKind::InvalidData, fault))
            }
            _ => Ok(()),
        }
    }

    /// The socket's input ended without the peer's close_notify.
    fn handle_truncation(&mut self) -> io::Error {
        if self.session.is_handshaking() {
            self.fault = Some(TlsFault::ClosedEarly);
        }
        ErrorKind::UnexpectedEof.into()
    }

    /// Discards input after a fault, up to a limit.
    fn discard(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.discarded < DISCARDED_BYTES {
            match self.socket.read(buf)? {
                0 => return Ok(0),
                count => self.discarded += count,
            }
        }
        Err(ErrorKind::ConnectionAborted.into())
    }
}

impl<T: ByteStream> ByteStream for TlsLayer<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.drained = false;
        if self.fault_reported {
            return self.discard(buf);
        }
        match self.take(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // `drained` stays false: after buffered plaintext the socket must be read again, an event may have come
            // since.
            result => return result,
        }
        self.check()?;
        self.receive(buf)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        // Nothing follows close_notify or a fatal alert (RFC 8446, section 6). rustls would take it, and discard it silently.
        if self.close_notify_sent || self.fault.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        // rustls would hold it until then, and lose it if close_notify is sent before.
        if self.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        while taken < bytes.len() {
            // Ciphertext that is already waiting goes out with it.
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

    /// Sends close_notify (RFC 8446, section 6.1), and shuts down the socket's sending half once everything is written.
    fn shut_sending(&mut self) -> io::Result<()> {
        // After a fault the alert takes its place.
        if !self.close_notify_sent && self.fault.is_none() {
            self.session.send_close_notify();
        }
        self.close_notify_sent = true;
        self.flush()?;
        if self.session.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.socket.shut_sending()?;
        self.has_shut = true;
        Ok(())
    }

    fn drained_by(&self, _offered: usize, _received: usize) -> bool {
        self.drained
    }

    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn holds_unsent(&self) -> bool {
        self.session.wants_write() && !self.has_shut
    }

    fn flush(&mut self) -> io::Result<usize> {
        let mut flushed = 0;
        while self.holds_unsent() {
            match self.session.write_tls(&mut SocketWriter(&mut self.socket)) {
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

    fn tls_facts(&self) -> Option<TlsFacts<'_>> {
        let server_name = match &self.session {
            Connection::Server(session) => session.server_name(),
            Connection::Client(_) => None,
        };
        Some(TlsFacts {
            version: self.version(),
            alpn: self.session.alpn_protocol(),
            server_name,
            peer_certificate: self.session.peer_certificates().and_then(|chain| chain.first()).map(AsRef::as_ref),
        })
    }

    fn needs_close_notify(&self) -> bool {
        self.fault.is_none()
    }
}

/// Shows the negotiated parameters, such as "TLS 1.3, TLS13_AES_256_GCM_SHA384, no ALPN, full handshake".
impl<T: ByteStream> fmt::Display for TlsLayer<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = self.session.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("no cipher suite");
        let resumed = match self.session.handshake_kind() {
            Some(HandshakeKind::Resumed) => "resumed",
            _ => "full handshake",
        };
        write!(out, "{}, {suite}, ", self.version())?;
        match self.session.alpn_protocol() {
            Some(name) => write!(out, "ALPN {}, ", String::from_utf8_lossy(name).escape_default())?,
            None => out.write_str("no ALPN, ")?,
        }
        out.write_str(resumed)
    }
}

/// The socket as a writer for rustls, which writes all records in one call.
struct SocketWriter<'a, T>(&'a mut T);

impl<T: ByteStream> Write for SocketWriter<'_, T> {
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
