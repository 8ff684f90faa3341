//! Search of connect(2) for a free local port, as a cause of slow connects.

use crate::units::{format_count, format_duration};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Connects that were slow because nearly all local ports were taken (ip(7), `ip_local_port_range`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortSearch {
    /// CPU time of a connect: the highest mean over some of them, in nanoseconds.
    pub connect_cpu_ns: u64,
    /// TCP sockets that occupied a port then, also those in TIME-WAIT.
    pub tcp_sockets: u64,
    /// Local ports of outgoing connections.
    pub local_ports: u64,
}

impl PortSearch {
    /// The longer search of both.
    #[must_use]
    pub(crate) fn longer(self, other: Self) -> Self {
        if other.connect_cpu_ns > self.connect_cpu_ns { other } else { self }
    }
}

/// What was measured, and what helps.
impl fmt::Display for PortSearch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = format_duration(Duration::from_nanos(self.connect_cpu_ns));
        let [sockets, ports] = [self.tcp_sockets, self.local_ports].map(format_count);
        write!(
            out,
            "each connect takes {cpu} of CPU time to find a free port: {sockets} TCP sockets, {ports} local ports; what \
             helps: more source addresses or targets, or a wider net.ipv4.ip_local_port_range"
        )
    }
}
