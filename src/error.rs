//! The few errors that an operator can act on, and the words for those of the system.
//!
//! A peer's fault is never one of these: it ends in a [`CloseReason`](crate::connection::CloseReason).

mod backoff;
mod errno;
mod warning;

pub(crate) use backoff::{ErrorBackoff, ErrorClass};
pub(crate) use errno::{errno_name, in_words_with_errno};
pub(crate) use warning::Warning;

use crate::units::format_count;
use std::io::{self, ErrorKind};

/// Why a server or a client could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for can never work; the text names the input and shows a good one.
    #[error("{0}")]
    Usage(String),
    /// A host could not be looked up.
    #[error(
        "cannot find the host {host:?}: {reason}; give an address such as 127.0.0.1 or a name this machine can look up"
    )]
    Resolve {
        /// The host as it was given.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// Why not, and the way out.
        reason: String,
    },
    /// Connections cannot come from the addresses that were given for that.
    #[error("cannot connect from {range}: {reason}; give addresses that this machine has, such as 127.0.0.1")]
    Source {
        /// The range as it was given.
        range: String,
        /// The address, and what the system said of it.
        reason: String,
    },
    /// A file cannot be used for what it was named for.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The path as it was given.
        path: String,
        /// Why not, and what should be there.
        reason: String,
    },
    /// The work needs more descriptors than the process may open.
    #[error(
        "{wanted} need {} descriptors, and this process may open {}; \
         ask for fewer, or raise the limit (ulimit -Hn, LimitNOFILE=)", format_count(*.needed), format_count(*.available)
    )]
    Descriptors {
        /// What was asked for, such as "30,000 connections".
        wanted: String,
        /// How many descriptors that takes.
        needed: u64,
        /// The hard limit of the process.
        available: u64,
    },
    /// A worker panicked outside of what is guarded, and the run ended with it; the text is that of the panic.
    #[error("a worker panicked: {0}")]
    Panic(String),
    /// The system refused something that the loop cannot do without.
    #[error("cannot {action}: {}", in_words_with_errno(.source))]
    System {
        /// What was tried, such as "create the event loop".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the request itself was wrong, whatever the machine is like.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_))
    }

    /// For `map_err`: the system refused to `action`.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

/// The words a beginner needs for an error of the system: "connection refused", not "os error 111".
#[must_use]
pub fn in_words(error: &io::Error) -> String {
    let words = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused: nothing listens there",
        ErrorKind::ConnectionReset => "connection reset by peer",
        ErrorKind::ConnectionAborted => "connection aborted",
        ErrorKind::BrokenPipe => "the peer no longer reads",
        ErrorKind::TimedOut => "timed out",
        ErrorKind::AddrInUse => "the address is already in use",
        ErrorKind::AddrNotAvailable => "the address is not available here",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::NotFound => "no such file or folder",
        ErrorKind::NotADirectory => "a part of the path is not a folder",
        ErrorKind::HostUnreachable => "the host cannot be reached",
        ErrorKind::NetworkUnreachable => "the network cannot be reached",
        _ if is_out_of_descriptors(error) => "too many open files: raise the limit on descriptors (ulimit -n)",
        _ => return without_number(error),
    };
    words.to_owned()
}

/// Whether [`in_words`] says what an error of this kind was, without its number.
pub(crate) fn has_words(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AddrInUse
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied
    )
}

/// What the system says, without the "(os error 20)" that std adds.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.find(" (os error ").map_or(text.as_str(), |end| &text[..end]).to_owned()
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::{Error, in_words};
    use std::io::{self, ErrorKind};

    #[test]
    fn a_beginner_reads_words() {
        assert_eq!(in_words(&ErrorKind::ConnectionReset.into()), "connection reset by peer");
        let busy = io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
        assert!(!in_words(&busy).contains("os error"), "{}", in_words(&busy));
        let too_many = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(in_words(&too_many).starts_with("too many open files"), "{}", in_words(&too_many));
    }

    #[test]
    fn an_error_names_its_input_and_the_way_out() {
        let error = Error::Descriptors { wanted: "30,000 connections".to_owned(), needed: 30_020, available: 20_000 };
        let text = error.to_string();
        for part in ["30,000 connections", "30,020", "20,000", "ulimit"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
