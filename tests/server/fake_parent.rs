//! The old process of a handover, simulated by the test: the server under test is the new process.

use super::support::Program;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

/// The frames of the old process after the last socket, and for an aborted handover: a kind and an empty text.
const END: &[u8] = b".\0\0";
const ABORTED: &[u8] = b"!\0\0";

/// The test's end of the channel.
pub(crate) struct FakeParent(OwnedFd);

impl FakeParent {
    /// Starts a server with one worker that waits for inherited sockets. It receives none, and binds its own.
    pub(crate) fn start() -> (Program, Self) {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let metadata = File::from(theirs.try_clone().unwrap()).metadata().unwrap();
        let mut command = Program::server_command();
        command.args(["127.0.0.1", "0", "--workers", "1"]);
        command.env("MULTICONN_INHERIT", format!("{}:{}", metadata.dev(), metadata.ino()));
        let (server, _) = Program::spawn_reading(&mut command, Stdio::from(theirs));
        (server, Self(ours))
    }

    /// Sends the end of the list of sockets.
    pub(crate) fn end(&self) {
        send(&self.0, END, SendFlags::NOSIGNAL).unwrap();
    }

    /// Aborts the handover.
    pub(crate) fn abort(&self) {
        send(&self.0, ABORTED, SendFlags::NOSIGNAL).unwrap();
        shutdown(&self.0, Shutdown::Both).unwrap();
    }
}
