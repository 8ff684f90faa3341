//! Sockets from another process: frames with descriptors on a socket, and the variables of a service manager.

use crate::fuzz::{Choices, Memory, Target};
use crate::socket::fd_passing::{FdSender, InheritedSocket, ParentProcess};
use crate::socket::listen_fds::check_passed;
use crate::socket::{Address, BoundEndpoint, Inherited, SocketOptions};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The texts of frames, each with a length of two bytes, and what is left of them after lossy decoding.
const MEMORY: Memory = Memory { fixed: 256 * 1024, per_byte: 64 };

/// Everything fits the buffer of the socket, so that nothing waits.
const MAX_INPUT_BYTES: usize = 16 * 1024;

const TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn descriptor_frames() {
    Target { name: "descriptor_frames", memory: MEMORY, check: check_frames }.fuzz();
}

#[test]
fn descriptor_sender() {
    Target { name: "descriptor_sender", memory: MEMORY, check: check_sender }.fuzz();
}

#[test]
fn listen_fds() {
    Target { name: "listen_fds", memory: MEMORY, check: check_variables }.fuzz();
}

/// Arbitrary bytes in arbitrary parts, some of them with a descriptor. No descriptor is leaked to a child process, or
/// left open.
fn check_frames(input: &[u8]) {
    let mut choices = Choices(&input[..input.len().min(MAX_INPUT_BYTES)]);
    let (ours, theirs) = UnixStream::pair().expect("descriptors are free");
    let (mut probe, passed) = UnixStream::pair().expect("descriptors are free");
    while !choices.0.is_empty() {
        let kind = choices.below(8);
        let size = choices.below(64).min(choices.0.len());
        let (part, rest) = choices.0.split_at(size);
        choices.0 = rest;
        let socket: Option<OwnedFd> = match kind {
            0..3 => None,
            3 => Some(passed.try_clone().expect("descriptors are free").into()),
            4 => Some(TcpListener::bind("127.0.0.1:0").expect("ports are free").into()),
            5 => Some(UdpSocket::bind("127.0.0.1:0").expect("ports are free").into()),
            _ => Some(File::open("/dev/null").expect("every system has it").into()),
        };
        send(&ours, part, socket.as_ref());
    }
    drop((ours, passed));
    let received = ParentProcess::at(theirs).receive(TIMEOUT);
    if let Ok(sockets) = received {
        for InheritedSocket { socket, name, .. } in &sockets {
            let flags = fcntl_getfd(socket).expect("it is open");
            assert!(flags.contains(FdFlags::CLOEXEC), "{name:?} would be inherited");
        }
        // Those that are no listening sockets are refused.
        let _ = Inherited::of(sockets, None).listen(&[], &SocketOptions::default(), 1);
    }
    assert_eq!(probe.read(&mut [0]).ok(), Some(0), "a descriptor is left open");
}

fn send(channel: &UnixStream, bytes: &[u8], socket: Option<&OwnedFd>) {
    if bytes.is_empty() {
        return;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let sockets = socket.map(|socket| [socket.as_fd()]);
    if let Some(sockets) = &sockets {
        rights.push(SendAncillaryMessage::ScmRights(sockets));
    }
    let sent = sendmsg(channel, &[IoSlice::new(bytes)], &mut rights, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// What is sent is received: names of any text, and which sockets own their path.
fn check_sender(input: &[u8]) {
    let text = String::from_utf8_lossy(&input[..input.len().min(MAX_INPUT_BYTES)]);
    let names: Vec<&str> = text.split('|').take(64).collect();
    let (sender, theirs) = FdSender::new().expect("descriptors are free");
    let socket = File::open("/dev/null").expect("every system has it");
    let endpoint = |name: &str| BoundEndpoint {
        address: Address::Unix(PathBuf::new()),
        name: name.to_owned(),
        owns_path: name.len() % 2 == 1,
        is_datagram: false,
    };
    for name in &names {
        let sent = sender.send_socket(socket.as_fd(), &endpoint(name), TIMEOUT);
        sent.expect("it fits the socket's buffer");
    }
    sender.finish(TIMEOUT).expect("it fits the socket's buffer");
    let parent = ParentProcess::at(theirs.into());
    let received = parent.receive(TIMEOUT).expect("whole frames");
    let received: Vec<_> = received.iter().map(|socket| (&socket.name[..], socket.owns_path)).collect();
    let expected: Vec<_> = names.iter().map(|name| (*name, endpoint(name).owns_path)).collect();
    assert_eq!(received, expected);
}

/// The three variables, one per line.
fn check_variables(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let values: Vec<_> = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDS_FIRST_FD"]
        .into_iter()
        .map(|variable| (variable, lines.next().map(|line| OsStr::from_bytes(line).to_owned())))
        .collect();
    let value = |variable: &str| values.iter().find(|(name, _)| *name == variable).and_then(|(_, value)| value.clone());
    let number = |variable: &str| value(variable)?.to_str()?.parse::<u64>().ok();
    match check_passed(value) {
        // Either they are for another process, or there are few enough.
        Ok(()) => {
            let is_ours = number("LISTEN_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
            let first = number("LISTEN_FDS_FIRST_FD").unwrap_or(3);
            let last = number("LISTEN_FDS").map_or(0, |count| first.saturating_add(count));
            assert!(!is_ours || last <= 1 << 20, "{last} descriptors");
        }
        Err(error) => assert!(error.to_string().len() < 1024 + 10 * input.len(), "{error}"),
    }
}
