//! Everything that is a socket: addresses, listeners, streams, the options set on them, and the descriptors they use.
//!
//! A socket knows nothing of conversations and nothing of the loop that waits for it. It turns the system's errors
//! into words where a person has to act on them (listening, resolving), and leaves them as they are elsewhere.

mod address;
mod connect;
mod descriptors;
mod listener;
mod stream;
mod unix_path;

pub use address::{Address, Endpoint};
pub use connect::{Progress, begin_connect, check_connect};
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub use listener::{BoundListener, Listener, bind};
pub use stream::{Stream, Transport};

/// The backlog asked for: how many connections may wait to be accepted. The kernel cuts it to
/// `net.core.somaxconn`, 4,096 by default since Linux 5.4 (listen(2)).
pub const BACKLOG: u32 = 4096;

/// The options set on every socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// How many connections may wait to be accepted (listen(2)). Default: 4,096.
    pub backlog: u32,
    /// `TCP_NODELAY`: send small messages at once (tcp(7)). Default: on.
    pub no_delay: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { backlog: BACKLOG, no_delay: true }
    }
}
