//! One entry of a worker's session table: a service connection with its closing log line, or an admin connection.

use crate::connection::CloseReason;
use crate::pump::Session;
use crate::server::admin::AdminConnection;
use crate::server::malformed::Malformed;
use crate::server::observer::{self, CloseLog};
use crate::service::Service;
use crate::socket::Address;
use std::time::Instant;

/// A connection of a worker.
#[derive(Debug)]
pub(super) enum Entry<S> {
    Service(ConnectionEntry<S>),
    /// On the heap, so that it does not enlarge the others.
    Admin(Box<AdminConnection>),
}

impl<S> Entry<S> {
    pub(super) fn admin(&self) -> Option<&AdminConnection> {
        match self {
            Self::Service(_) => None,
            Self::Admin(connection) => Some(connection),
        }
    }
}

/// A session with its peer address and its number.
#[derive(Debug)]
pub(super) struct ConnectionEntry<S> {
    pub(super) session: Session<S>,
    pub(super) peer: Address,
    pub(super) number: u64,
}

impl<S: Service> ConnectionEntry<S> {
    pub(super) fn new(session: Session<S>, peer: Address, number: u64) -> Self {
        Self { session, peer, number }
    }

    /// The log line for a close with `reason`; none if it was logged already. Warns of malformed input.
    pub(super) fn closing(
        &mut self,
        reason: CloseReason,
        now: Instant,
        malformed: &mut Malformed<'_>,
    ) -> Option<CloseLog> {
        if self.session.logged.replace(reason) == Some(reason) {
            return None;
        }
        let id = (&self.peer, self.number);
        malformed.on_close(now, reason, id, || observer::error_detail(&self.session));
        CloseLog::new(&self.session, id, reason, now)
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionEntry, Entry};
    use crate::service::Echo;

    #[test]
    fn admin_connections_do_not_enlarge_the_others() {
        assert_eq!(size_of::<Entry<Echo>>(), size_of::<ConnectionEntry<Echo>>());
    }
}
