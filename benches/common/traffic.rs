//! Traffic pattern of the minimal load.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) pattern: Pattern,
    /// Concurrent connections. With [`Pattern::Churn`] each one is replaced at once, also resumed.
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Messages in flight per connection.
    pub(crate) depth: usize,
    /// Whether to use TLS. There is no bare loop with TLS, only tokio with rustls.
    pub(crate) tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Persistent connections; each echo is answered with the next message.
    Steady,
    /// Connect, exchange one echo, close, and repeat; with TLS, a full handshake for each connection.
    Churn,
    /// The same over TLS, with resumed sessions.
    ResumedChurn,
    /// Persistent connections that send nothing.
    Silent,
    /// Datagrams, each by itself.
    Datagrams,
    /// Datagrams that the kernel passes on several at once.
    MergedDatagrams,
    /// Persistent connections that are silent after one echo each.
    SilentAfterOne,
}

impl Traffic {
    pub(crate) const fn steady(connections: usize, message_bytes: usize, depth: usize) -> Self {
        Self { pattern: Pattern::Steady, connections, message_bytes, depth, tls: false }
    }
}
