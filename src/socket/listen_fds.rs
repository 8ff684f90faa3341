//! Sockets that a service manager passes in `LISTEN_FDS` (sd_listen_fds(3)).

use super::descriptors::raise_descriptor_limit;
use crate::error::Error;
use crate::units::format_count;
use listenfd::ListenFd;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST_PASSED_FD: u64 = 3;

/// The maximum number of descriptors of a process where the system sets no limit: that of Linux (proc_sys_fs(5),
/// nr_open).
const MAX_DESCRIPTORS: u64 = 1 << 20;

/// The passed sockets, which this process has not taken yet.
pub(super) struct PassedSockets(ListenFd);

impl PassedSockets {
    /// Finds the sockets, and clears their variables for child processes.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when the variables are invalid.
    pub(super) fn from_environment() -> Result<Self, Error> {
        check_passed(|variable| std::env::var_os(variable))?;
        Ok(Self(ListenFd::from_env()))
    }

    /// Takes all of them.
    ///
    /// # Errors
    ///
    /// When a descriptor is neither a stream nor a datagram socket.
    pub(super) fn take(mut self) -> io::Result<Vec<OwnedFd>> {
        (0..self.0.len()).map(|index| take(&mut self.0, index)).collect()
    }
}

/// Checks the variables of the service manager before memory is allocated for the descriptors they claim.
pub(super) fn check_passed(value: impl Fn(&str) -> Option<OsString>) -> Result<(), Error> {
    let number_in = |variable, example| number(variable, value(variable), example);
    let Some(count) = number_in("LISTEN_FDS", "LISTEN_FDS=1")? else { return Ok(()) };
    if number_in("LISTEN_PID", "LISTEN_PID=4711")?.is_some_and(|pid| pid != u64::from(std::process::id())) {
        return Ok(());
    }
    // An extension by systemfd(1).
    let first = number_in("LISTEN_FDS_FIRST_FD", "LISTEN_FDS_FIRST_FD=3")?.unwrap_or(FIRST_PASSED_FD);
    let limit = raise_descriptor_limit().map_or(MAX_DESCRIPTORS, |limit| limit.hard.min(MAX_DESCRIPTORS));
    if first.saturating_add(count) > limit {
        return Err(Error::Usage(format!(
            "LISTEN_FDS={count} from descriptor {first} on is more than the {} that this process may have; \
             give the number of sockets that are passed, such as LISTEN_FDS=1",
            format_count(limit)
        )));
    }
    Ok(())
}

/// The number in the value of a variable; none if the variable is unset or empty.
fn number(variable: &str, value: Option<OsString>, example: &str) -> Result<Option<u64>, Error> {
    let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    let refuse = || Error::Usage(format!("{variable}={} is not a number; example: {example}", text.display()));
    number.map(Some).ok_or_else(refuse)
}

/// The descriptor that the service manager passed at `index`.
fn take(passed: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        return Ok(listener.into());
    }
    if let Ok(Some(socket)) = passed.take_udp_socket(index) {
        return Ok(socket.into());
    }
    match passed.take_tcp_listener(index)? {
        Some(listener) => Ok(listener.into()),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}
