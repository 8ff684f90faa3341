//! UDP in a worker: datagrams are received, answered and sent in batches.
//!
//! There are no connections, hence no back-pressure: a reply that the kernel does not take at once is dropped and
//! counted, as a router would. One peer's fault never affects another peer's datagrams.

mod config;
mod rate_limit;
mod reflection;
mod socket;
mod sockets;

pub use config::{DatagramConfig, MakeResponder};
pub(super) use sockets::UdpSockets;
