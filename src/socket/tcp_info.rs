//! Acknowledged bytes of a TCP connection (tcp(7), `TCP_INFO`).
//!
//! A socket accepts output long before the peer does: several megabytes can wait in the kernel. Only acknowledgements
//! show whether a slow peer still takes data.

/// What the peer's system has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes acknowledged since the connection opened.
    pub acknowledged_bytes: u64,
    /// The sending half is shut down, and some output or the FIN itself is not acknowledged yet.
    pub lacks_end: bool,
}
