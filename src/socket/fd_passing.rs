//! Listening sockets on their way from one process to the next one: what carries them, and what both say.
//!
//! The two ends of a socket pair. The new process finds its end where standard input would be, and the mark of it in an
//! environment variable; the sockets come as `SCM_RIGHTS` (unix(7)), one in a packet, with the name of the endpoint they
//! belong to. So no descriptor is ever inherited that nobody waits for, and none has to be guessed from a number. The one
//! byte that goes the other way says that the new process accepts.
//!
//! An old process that breaks the handover off says so. When its end closes without that, it is gone, and the new process
//! serves with what it has: nothing else would.

use super::Address;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
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

/// The environment variable with the mark of the socket that lies where standard input would be.
pub const INHERIT_VARIABLE: &str = "MULTICONN_INHERIT";

/// What a packet begins with: a socket, a socket whose path is removed by who serves it last, the end, the end of a handover
/// that was broken off.
const SOCKET: u8 = b'+';
const SOCKET_WITH_PATH: u8 = b'/';
const END: u8 = b'.';
const ABORTED: u8 = b'!';

/// How long the new process waits for the end of an old one that has closed the channel: it may still have sockets open.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// How often it looks.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// The longest packet, in bytes: longer than any host name or path (`HOST_NAME_MAX`, `PATH_MAX`).
const PACKET_BYTES: usize = 8192;

/// A listening socket and where it belongs.
#[derive(Debug)]
pub(super) struct InheritedSocket {
    pub(super) socket: OwnedFd,
    /// What it is for, and the endpoint as the configuration names it; empty for a socket that stands in place of whatever that names.
    pub(super) name: String,
    /// Whether who serves it last removes its path.
    pub(super) owns_path: bool,
}

/// How the wait for a successor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildAnswer {
    /// It accepts.
    Ready,
    /// It closed its end, or the hand-over was broken off.
    Closed,
    /// The time was up.
    Late,
}

/// The end of the process that has the sockets.
#[derive(Debug)]
pub struct FdSender {
    channel: UnixStream,
    /// The successor takes nothing in, and could not be told that this process serves on.
    is_misled: AtomicBool,
}

impl FdSender {
    /// Both ends: ours, and the successor's, which belongs where its standard input is.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { channel: ours.into(), is_misled: AtomicBool::new(false) }, theirs))
    }

    /// Sends one listening socket, which belongs to `place`.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2); `WouldBlock` when the successor does not take it within `patience`.
    pub fn give(&self, socket: BorrowedFd<'_>, place: &BoundPlace, patience: Duration) -> io::Result<()> {
        let kind = if place.owns_path { SOCKET_WITH_PATH } else { SOCKET };
        self.send(&[&[kind], place.name.as_bytes()].concat(), &[socket], patience)
    }

    /// Says that there are no more.
    ///
    /// # Errors
    ///
    /// As [`give`](Self::give).
    pub fn finish(&self, patience: Duration) -> io::Result<()> {
        self.send(&[END], &[], patience)
    }

    fn send(&self, text: &[u8], sockets: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
        self.channel.set_write_timeout(Some(at_least_a_moment(patience)))?;
        retry_on_intr(|| self.send_packet(text, sockets, SendFlags::empty()))?;
        Ok(())
    }

    fn send_packet(&self, text: &[u8], sockets: &[BorrowedFd<'_>], flags: SendFlags) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            rights.push(SendAncillaryMessage::ScmRights(sockets));
        }
        sendmsg(&self.channel, &[IoSlice::new(text)], &mut rights, flags | SendFlags::NOSIGNAL)
    }

    /// Waits until the successor accepts, for `patience` at most. After any other answer it will not: it cannot say so any
    /// more, and ends when it tries to.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub fn await_child(&self, patience: Duration) -> io::Result<ChildAnswer> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.abort();
                // What it said before that counts.
                return self
                    .read()
                    .map(|answer| if answer == ChildAnswer::Closed { ChildAnswer::Late } else { answer });
            }
            self.channel.set_read_timeout(Some(at_least_a_moment(left)))?;
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

    /// Ends it, from any thread: the successor can no longer say that it accepts. False if it could not be told, because it
    /// takes nothing in: it may think that this process died, and must be killed.
    pub fn abort(&self) -> bool {
        if retry_on_intr(|| self.send_packet(&[ABORTED], &[], SendFlags::DONTWAIT)) == Err(Errno::WOULDBLOCK) {
            self.is_misled.store(true, Ordering::Relaxed);
        }
        // It fails only when the other end is gone already.
        let _ = self.channel.shutdown(Shutdown::Both);
        !self.is_misled.load(Ordering::Relaxed)
    }
}

/// Where a listening socket belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPlace {
    /// The address of the socket.
    pub address: Address,
    /// What it is for, and the endpoint as the configuration names it; empty for a socket that stands in place of whatever that names.
    pub name: String,
    /// Whether the socket has a path that is to be removed at the end.
    pub owns_path: bool,
    /// Whether the socket carries datagrams.
    pub is_datagram: bool,
}

/// The end of the process that gets the sockets.
#[derive(Debug)]
pub struct ParentProcess {
    channel: UnixStream,
    /// The parent of this process at the start: the predecessor, unless that is gone.
    parent: Option<Pid>,
}

impl ParentProcess {
    /// The predecessor that left `mark` in the environment, if standard input leads to it: the variable outlives its
    /// purpose in processes further down.
    pub(super) fn find(mark: &str) -> io::Result<Option<Self>> {
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        if self::mark(channel.as_fd())? != mark {
            return Ok(None);
        }
        // What nobody else should read: from here on there is no standard input.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Some(Self { channel: channel.into(), parent: getppid() }))
    }

    /// Takes all sockets; of a predecessor that died meanwhile, those that it has sent.
    pub(super) fn receive(&self, patience: Duration) -> io::Result<Vec<InheritedSocket>> {
        self.channel.set_read_timeout(Some(at_least_a_moment(patience)))?;
        let mut inherited_sockets = Vec::new();
        loop {
            let mut text = [0; PACKET_BYTES];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            let mut receive =
                || recvmsg(&self.channel, &mut [IoSliceMut::new(&mut text)], &mut rights, RecvFlags::CMSG_CLOEXEC);
            let packet = match retry_on_intr(&mut receive) {
                Err(Errno::CONNRESET) => return Ok(self.await_end(inherited_sockets)),
                packet => packet?,
            };
            if packet.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
                return Err(io::Error::other("a socket got lost on the way"));
            }
            let mut sockets = rights.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            });
            let socket = sockets.next().and_then(|mut sockets| sockets.next());
            match (text[..packet.bytes].split_first(), socket) {
                (Some((&END, _)), None) => return Ok(inherited_sockets),
                (Some((&ABORTED, _)), None) => return Err(aborted()),
                (Some((&kind, name)), Some(socket)) if [SOCKET, SOCKET_WITH_PATH].contains(&kind) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    inherited_sockets.push(InheritedSocket { socket, name, owns_path: kind == SOCKET_WITH_PATH });
                }
                (None, _) => return Ok(self.await_end(inherited_sockets)),
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Returns `inherited_sockets` once the predecessor, which has closed the channel, has closed all the rest as well: this process
    /// listens itself where nothing was sent.
    fn await_end(&self, inherited_sockets: Vec<InheritedSocket>) -> Vec<InheritedSocket> {
        log::warn!("the process that hands over died; {} sockets of it are here", inherited_sockets.len());
        let deadline = Instant::now() + EXIT_TIME;
        // Once it has ended, another process is the parent (wait(2)).
        while getppid() == self.parent && Instant::now() < deadline {
            std::thread::sleep(EXIT_CHECK_INTERVAL);
        }
        inherited_sockets
    }

    /// Says that this process accepts; whether the predecessor is there to hear it.
    ///
    /// # Errors
    ///
    /// When the predecessor has broken the handover off: it serves on, and this process must not. And those of send(2).
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
                log::warn!("the process that hands over died; serving in its place");
                Ok(false)
            }
        }
    }
}

fn aborted() -> io::Error {
    io::Error::other("the old process has broken the handover off, and serves on")
}

/// What tells the socket behind `end` from all others of this machine: its device and inode, as `JOURNAL_STREAM` of
/// systemd.exec(5) has it.
///
/// # Errors
///
/// Those of fstat(2).
pub fn mark(end: BorrowedFd<'_>) -> io::Result<String> {
    let (device, inode) = identity(end)?;
    Ok(format!("{device}:{inode}"))
}

/// The device and inode of what is behind a descriptor: the same for all copies of it.
///
/// # Errors
///
/// Those of fstat(2) and dup(2).
pub fn identity(descriptor: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let metadata = File::from(descriptor.try_clone_to_owned()?).metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The address of a socket, and whether it carries datagrams: together they tell the sockets of a server apart.
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

/// A timeout of nothing would mean none at all.
fn at_least_a_moment(time: Duration) -> Duration {
    time.max(Duration::from_millis(1))
}
