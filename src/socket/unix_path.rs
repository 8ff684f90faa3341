//! The name of a Unix socket in the file system: taken over when stale, refused when in use, removed at the end.

use crate::error::{Error, in_words};
use crate::escape;
use crate::units::format_counted;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest path of a Unix socket, in bytes: `sun_path` has 108, one of them for the closing zero (unix(7)).
const PATH_BYTES: usize = 107;

/// Whether `path` can be the address of a socket.
///
/// # Errors
///
/// [`Error::Usage`] when it is empty or too long.
pub(super) fn check_path(path: &Path) -> Result<(), Error> {
    let length = path.as_os_str().as_bytes().len();
    if (1..=PATH_BYTES).contains(&length) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "the Unix socket path \"{}\" is {} long; give one of 1 to {PATH_BYTES} bytes such as /tmp/m.sock",
        escape::path(path),
        format_counted(length as u64, "byte")
    )))
}

/// Makes sure that a socket can be bound at `path`: removes a stale socket that lies there.
///
/// # Errors
///
/// [`Error::Listen`] when something else lies there, or a socket that somebody listens on.
pub(super) fn clear_path(path: &Path) -> Result<(), Error> {
    let refuse =
        |reason: &str| Err(Error::Listen { address: escape::path(path).to_string(), reason: reason.to_owned() });
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return refuse(&in_words(&error)),
        Ok(metadata) => metadata,
    };
    if !metadata.file_type().is_socket() {
        return refuse("a file that is not a socket lies there; remove it or choose another path");
    }
    match is_listening(path) {
        Ok(true) => refuse("another program listens there; stop it or choose another path"),
        Ok(false) => std::fs::remove_file(path)
            .or_else(|error| refuse(&format!("the stale socket there cannot be removed: {}", in_words(&error)))),
        Err(error) => refuse(&format!("the socket there cannot be tried: {}", in_words(&error))),
    }
}

/// Whether anybody listens on the socket at `path`. A full backlog (`EAGAIN`) shows a listener, too.
fn is_listening(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        // A socket of another type (SOCK_DGRAM) that is alive.
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes the name when dropped, if it is ours, and still the same.
#[derive(Debug)]
pub(super) struct PathGuard {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    ours: bool,
}

impl PathGuard {
    /// Guards the socket that was just bound at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), ours: true }
    }

    /// Knows the path of a predecessor's socket. It is removed only when [`set_ours`](Self::set_ours) says so: until then
    /// the predecessor may go on serving there.
    pub(super) fn of_parent(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), ours: false }
    }

    /// Whether the path is removed when this is dropped.
    pub(super) fn set_ours(&mut self, ours: bool) {
        self.ours = ours;
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        if self.ours
            && self.identity.is_some()
            && identity(&self.path) == self.identity
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the socket {}: {error}", escape::path(&self.path));
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
