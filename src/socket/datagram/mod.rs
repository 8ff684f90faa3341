//! Datagram sockets (udp(7)): opened for a server or a client, and read and written many datagrams at a time.
//!
//! A datagram is received whole or not at all, and may be lost without a word on the way. Nothing in here waits or
//! retries: what a socket does not take now is the caller's to keep or to drop.

mod batch;
mod hops;
mod inbox;
mod multicast;
mod open;
mod outbox;
#[cfg(test)]
mod tests;

pub use hops::reply_hops;
pub use inbox::{Arrival, Inbox};
pub use multicast::{Interface, Multicast};
pub use open::{BoundDatagrams, DatagramSocket, Peer, bind_datagrams, needs_broadcast, open_towards};
pub(super) use open::{adopt_datagrams, is_datagram};
pub use outbox::{Letter, Outbox};

/// The longest datagram that UDP over IPv4 carries, in bytes: 65,535 less the headers of IP (20) and UDP (8) (RFC 768,
/// RFC 791). Over IPv6 it is 20 more, which no sender should rely on.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;
