//! UDP options of both programs.

use super::Switch;
use crate::error::Error;
use crate::socket::{Interface, Multicast};
use clap::Args;

/// Multicast options of both programs.
#[derive(Debug, Clone, Args)]
pub(super) struct MulticastOptions {
    /// Network interface for multicast, by name or IPv4 address. Default: chosen by the system.
    #[arg(long, value_name = "NAME|ADDRESS", value_parser = interface,
        help_heading = "Datagrams")]
    multicast_interface: Option<Interface>,
}

impl MulticastOptions {
    pub(super) const NAMES: [&'static str; 1] = ["--multicast-interface"];

    pub(super) fn multicast(&self) -> Multicast {
        Multicast { interface: self.multicast_interface, ..Multicast::default() }
    }
}

/// Multicast options of a sender.
#[derive(Debug, Clone, Args)]
pub(super) struct SendingOptions {
    #[command(flatten)]
    receiving: MulticastOptions,
    /// Time to live of multicast datagrams, in hops; 0 stays on this machine. Default: 1.
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = ttl, help_heading = "Datagrams")]
    multicast_ttl: Option<u8>,
    /// Deliver multicast datagrams to members on this machine, too. Default: on.
    #[arg(long, value_name = "on|off", value_enum, hide_possible_values = true, help_heading = "Datagrams")]
    multicast_loop: Option<Switch>,
}

impl SendingOptions {
    pub(super) const NAMES: [&'static str; 3] = ["--multicast-interface", "--multicast-ttl", "--multicast-loop"];

    pub(super) fn multicast(&self) -> Multicast {
        Multicast {
            ttl: self.multicast_ttl,
            loopback: self.multicast_loop.map(|switch| switch == Switch::On),
            ..self.receiving.multicast()
        }
    }
}

fn interface(text: &str) -> Result<Interface, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

fn ttl(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| format!("{text:?} is no time to live; give a number of hops from 0 to 255 such as 1"))
}
