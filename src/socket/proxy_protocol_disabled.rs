//! Stand-in for the PROXY protocol in a build without the feature `proxy-protocol`: no header is sent or received.

#![expect(clippy::unnecessary_wraps, reason = "the signatures of what it replaces")]

use super::{Address, Stream};
use std::io;

/// A version of the PROXY protocol. Without the feature `proxy-protocol` it cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {}

impl ProxyVersion {
    /// The header of a connection from `source` to `destination`.
    #[must_use]
    pub fn header(self, _source: &Address, _destination: &Address) -> Vec<u8> {
        match self {}
    }
}

pub fn send_header(version: ProxyVersion, _stream: &mut Stream) -> io::Result<()> {
    match version {}
}

pub enum ProxyHeader {
    Pending,
    Ready { source: Option<Address>, destination: Option<Address> },
    Invalid(String),
}

pub fn receive_header(_stream: &Stream, _is_hung_up: bool) -> io::Result<ProxyHeader> {
    Ok(ProxyHeader::Invalid("this build cannot receive PROXY protocol headers".to_owned()))
}
