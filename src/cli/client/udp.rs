//! UDP options of the client.

use crate::cli::udp::SendingOptions;
use crate::cli::variables::{Typed, refuse_stray};
use crate::client::UdpOptions;
use crate::error::Error;
use clap::Args;

/// UDP options of the client.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientUdpOptions {
    #[command(flatten)]
    typed: Typed,
    /// Send each message as a UDP datagram, from NUM_CONNECTIONS sockets. A message without a reply within
    /// --reply-timeout (1s with --udp) has timed out. Without --rate, --pipeline defaults to 1. With a --size of 16 or more,
    /// each message carries its number.
    #[arg(long, help_heading = "Datagrams",
        conflicts_with_all = ["unix", "embedded", "connect_timeout", "max_connecting", "proxy_protocol", "no_delay", "keepalive", "buffer_limit", "stdin", "frame", "search", "binary", "tls_ca", "tls_insecure", "tls_cert",
        "tls_key", "server_name", "tls_alpn"])]
    udp: bool,
    /// Allow broadcast addresses, such as 192.168.1.255 (SO_BROADCAST).
    #[arg(long, help_heading = "Datagrams")]
    broadcast: bool,
    #[command(flatten)]
    sending: SendingOptions,
}

impl ClientUdpOptions {
    /// Checks that no UDP option is given on the command line without --udp.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when one is.
    pub(super) fn check(&self) -> Result<(), Error> {
        let names = std::iter::once("--broadcast").chain(SendingOptions::NAMES);
        refuse_stray(if self.udp { None } else { self.typed.first_of(names) }, "datagrams", "--udp")
    }

    /// The options of a run over UDP; `None` without --udp.
    pub(super) fn udp_options(&self) -> Option<UdpOptions> {
        self.udp.then(|| UdpOptions { broadcast: self.broadcast, multicast: self.sending.multicast() })
    }
}
