//! Passes listening sockets from an old process to a new one (`SCM_RIGHTS`, unix(7)).
//!
//! The channel is a pair of stream sockets, which every Unix has. The new process finds its end as standard input; an
//! environment variable holds the device and inode of that socket. Each frame carries one listening socket and the name
//! of its endpoint. So no unexpected descriptor is inherited, and none is identified by its number. One byte in the
//! other direction reports that the new process accepts.
//!
//! A frame is its kind (1 byte), the length of its text (2 bytes, big-endian) and the text. A descriptor is attached to
//! the first byte.
//!
//! An old process that aborts the handover sends a frame that says so. If its end closes without that frame, the old
//! process has died, and the new one serves with the sockets it has: no other process would.

use super::{Address, sys};
use rustix::io::{Errno, FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use rustix::process::{Pid, getppid};
use socket2::{SockRef, Type};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The environment variable with the [`mark`] of the socket that the new process has as standard input.
pub const INHERIT_VARIABLE: &str = "MULTICONN_INHERIT";

/// The kind of a frame: a socket; a socket whose path the last process that serves it removes; the end of the
/// list; an aborted handover.
const SOCKET: u8 = b'+';
const SOCKET_WITH_PATH: u8 = b'/';
const END: u8 = b'.';
const ABORTED: u8 = b'!';

/// How long the new process waits for the exit of an old process that has closed the channel: until then the old one
/// may still have sockets open.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// How often the new process checks whether the old one has exited.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// The kind of a frame and the length of its text, in bytes.
const HEADER_BYTES: usize = 3;

/// A listening socket received from another process.
#[derive(Debug)]
pub(super) struct InheritedSocket {
    pub(super) socket: OwnedFd,
    /// Purpose and endpoint as the configuration names it. Empty for a socket that replaces the configured endpoints.
    pub(super) name: String,
    /// Whether the last process that serves the socket removes its path.
    pub(super) owns_path: bool,
}

/// How the wait for the new process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildAnswer {
    /// The new process accepts connections.
    Ready,
    /// The new process closed its end, or the handover was aborted.
    Closed,
    /// The timeout expired.
    Late,
}

/// The sending end of the channel, in the process that owns the sockets.
#[derive(Debug)]
pub struct FdSender {
    channel: UnixStream,
    /// The abort frame could not be delivered, because the new process reads nothing. It does not know that this process
    /// keeps serving.
    abort_undelivered: AtomicBool,
}

impl FdSender {
    /// Both ends of the channel: the sender, and the descriptor to pass as standard input of the new process.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (channel, theirs) = sys::stream_pair()?;
        Ok((Self { channel, abort_undelivered: AtomicBool::new(false) }, theirs.into()))
    }

    /// Sends one listening socket that belongs to `endpoint`.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2); `WouldBlock` when the new process does not receive it within `timeout`.
    pub fn send_socket(&self, socket: BorrowedFd<'_>, endpoint: &BoundEndpoint, timeout: Duration) -> io::Result<()> {
        let kind = if endpoint.owns_path { SOCKET_WITH_PATH } else { SOCKET };
        self.send(kind, &endpoint.name, &[socket], timeout)
    }

    /// Sends the end of the list.
    ///
    /// # Errors
    ///
    /// As [`send_socket`](Self::send_socket).
    pub fn finish(&self, timeout: Duration) -> io::Result<()> {
        self.send(END, "", &[], timeout)
    }

    fn send(&self, kind: u8, text: &str, sockets: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<()> {
        self.channel.set_write_timeout(Some(nonzero_timeout(timeout)))?;
        Ok(self.send_frame(kind, text, sockets, SendFlags::empty())?)
    }

    /// Sends a frame in one call, so that an abort from another thread cannot come within it.
    fn send_frame(&self, kind: u8, text: &str, sockets: &[BorrowedFd<'_>], flags: SendFlags) -> Result<(), Errno> {
        let length = u16::try_from(text.len()).map_err(|_| Errno::MSGSIZE)?;
        let frame = [&[kind], &length.to_be_bytes()[..], text.as_bytes()].concat();
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() {
                rights.push(SendAncillaryMessage::ScmRights(sockets));
            }
            sendmsg(&self.channel, &[IoSlice::new(&frame)], &mut rights, flags | sys::SEND_FLAGS)
        };
        if retry_on_intr(send)? < frame.len() {
            // The timeout expired within the frame, and an abort frame would be taken for the rest of it.
            self.abort_undelivered.store(true, Ordering::Relaxed);
            return Err(Errno::WOULDBLOCK);
        }
        Ok(())
    }

    /// Waits up to `timeout` until the new process accepts connections. After any other answer it never will: it can no
    /// longer report that it accepts, and exits when it tries to.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub fn await_child(&self, timeout: Duration) -> io::Result<ChildAnswer> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.abort();
                // An answer sent before the abort still counts.
                return self
                    .read()
                    .map(|answer| if answer == ChildAnswer::Closed { ChildAnswer::Late } else { answer });
            }
            self.channel.set_read_timeout(Some(nonzero_timeout(left)))?;
            match self.read() {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }

    fn read(&self) -> io::Result<ChildAnswer> {
        match (&self.channel).read(&mut [0]) {
            Ok(0) => Ok(ChildAnswer::Closed),
            Ok(_) => Ok(ChildAnswer::Ready),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(ChildAnswer::Closed),
            Err(error) => Err(error),
        }
    }

    /// Aborts the handover, from any thread: the new process can no longer report that it accepts. Returns false if the
    /// abort frame could not be delivered because the new process reads nothing. It may then conclude that this
    /// process died, and must be killed.
    pub fn abort(&self) -> bool {
        if self.send_frame(ABORTED, "", &[], SendFlags::DONTWAIT) == Err(Errno::WOULDBLOCK) {
            self.abort_undelivered.store(true, Ordering::Relaxed);
        }
        // This fails only when the other end is closed already.
        let _ = self.channel.shutdown(Shutdown::Both);
        !self.abort_undelivered.load(Ordering::Relaxed)
    }
}

/// The endpoint that a bound socket belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundEndpoint {
    /// The address of the socket.
    pub address: Address,
    /// Purpose and endpoint as the configuration names it. Empty for a socket that replaces the configured endpoints.
    pub name: String,
    /// Whether the socket has a path to remove at the end.
    pub owns_path: bool,
    /// Whether it is a datagram socket.
    pub is_datagram: bool,
}

/// The receiving end of the channel, in the new process; the other end belongs to the old process, its parent.
#[derive(Debug)]
pub struct ParentProcess {
    channel: UnixStream,
    /// The parent of this process at its start: the old process, unless that has exited.
    parent: Option<Pid>,
}

impl ParentProcess {
    /// An old process at the other end of `channel`, for fuzzers and simulations.
    #[cfg(all(test, any(feature = "cli", multiconn_simulated)))]
    pub(crate) fn at(channel: UnixStream) -> Self {
        Self { channel, parent: None }
    }

    /// The old process that left `mark` in the environment, if standard input is its channel. Descendants inherit the
    /// variable as well, without the channel.
    pub(super) fn find(mark: &str) -> io::Result<Option<Self>> {
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        if self::mark(channel.as_fd())? != mark {
            return Ok(None);
        }
        // No other code must read from the channel: standard input is /dev/null from here on.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Some(Self { channel: channel.into(), parent: getppid() }))
    }

    /// Receives all sockets. If the old process dies meanwhile, returns those that it has sent.
    pub(super) fn receive(&self, timeout: Duration) -> io::Result<Vec<InheritedSocket>> {
        self.channel.set_read_timeout(Some(nonzero_timeout(timeout)))?;
        let mut inherited_sockets = Vec::new();
        loop {
            let frame = match self.receive_frame() {
                Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                    return Ok(self.await_end(inherited_sockets));
                }
                frame => frame?,
            };
            match frame {
                (END, _, None) => return Ok(inherited_sockets),
                (ABORTED, _, None) => return Err(aborted()),
                (kind @ (SOCKET | SOCKET_WITH_PATH), name, Some(socket)) => {
                    inherited_sockets.push(InheritedSocket { socket, name, owns_path: kind == SOCKET_WITH_PATH });
                }
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }

    /// The kind of the next frame, its text and its descriptor. `UnexpectedEof` when the old process has closed the
    /// channel.
    fn receive_frame(&self) -> io::Result<(u8, String, Option<OwnedFd>)> {
        let (mut header, mut received, mut socket) = ([0; HEADER_BYTES], 0, None);
        while received < HEADER_BYTES {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            // Nothing behind the header is read: the next frame's descriptor is attached to its own first byte.
            let mut receive = || {
                let header = IoSliceMut::new(&mut header[received..]);
                recvmsg(&self.channel, &mut [header], &mut rights, RecvFlags::empty())
            };
            let part = retry_on_intr(&mut receive)?;
            if part.bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if part.flags.contains(ReturnFlags::CTRUNC) {
                return Err(io::Error::other("a descriptor of the handover was lost"));
            }
            received += part.bytes;
            for message in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(sockets) = message {
                    socket = sockets.last().or(socket);
                }
            }
        }
        // No child process is started before the whole handover.
        socket.iter().try_for_each(|socket| fcntl_setfd(socket, FdFlags::CLOEXEC))?;
        let [kind, length @ ..] = header;
        let mut text = vec![0; u16::from_be_bytes(length).into()];
        (&self.channel).read_exact(&mut text)?;
        Ok((kind, String::from_utf8_lossy(&text).into_owned(), socket))
    }

    /// Returns `inherited_sockets` once the old process, which has closed the channel, has exited and so closed its
    /// other sockets. This process opens its own sockets for endpoints that were not sent.
    fn await_end(&self, inherited_sockets: Vec<InheritedSocket>) -> Vec<InheritedSocket> {
        log::warn!("the old process died during the handover; received {} of its sockets", inherited_sockets.len());
        let deadline = Instant::now() + EXIT_TIME;
        // After its exit this process has another parent (wait(2)).
        while getppid() == self.parent && Instant::now() < deadline {
            std::thread::sleep(EXIT_CHECK_INTERVAL);
        }
        inherited_sockets
    }

    /// Reports that this process accepts connections. Returns whether the old process was alive to receive that.
    ///
    /// # Errors
    ///
    /// Those of send(2). Also an error when the old process has aborted the handover: it keeps serving, and this
    /// process must not serve.
    pub fn release(&self) -> io::Result<bool> {
        match (&self.channel).write_all(&[END]) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(error) => return Err(error),
        }
        let mut last = [0];
        match retry_on_intr(|| recv(&self.channel, &mut last, RecvFlags::DONTWAIT).map(|(count, _)| count)) {
            Ok(1..) if last == [ABORTED] => Err(aborted()),
            _ => {
                log::warn!("the old process died during the handover; serving in its place");
                Ok(false)
            }
        }
    }
}

fn aborted() -> io::Error {
    io::Error::other("the old process has aborted the handover and keeps serving")
}

/// Identifies the socket behind `end` on this machine by its device and inode, as `JOURNAL_STREAM` does
/// (systemd.exec(5)).
///
/// # Errors
///
/// Those of fstat(2).
pub fn mark(end: BorrowedFd<'_>) -> io::Result<String> {
    let (device, inode) = identity(end)?;
    Ok(format!("{device}:{inode}"))
}

/// The device and inode behind a descriptor, which are the same for all duplicates of it.
///
/// # Errors
///
/// Those of fstat(2) and dup(2).
pub fn identity(descriptor: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let metadata = File::from(descriptor.try_clone_to_owned()?).metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The address of a socket and whether it is a datagram socket. Together they identify a socket of a server.
///
/// # Errors
///
/// Those of getsockname(2).
pub fn describe(socket: BorrowedFd<'_>) -> io::Result<(Address, bool)> {
    let socket = SockRef::from(&socket);
    let local = socket.local_addr()?;
    let address = match local.as_socket() {
        Some(address) => Address::Ip(address),
        None => Address::Unix(local.as_pathname().map_or_else(PathBuf::new, Into::into)),
    };
    Ok((address, socket.r#type()? == Type::DGRAM))
}

/// At least one millisecond: a socket timeout of zero means no timeout.
fn nonzero_timeout(time: Duration) -> Duration {
    time.max(Duration::from_millis(1))
}
