//! Receiving the PROXY protocol header with which a connection begins, and admission of the client that it names.
//!
//! Until then the connection is in its handshake: the handshake timeout applies, and it gets no turn.

use super::{Entry, Worker};
use crate::connection::CloseReason;
use crate::event_loop::{Key, LoopContext};
use crate::log_targets::SERVER_LOG;
use crate::service::Service;
use crate::socket::{Address, ByteStream, ProxyHeader, receive_header};

impl<S: Service> Worker<'_, S> {
    /// Continues to receive the header of the connection with `key`. Returns whether it is admitted, and gets its turn.
    #[cold]
    pub(super) fn receive_header(&mut self, context: &mut LoopContext, key: Key) -> bool {
        let Some(Entry::Service(entry)) = self.entries.get_mut(key) else { return false };
        let connection = &mut entry.session.connection;
        // A deadline has expired.
        if let Some(reason) = connection.closed() {
            self.close(context, key, reason);
            return false;
        }
        let reason = match receive_header(&entry.session.socket, connection.is_hung_up()) {
            Ok(ProxyHeader::Pending) if !entry.session.charge_socket(&self.shared.memory) => CloseReason::MemoryLimit,
            Ok(ProxyHeader::Pending) => {
                let deadline = entry.session.connection.urgent_deadline(&self.limits);
                entry.session.arm(context, key, deadline);
                return false;
            }
            Ok(ProxyHeader::Ready { source, destination }) => match self.admit(context, key, source, destination) {
                Ok(()) => return true,
                Err(reason) => reason,
            },
            Ok(ProxyHeader::Invalid(error_detail)) => {
                let (peer, number, reason) = (entry.peer.get(), entry.number, CloseReason::ProxyHeaderInvalid);
                if self.proxy_header_warning.is_due(context.now) {
                    let count = self.counters.closed.get(reason) + 1;
                    log::warn!(connection = number, peer:%, error_detail, count; "invalid PROXY header; connection closed");
                }
                reason
            }
            Err(error) => CloseReason::from_error(&error),
        };
        self.close(context, key, reason);
        false
    }

    /// Admits the client that a header names; without an address, the peer of the socket. The connection opens, or begins
    /// its TLS handshake.
    fn admit(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        source: Option<Address>,
        destination: Option<Address>,
    ) -> Result<(), CloseReason> {
        let Some(Entry::Service(entry)) = self.entries.get_mut(key) else { return Err(CloseReason::Stopped) };
        let proxy = entry.peer.get().into_owned();
        let peer = source.unwrap_or_else(|| proxy.clone());
        entry.peer = peer.clone().into();
        let destination = destination.map(|address| address.to_string());
        log::debug!(
            target: SERVER_LOG, connection = entry.number, peer:%, destination, proxy:%;
            "Received PROXY header for {}", peer.in_python()
        );
        if let Err(refusal) = self.shared.admission.admit(&peer) {
            log::debug!(peer:%, reason:% = refusal; "connection refused");
            self.counters.refused.add(refusal);
            return Err(CloseReason::Refused);
        }
        entry.session.is_admitted = true;
        if !entry.session.socket.is_handshaking() {
            entry.session.connection.handle_opened(context.now);
        }
        Ok(())
    }
}
