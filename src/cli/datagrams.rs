//! What both command lines say about datagrams.

use super::Switch;
use crate::error::Error;
use crate::socket::{Interface, Multicast};
use clap::Args;

/// Multicast, as far as both sides need it.
#[derive(Debug, Clone, Args)]
pub(super) struct MulticastOptions {
    /// The interface for multicast, by its name or its IPv4 address. Default: the system's choice.
    #[arg(long, value_name = "NAME|ADDRESS", value_parser = interface, env = "MULTICONN_MULTICAST_INTERFACE",
        requires = "udp", help_heading = "Datagrams")]
    multicast_interface: Option<Interface>,
}

impl MulticastOptions {
    /// Each option, and whether it was given.
    pub(super) fn given(&self) -> [(&'static str, bool); 1] {
        [("--multicast-interface", self.multicast_interface.is_some())]
    }

    pub(super) fn multicast(&self) -> Multicast {
        Multicast { interface: self.multicast_interface, ..Multicast::default() }
    }
}

/// How far multicast goes, for those who send it.
#[derive(Debug, Clone, Args)]
pub(super) struct SendingOptions {
    #[command(flatten)]
    receiving: MulticastOptions,
    /// How many networks a multicast datagram may cross; 0 stays on this machine. Default: 1.
    #[arg(long, value_name = "N", env = "MULTICONN_MULTICAST_TTL", requires = "udp", allow_negative_numbers = true,
        value_parser = ttl, help_heading = "Datagrams")]
    multicast_ttl: Option<u8>,
    /// Whether a multicast datagram reaches members on this machine, too. Default: on.
    #[arg(
        long,
        value_name = "on|off",
        value_enum,
        env = "MULTICONN_MULTICAST_LOOP",
        requires = "udp",
        hide_possible_values = true,
        help_heading = "Datagrams"
    )]
    multicast_loop: Option<Switch>,
}

impl SendingOptions {
    /// Each option, and whether it was given.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let own =
            [("--multicast-ttl", self.multicast_ttl.is_some()), ("--multicast-loop", self.multicast_loop.is_some())];
        self.receiving.given().into_iter().chain(own)
    }

    pub(super) fn multicast(&self) -> Multicast {
        Multicast {
            ttl: self.multicast_ttl,
            loopback: self.multicast_loop.map(|switch| switch == Switch::On),
            ..self.receiving.multicast()
        }
    }
}

/// An option that would silently do nothing is a mistake of somebody who thinks that datagrams are on.
pub(super) fn refuse_stray(options: impl IntoIterator<Item = (&'static str, bool)>) -> Result<(), Error> {
    match options.into_iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Error::Usage(format!("{name} does nothing without datagrams; give --udp as well"))),
        None => Ok(()),
    }
}

fn interface(text: &str) -> Result<Interface, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

fn ttl(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| format!("{text:?} is no time to live; give a number of networks from 0 to 255 such as 1"))
}
