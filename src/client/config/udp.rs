//! UDP options.

use crate::socket::Multicast;

/// Options of a client that sends datagrams.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Whether the target is a broadcast address (`SO_BROADCAST`, socket(7)). Default: no.
    pub broadcast: bool,
    /// Interface, TTL and loopback of multicast datagrams. A multicast group is recognised by its address.
    pub multicast: Multicast,
}
