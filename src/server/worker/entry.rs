//! One entry of a worker's session table: a service connection, an outgoing connection or an admin connection.

use super::connection_entry::ConnectionEntry;
use super::outgoing::Outgoing;
use crate::server::admin::AdminConnection;

/// A connection of a worker.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all entries are service connections, which gain nothing from a box"
)]
pub(super) enum Entry<S> {
    Service(ConnectionEntry<S>),
    /// On the heap, as the next one, so that they do not enlarge the others.
    Outgoing(Box<Outgoing>),
    Admin(Box<AdminConnection>),
}

impl<S> Entry<S> {
    pub(super) fn admin(&self) -> Option<&AdminConnection> {
        match self {
            Self::Service(_) | Self::Outgoing(_) => None,
            Self::Admin(connection) => Some(connection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionEntry, Entry};
    use crate::service::{Echo, Service};

    #[test]
    fn other_connections_do_not_enlarge_those_of_the_service() {
        assert_eq!(size_of::<Entry<Echo>>(), size_of::<ConnectionEntry<Echo>>());
    }

    /// What each connection takes, besides 8 bytes in the slab and 24 in the timer wheel. Without debug assertions the
    /// socket takes 8 bytes less.
    #[test]
    fn connections_are_small() {
        let size = size_of::<Entry<Box<dyn Service>>>();
        assert!(size <= 144, "{size} bytes");
    }
}
