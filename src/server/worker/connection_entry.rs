//! A session of a worker with its peer, its number and the log line of its end.

use super::peer_address::PeerAddress;
use crate::connection::CloseReason;
use crate::pump::Session;
use crate::server::malformed::Malformed;
use crate::server::observer::{self, CloseLog};
use crate::service::Service;
use crate::socket::Address;
use std::time::Instant;

/// A session with its peer address and its number.
#[derive(Debug)]
pub(super) struct ConnectionEntry<S> {
    pub(super) session: Session<S>,
    pub(super) peer: PeerAddress,
    pub(super) number: u64,
}

impl<S: Service> ConnectionEntry<S> {
    pub(super) fn new(session: Session<S>, peer: Address, number: u64) -> Self {
        Self { session, peer: peer.into(), number }
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
        let peer = self.peer.get();
        let id = (&*peer, self.number);
        malformed.on_close(now, reason, id, || observer::error_detail(&self.session));
        CloseLog::new(&self.session, id, reason, now)
    }
}
