//! Socket options of both programs.

use super::{Switch, values};
use crate::socket::SocketOptions;
use crate::units::parse_duration;
use clap::Args;
use std::time::Duration;

/// Options of connected sockets.
#[derive(Debug, Args)]
pub(super) struct StreamOptions {
    /// Send small messages without delay (TCP_NODELAY).
    #[arg(long, value_name = "on|off", value_enum, default_value_t = Switch::On, hide_possible_values = true)]
    no_delay: Switch,
    /// Send keepalive probes after this much silence, in whole seconds (SO_KEEPALIVE). Default: never.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keepalive: Option<Duration>,
    /// Kernel receive buffer per connection (SO_RCVBUF). Default: tuned by the kernel.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    recv_buffer: Option<usize>,
    /// Kernel send buffer per connection (SO_SNDBUF). Default: tuned by the kernel.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    send_buffer: Option<usize>,
}

impl StreamOptions {
    pub(super) fn apply(&self, options: &mut SocketOptions) {
        options.no_delay = self.no_delay == Switch::On;
        options.keepalive = self.keepalive;
        options.recv_buffer = self.recv_buffer;
        options.send_buffer = self.send_buffer;
    }
}
