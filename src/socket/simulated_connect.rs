//! Outgoing connections of the simulated kernel.

use super::{Address, SocketOptions, Stream};
use crate::error::Error;
use crate::simulated_kernel::SimulatedStream;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// State of a connect that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectProgress {
    /// Not connected yet; an event follows.
    Pending,
    /// Connected.
    Connected,
}

/// Begins to connect.
///
/// # Errors
///
/// Those of connect(2); Unix sockets are refused.
pub fn begin_connect(address: &Address, _options: &SocketOptions, _source: Option<IpAddr>) -> io::Result<Stream> {
    let Address::Ip(address) = address else { return Err(ErrorKind::ConnectionRefused.into()) };
    SimulatedStream::connect(*address).map(Stream::Simulated)
}

/// Accepts any option.
///
/// # Errors
///
/// None.
#[allow(clippy::unnecessary_wraps, reason = "as for real sockets")]
pub fn check_socket_options(_address: &Address, _options: &SocketOptions) -> Result<(), Error> {
    Ok(())
}

/// Whether a connect has completed.
///
/// # Errors
///
/// Its error.
pub fn check_connect(stream: &Stream) -> io::Result<ConnectProgress> {
    let Stream::Simulated(stream) = stream else { return Ok(ConnectProgress::Pending) };
    Ok(if stream.check_connect()? { ConnectProgress::Connected } else { ConnectProgress::Pending })
}
