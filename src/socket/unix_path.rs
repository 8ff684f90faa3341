//! Path of a Unix socket: a stale one is replaced, one in use is refused, our own is removed at the end.

use super::sys;
use crate::error::{Error, in_words};
use crate::escape;
use crate::units::format_counted;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest path of a Unix socket, in bytes: `sun_path` has 108, including the terminating zero (unix(7)).
const PATH_BYTES: usize = 107;

/// Checks that `path` can be the address of a socket.
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

/// Prepares `path` for binding: removes a stale socket.
///
/// # Errors
///
/// [`Error::Listen`] when the path is another kind of file, or a socket with a listener.
pub(super) fn clear_path(path: &Path) -> Result<(), Error> {
    let listen_error =
        |reason: String, source| Error::Listen { address: escape::path(path).to_string(), reason, source };
    let refuse = |reason: &str| Err(listen_error(reason.to_owned(), None));
    let fail = |prefix: &str, error| Err(listen_error(format!("{prefix}{}", in_words(&error)), Some(error)));
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return fail("", error),
        Ok(metadata) => metadata,
    };
    if !metadata.file_type().is_socket() {
        return refuse("a file that is not a socket lies there; remove it or choose another path");
    }
    match is_listening(path) {
        Ok(true) => refuse("another program listens there; stop it or choose another path"),
        Ok(false) => {
            std::fs::remove_file(path).or_else(|error| fail("the stale socket there cannot be removed: ", error))
        }
        Err(error) => fail("the socket there cannot be tried: ", error),
    }
}

/// Whether a process listens on the socket at `path`. A full backlog (`EAGAIN`) also shows a listener.
fn is_listening(path: &Path) -> io::Result<bool> {
    let socket = sys::nonblocking(Domain::UNIX, Type::STREAM)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        // A socket of another type (SOCK_DGRAM) that is in use.
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes the path when dropped, if this process owns it and it is still the same file.
#[derive(Debug)]
pub(super) struct PathGuard {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    owns_path: bool,
}

impl PathGuard {
    /// Guards the socket that was just bound at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), owns_path: true }
    }

    /// A guard for the path of an inherited socket. It removes the path only after
    /// [`set_owns_path`](Self::set_owns_path): until then the old process may still serve there.
    pub(super) fn of_parent(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), owns_path: false }
    }

    /// Sets whether dropping the guard removes the path.
    pub(super) fn set_owns_path(&mut self, owns_path: bool) {
        self.owns_path = owns_path;
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        if self.owns_path
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
