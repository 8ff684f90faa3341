//! Byte streams as the pump uses them: kernel sockets, layers over them, and simulated sockets of tests.

use super::tcp_info::Delivery;
use super::{Address, TlsFacts};
use std::fmt;
use std::io::{self, IoSlice};
use std::time::Duration;

/// A non-blocking byte stream as the pump uses it. All calls return at once; `WouldBlock` means that no progress is
/// possible now.
pub trait ByteStream {
    /// Reads into `buf` as read(2) does; 0 means end of input.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Reads like [`read`](Self::read). Also returns when the kernel received the last segment of these bytes, as time since
    /// 1970, where it reports that. By default it does not.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    fn read_with_arrival(&mut self, buf: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
        Ok((self.read(buf)?, None))
    }

    /// Writes as many of `bytes` as the stream takes.
    ///
    /// # Errors
    ///
    /// Those of send(2), such as `EPIPE` after [`shut_sending`](Self::shut_sending).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes as many of `slices` as the stream takes, in one call where it can (writev(2)). By default it takes only the
    /// first slice.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(slices.first().map_or(&[], |slice| slice))
    }

    /// Shuts down the sending half: the peer reads end of input after all bytes sent before.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2).
    fn shut_sending(&mut self) -> io::Result<()>;

    /// Whether a read of `received` bytes into a buffer of `offered` bytes shows that no more input is available now.
    /// This holds for a short read from a kernel socket (epoll(7), question 9), unless an event announced an end or
    /// urgent data. It does not hold for a layer with buffered bytes of its own.
    fn drained_by(&self, offered: usize, received: usize) -> bool {
        received < offered
    }

    /// Whether a handshake must complete before data can be exchanged. Reads advance it; until it is complete, reads and
    /// writes return `WouldBlock`.
    #[inline]
    fn is_handshaking(&self) -> bool {
        false
    }

    /// The parameters negotiated in the handshake, for logs.
    fn negotiated(&self) -> &dyn fmt::Display {
        &"no handshake"
    }

    /// Whether the layer holds bytes that the socket has not taken yet.
    #[inline]
    fn holds_unsent(&self) -> bool {
        false
    }

    /// Writes buffered bytes of the layer to the socket. Returns how many bytes the socket took; if that was not all,
    /// it takes no more for now.
    ///
    /// # Errors
    ///
    /// Those of send(2).
    fn flush(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    /// Memory that the layer holds for the peer, in bytes; 0 for a kernel socket.
    #[inline]
    fn held_bytes(&self) -> usize {
        0
    }

    /// What the peer's system has acknowledged of the bytes that the socket took; none where that is unknown.
    fn delivery(&self) -> Option<Delivery> {
        None
    }

    /// The local address of the socket; none if the system does not tell.
    fn local_address(&self) -> Option<Address> {
        None
    }

    /// What was negotiated in the TLS handshake; none without TLS.
    fn tls_facts(&self) -> Option<TlsFacts<'_>> {
        None
    }

    /// Takes the pending error of the socket, such as a reset by the peer (socket(7), `SO_ERROR`).
    fn take_error(&self) -> Option<io::Error> {
        None
    }

    /// Whether the sending half must be shut down even when the peer has shut down its own. False for kernel sockets,
    /// where closing has the same effect.
    #[inline]
    fn needs_close_notify(&self) -> bool {
        false
    }
}
