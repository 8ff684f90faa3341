//! One connection of a worker, and what the log says of its end.

use crate::connection::CloseReason;
use crate::pump::Session;
use crate::server::malformed::Malformed;
use crate::server::observer;
use crate::service::Service;
use crate::socket::Address;
use std::time::Instant;

/// One connection and what belongs to it.
#[derive(Debug)]
pub(super) struct ConnectionEntry<S> {
    pub(super) session: Session<S>,
    pub(super) peer: Address,
    pub(super) number: u64,
    /// Why it closes, once the log has said so.
    logged: Option<CloseReason>,
}

impl<S: Service> ConnectionEntry<S> {
    pub(super) fn new(session: Session<S>, peer: Address, number: u64) -> Self {
        Self { session, peer, number, logged: None }
    }

    /// What the log says of the end for `reason`; nothing when that was said already. Warns of malformed input.
    pub(super) fn closing_line(
        &mut self,
        reason: CloseReason,
        now: Instant,
        malformed: &mut Malformed<'_>,
    ) -> Option<String> {
        if self.logged.replace(reason) == Some(reason) {
            return None;
        }
        malformed.note_end(now, reason, &self.peer, || observer::error_detail(&self.session));
        let closing_details = observer::closing_details(&self.session, reason, self.number, now)?;
        Some(format!("Closing connection to {}: {closing_details}", self.peer))
    }
}
