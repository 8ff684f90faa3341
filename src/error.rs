//! Errors that an operator can act on, and plain texts for system errors.
//!
//! A peer's fault is never one of them: it leads to a [`CloseReason`](crate::connection::CloseReason).

mod backoff;
mod errno;
mod failure_texts;
mod warning;

pub(crate) use backoff::{ErrorBackoff, ErrorClass};
pub(crate) use errno::{errno_name, in_words_with_errno};
pub(crate) use failure_texts::{cause_in_words, kind_name, reported_cause, tls_cause};
pub(crate) use warning::Warning;

use crate::units::format_count;
use std::io::{self, ErrorKind};

/// Error of a server or a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request can never work. The text names the input and gives a valid example.
    #[error("{0}")]
    Usage(String),
    /// The configuration can never work. The text says why, and names the settings.
    #[error("{problem} ({})", settings.join(", "))]
    Config {
        /// The settings, by the names of their fields, such as `limits.buffer_bytes`.
        settings: &'static [&'static str],
        /// What is wrong, and a valid example.
        problem: String,
    },
    /// A host name could not be resolved.
    #[error(
        "cannot find the host {host:?}: {reason}; give an address such as 127.0.0.1 or a name this machine can look up"
    )]
    Resolve {
        /// The host as it was given.
        host: String,
        /// Error of the resolver, as text.
        reason: String,
        /// Error of the resolver.
        source: io::Error,
    },
    /// The server cannot listen on an address.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// The reason, and a remedy.
        reason: String,
        /// The system's error, if it refused.
        source: Option<io::Error>,
    },
    /// Connections cannot be made from the given source addresses.
    #[error("cannot connect from {range}: {reason}; give addresses that this machine has, such as 127.0.0.1")]
    Source {
        /// The range as it was given.
        range: String,
        /// The address, and the system's error as text.
        reason: String,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be used for its purpose.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The path as it was given.
        path: String,
        /// The reason, and what is expected.
        reason: String,
        /// The system's error, if the file cannot be read.
        source: Option<io::Error>,
    },
    /// The run needs more file descriptors than the process may open.
    #[error(
        "{wanted} need {} descriptors, and this process may open {}; \
         ask for fewer, or raise the limit (ulimit -Hn, LimitNOFILE=)", format_count(*.needed), format_count(*.available)
    )]
    Descriptors {
        /// What was requested, such as "30,000 connections".
        wanted: String,
        /// Number of descriptors that it needs.
        needed: u64,
        /// The hard limit of the process.
        available: u64,
    },
    /// A worker panicked outside of guarded code, and the run ended; the text is that of the panic.
    #[error("a worker panicked: {0}")]
    Panic(String),
    /// The system failed a call that the event loop needs.
    #[error("cannot {action}: {}", in_words_with_errno(.source))]
    System {
        /// The action that failed, such as "create the event loop".
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// Whether the request was wrong, independent of the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Config { .. })
    }

    /// An error in the configuration.
    pub(crate) fn config(settings: &'static [&'static str], problem: impl Into<String>) -> Self {
        Self::Config { settings, problem: problem.into() }
    }

    /// For `map_err`: an error of the system during `action`.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

/// Describes a system error in plain words: "connection refused", not "os error 111".
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
        ErrorKind::IsADirectory => "it is a folder",
        ErrorKind::NotADirectory => "a part of the path is not a folder",
        ErrorKind::HostUnreachable => "the host cannot be reached",
        ErrorKind::NetworkUnreachable => "the network cannot be reached",
        _ if is_out_of_descriptors(error) => "too many open files: raise the limit on descriptors (ulimit -n)",
        _ => return without_number(error),
    };
    words.to_owned()
}

/// Whether [`in_words`] describes errors of this kind completely, without their number.
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

/// The system's text without the "(os error 20)" that std appends.
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
    fn system_errors_are_described_in_words() {
        assert_eq!(in_words(&ErrorKind::ConnectionReset.into()), "connection reset by peer");
        let busy = io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
        assert!(!in_words(&busy).contains("os error"), "{}", in_words(&busy));
        let too_many = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(in_words(&too_many).starts_with("too many open files"), "{}", in_words(&too_many));
    }

    #[test]
    fn errors_name_their_input_and_a_remedy() {
        let error = Error::Descriptors { wanted: "30,000 connections".to_owned(), needed: 30_020, available: 20_000 };
        let text = error.to_string();
        for part in ["30,000 connections", "30,020", "20,000", "ulimit"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
