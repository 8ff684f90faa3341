//! UDP sockets (udp(7)): opening them for a server or a client, and batched receiving and sending.
//!
//! A datagram is received whole or not at all, and may be lost without notice. Nothing here blocks or retries: the
//! caller keeps or drops what a socket does not take.

mod control;
mod hop_limit;
mod multicast;
mod open;
mod recv_batch;
mod send_batch;
#[cfg(test)]
mod tests;

pub use hop_limit::reply_hops;
pub use multicast::{Interface, Multicast};
pub use open::{BoundDatagrams, DatagramSocket, Peer, bind_datagrams, needs_broadcast, open_towards};
pub(super) use open::{adopt_datagrams, is_datagram};
pub use recv_batch::RecvBatch;
pub use send_batch::SendBatch;

/// The longest datagram of UDP over IPv4, in bytes: 65,535 minus the headers of IP (20) and UDP (8) (RFC 768, RFC 791).
/// Over IPv6 it is 20 more, which no sender should rely on.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;
