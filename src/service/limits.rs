//! Memory limits and timeouts of a connection. All connections of a worker share one set of limits.

use crate::buffer::BLOCK_BYTES;
use std::time::{Duration, Instant};

/// Bytes that a connection may move in one turn, in and out together, before quiet connections get theirs. It bounds
/// how long a busy connection delays a quiet one. A connection that never pauses raises the p99 of a hundred quiet
/// clients by a factor of 1.8 to 2.2, and with 128 KiB by one of 1.8. The rest is the kernel's own work for the busy
/// connection. With 128 KiB the echoes of messages of 256 KiB are interrupted more often, and some machines then move
/// three quarters as many. Busy connections alternate after more turns than one, because that costs throughput.
const TURN_BYTES: usize = 256 * 1024;

/// Default idle timeout. Long enough for people at a keyboard and for the keep-alive of most protocols. Short enough
/// that a vanished peer does not occupy a connection for a day.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// Default first-byte timeout: as long as common web servers wait for the first line of a request.
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// Default handshake timeout: enough for several lost packets or a distant and slow peer. Most handshakes take a few
/// round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Default write timeout: as long as common web servers wait.
const WRITE: Duration = Duration::from_secs(60);

/// Default time for which input is discarded after our sending half was shut down, while the peer still sends.
const LINGER: Duration = Duration::from_secs(5);

/// Limits of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum size of each of the two buffers, in bytes. Default: 64 KiB.
    pub buffer_bytes: usize,
    /// Maximum number of bytes moved in one turn, in and out together, before other connections get theirs. Default:
    /// 256 KiB.
    pub turn_bytes: usize,
    /// Idle timeout: closes when no byte moved in either direction for this long; `None` waits for ever. While output
    /// waits, bytes that the peer's system acknowledges count as moved, where that is known. Default: 5 minutes.
    pub idle: Option<Duration>,
    /// First-byte timeout: closes when the peer has not sent a byte this long after the connection opened, and was sent
    /// none; `None` waits for ever. It counts from the open, so a trickle cannot prolong it. Default: 1 minute.
    pub first_byte: Option<Duration>,
    /// Handshake timeout: closes when the handshake, if there is one, is not complete this long after the connection
    /// opened; `None` waits for ever. It counts from the open because a damaged handshake can go quiet, and one that
    /// trickles in byte by byte keeps moving. Default: 10 seconds.
    pub handshake: Option<Duration>,
    /// Write timeout: closes when output waits and the peer's system has acknowledged none of it for this long; `None`
    /// waits for ever. Progress is checked eight times within this time, so the close can be late by an eighth. Where
    /// acknowledgements are not known (Unix sockets, systems other than Linux), bytes that the socket takes count
    /// instead. Default: 1 minute.
    pub write: Option<Duration>,
    /// Maximum lifetime: finishes this long after the connection opened, regardless of activity; `None` never does.
    /// Default: never.
    pub lifetime: Option<Duration>,
    /// Linger time: after our sending half was shut down, discards what the peer still sends for this long. The time
    /// restarts while the peer has not acknowledged everything, up to the write or idle timeout without progress. That
    /// requires one of these timeouts, and a system that reports acknowledgements. Zero closes at once. Default: 5
    /// seconds.
    pub linger: Duration,
    /// Drain deadline: closes whatever is still open at this instant. Set when a drain begins.
    pub drain_by: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer_bytes: BLOCK_BYTES,
            turn_bytes: TURN_BYTES,
            idle: Some(IDLE),
            first_byte: Some(FIRST_BYTE),
            handshake: Some(HANDSHAKE),
            write: Some(WRITE),
            lifetime: None,
            linger: LINGER,
            drain_by: None,
        }
    }
}

impl Limits {
    /// Limits without timeouts, for a service that keeps its own.
    #[must_use]
    pub fn without_timeouts() -> Self {
        Self { idle: None, first_byte: None, handshake: None, write: None, lifetime: None, ..Self::default() }
    }
}
