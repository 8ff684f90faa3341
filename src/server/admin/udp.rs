//! What the metrics page says of datagrams, where a server answers them.

use super::exposition::{Page, by_kind_of};
use crate::error::errno_name;
use crate::server::counters::Counters;
use std::fmt;

impl Page<'_, '_> {
    pub(super) fn datagrams(&mut self) -> fmt::Result {
        let received = |counters: &Counters| counters.datagrams.received.get();
        self.counters("multiconn_datagrams_received", "Datagrams received.", None, received)?;
        let sent = |counters: &Counters| counters.datagrams.sent.get();
        self.counters("multiconn_datagrams_sent", "Datagrams sent in reply.", None, sent)?;
        let dropped = |counters: &Counters| by_kind_of(counters.datagrams.dropped());
        self.divided("multiconn_datagrams_dropped", "Datagrams that were not answered.", "reason", dropped)?;
        let failed = |counters: &Counters| {
            counters.datagrams.receive_errors().map(|(errno, count)| (errno_name(errno), count)).collect()
        };
        self.divided("multiconn_datagram_receive_errors", "Attempts to receive that failed.", "errno", failed)
    }
}
