//! The old process of a handover, played by the test: the server under test is the new one.

use super::support::Program;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

/// What the old process says after the last socket, and when it breaks the handover off.
const END: &[u8] = b".";
const ABORTED: &[u8] = b"!";

/// Our end of the channel.
pub(crate) struct FakeParent(OwnedFd);

impl FakeParent {
    /// Starts a server with one worker that waits for sockets. None comes: it will bind its own.
    pub(crate) fn start() -> (Program, Self) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let metadata = File::from(theirs.try_clone().unwrap()).metadata().unwrap();
        let mut command = Program::server_command();
        command.args(["127.0.0.1", "0", "--workers", "1"]);
        command.env("MULTICONN_INHERIT", format!("{}:{}", metadata.dev(), metadata.ino()));
        let (server, _) = Program::spawn_reading(&mut command, Stdio::from(theirs));
        (server, Self(ours))
    }

    /// Says that all sockets were sent.
    pub(crate) fn end(&self) {
        send(&self.0, END, SendFlags::NOSIGNAL).unwrap();
    }

    /// Serves on.
    pub(crate) fn abort(&self) {
        send(&self.0, ABORTED, SendFlags::NOSIGNAL).unwrap();
        shutdown(&self.0, Shutdown::Both).unwrap();
    }
}
