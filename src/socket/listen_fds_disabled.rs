//! Stand-in for sockets of a service manager in a build without the feature `systemd`: there are none.

#![expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the signatures of what it replaces")]

use crate::error::Error;
use std::io;
use std::os::fd::OwnedFd;

pub(super) struct PassedSockets;

impl PassedSockets {
    pub(super) fn from_environment() -> Result<Self, Error> {
        Ok(Self)
    }

    pub(super) fn take(self) -> io::Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}
