//! What the bare load puts on a server.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) pattern: Pattern,
    /// Held at the same time; with [`Pattern::Churn`] every place is taken again at once.
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Messages under way per connection.
    pub(crate) depth: usize,
    /// Over TLS: then there is no bare loop to compare with, only tokio with rustls.
    pub(crate) tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Connections stay; every echo that comes back is answered with the next message.
    Steady,
    /// Connect, one echo, close, and again.
    Churn,
    /// Connections stay and never say a word.
    Silent,
    /// Connections stay, silent after one echo each.
    SilentAfterOne,
}

impl Traffic {
    pub(crate) const fn steady(connections: usize, message_bytes: usize, depth: usize) -> Self {
        Self { pattern: Pattern::Steady, connections, message_bytes, depth, tls: false }
    }
}
