//! What one connection may use of memory and of time. All connections of a worker share one set of limits.

use crate::buffer::LENT_BYTES;
use std::time::{Duration, Instant};

/// How many bytes a connection may move in one turn, in and out together, before the others get theirs: what a busy
/// neighbour can delay a quiet connection by. With 1 MiB, the p99 of a hundred quiet clients rose to 6.5 times of what it
/// was without a neighbour that never pauses, with 256 KiB to between 1.4 and 4 times, with this to between 1.7 and 2.9
/// times; 64 KiB made it no better. What is left is the kernel's own work for the neighbour.
const TURN_BYTES: usize = 128 * 1024;

/// How long a conversation may be silent. Long enough for people at a keyboard and for the keep-alive of most
/// protocols, short enough that a peer that vanished does not hold its place for a day.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// How long a peer may stay silent at first: the patience of common web servers with the first line of a request.
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// How long a handshake may take: several lost packets, or a far and slow peer. Most take a few round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a peer may acknowledge nothing of what waits for it; common web servers wait as long.
const WRITE: Duration = Duration::from_secs(60);

/// How long input is discarded after our half was shut, while the peer still sends.
const LINGER: Duration = Duration::from_secs(5);

/// The limits of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes each of the two buffers may hold, in bytes. Default: 64 KiB.
    pub buffer_bytes: usize,
    /// The most bytes moved in one turn, in bytes, in and out together, before other connections get theirs.
    /// Default: 128 KiB.
    pub turn_bytes: usize,
    /// Close when no byte moved in either direction for this long; `None` waits for ever. While output waits, bytes that the
    /// peer's system acknowledges count, where that is known. Default: 5 minutes.
    pub idle: Option<Duration>,
    /// Close when the peer has not sent a byte this long after the connection opened, and was sent none; `None` waits for
    /// ever. Counted from the open, so that a trickle cannot prolong it. Default: 1 minute.
    pub first_byte: Option<Duration>,
    /// Close when the handshake, where there is one, is not complete this long after the connection opened; `None` waits for
    /// ever. Counted from the open: a damaged handshake can go quiet, and one that trickles in moves all the time.
    /// Default: 10 seconds.
    pub handshake: Option<Duration>,
    /// Close when output waits and the peer's system has acknowledged none of it for this long; `None` waits for ever. It is
    /// checked eight times within this time, so the close can come an eighth later. Where acknowledgements are not known
    /// (Unix sockets, systems other than Linux), what the socket takes counts instead. Default: 1 minute.
    pub write: Option<Duration>,
    /// Finish this long after the connection opened, whatever happens on it; `None` never does. Default: never.
    pub lifetime: Option<Duration>,
    /// After our half was shut: discard what the peer still sends for this long. With a limit for writes or idleness, and
    /// where acknowledgements are known, the time begins anew as long as the peer has not acknowledged everything, up to that
    /// limit without progress. Zero closes at once. Default: 5 seconds.
    pub linger: Duration,
    /// Cut whatever is still open at this instant. Set when a drain begins.
    pub drain_by: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer_bytes: LENT_BYTES,
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
    /// All the time in the world: for a service that keeps its own limits.
    #[must_use]
    pub fn patient() -> Self {
        Self { idle: None, first_byte: None, handshake: None, write: None, lifetime: None, ..Self::default() }
    }
}
