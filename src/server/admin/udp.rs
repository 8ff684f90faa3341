//! UDP counters on the /metrics page.

use super::exposition::{Page, by_display};
use crate::error::errno_name;
use crate::server::counters::Counters;
use std::fmt;

impl Page<'_, '_> {
    pub(super) fn datagrams(&mut self) -> fmt::Result {
        let received = |counters: &Counters| counters.datagrams.received.get();
        self.worker_counters("multiconn_datagrams_received", "Datagrams received.", None, received)?;
        let sent = |counters: &Counters| counters.datagrams.sent.get();
        self.worker_counters("multiconn_datagrams_sent", "Datagrams sent in reply.", None, sent)?;
        let dropped = |counters: &Counters| by_display(counters.datagrams.dropped());
        self.labelled_counters("multiconn_datagrams_dropped", "Datagrams that were not answered.", "reason", dropped)?;
        let failed = |counters: &Counters| {
            counters.datagrams.receive_errors().map(|(errno, count)| (errno_name(errno), count)).collect()
        };
        self.labelled_counters("multiconn_datagram_receive_errors", "Failed attempts to receive.", "errno", failed)
    }
}
