//! The /metrics page of a server.

use crate::connection::CloseReason;
use crate::counter::{BYTES, Buckets, Families, FixedHistogram, SECONDS};
use crate::error::errno_name;
use crate::server::DropReason;
use crate::server::admission::Refusal;
use crate::server::counters::{Counters, HandshakeResult, Rounds};
use crate::server::shared::Shared;
use crate::service::UpstreamCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The whole page with current values.
pub(super) fn page(shared: &Arc<Shared>) -> String {
    crate::counter::page(Reader(Arc::clone(shared)))
}

struct Reader(Arc<Shared>);

/// Without the fields: a collector has to have this, and deriving it would add the formatting of all of the server's types to
/// the programs.
impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Collector for Reader {
    fn encode(&self, out: DescriptorEncoder<'_>) -> fmt::Result {
        let workers = self.0.counters.iter().enumerate().map(|(number, counters)| (number.to_string(), counters));
        let mut page = Page { out: Families(out), workers: workers.collect() };
        page.process(&self.0)?;
        page.connections()?;
        if self.0.tls.is_some() {
            page.handshakes()?;
        }
        page.messages()?;
        page.outgoing()?;
        if let Some(upstreams) = &self.0.config.upstreams {
            page.upstreams(&upstreams.counts(Instant::now()))?;
        }
        if self.0.config.datagrams.is_some() {
            page.datagrams()?;
        }
        page.rounds()
    }
}

const OPENED: fn(&UpstreamCounts) -> u64 = |counts| counts.opened;
const FAILED: fn(&UpstreamCounts) -> u64 = |counts| counts.failed;

struct Page<'a, 'out> {
    out: Families<'out>,
    /// Each worker's number as text, and its counters.
    workers: Vec<(String, &'a Counters)>,
}

impl Page<'_, '_> {
    fn process(&mut self, shared: &Shared) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.out.info("multiconn_build", "The program and its version.", &version)?;
        let process = &shared.process;
        self.out.gauge(
            "process_start_time",
            "When the server started, in Unix time.",
            SECONDS,
            &process.started.as_secs_f64(),
        )?;
        if let Some(descriptors) = process.descriptors {
            self.out.gauge("process_max_fds", "Descriptors that the process may open.", None, &descriptors)?;
        }
        let max = shared.admission.max_connections();
        self.out.gauge("multiconn_max_connections", "Connections that may be open.", None, &max)?;
        let [used, limit] = [shared.memory.held_bytes(), shared.memory.limit()];
        self.out.gauge("multiconn_buffers_held", "Memory held for peers between turns, as limited.", BYTES, &used)?;
        self.out.gauge("multiconn_memory_limit", "Limit on the memory held for peers.", BYTES, &limit)?;
        let is_draining = u32::from(process.is_draining.load(Ordering::Relaxed));
        self.out.gauge("multiconn_draining", "1 while no new connections are accepted, else 0.", None, &is_draining)?;
        let Some(dropped) = shared.config.dropped_log_lines else { return Ok(()) };
        let help = "Log lines dropped because the log was not read.";
        self.out.counter("multiconn_log_lines_dropped", help, None, dropped())
    }

    fn connections(&mut self) -> fmt::Result {
        self.worker_gauges("multiconn_connections_open", "Connections open.", None, Counters::open)?;
        let accepted = |counters: &Counters| counters.accepted.get();
        self.worker_counters("multiconn_connections_accepted", "Connections accepted.", None, accepted)?;
        let refused = |counters: &Counters| by_name(counters.refused.counts(), Refusal::name);
        self.labelled_counters("multiconn_connections_refused", "Connections refused.", "reason", refused)?;
        let closed = |counters: &Counters| by_name(counters.closed.counts(), CloseReason::name);
        self.labelled_counters("multiconn_connections_closed", "Connections ended.", "reason", closed)?;
        let failed = |counters: &Counters| by_name(counters.accept_errors.counts(), errno_name);
        self.labelled_counters("multiconn_accept_errors", "Failed attempts to accept.", "errno", failed)?;
        let received = |counters: &Counters| counters.received_bytes.get();
        self.worker_counters("multiconn_received", "Bytes received from all peers.", BYTES, received)?;
        let sent = |counters: &Counters| counters.sent_bytes.get();
        self.worker_counters("multiconn_sent", "Bytes sent to all peers.", BYTES, sent)
    }

    fn handshakes(&mut self) -> fmt::Result {
        let results = |counters: &Counters| by_name(counters.handshakes.counts(), HandshakeResult::name);
        self.labelled_counters("multiconn_tls_handshakes", "TLS handshakes by result.", "result", results)
    }

    /// A service that does not know where a message ends counts none, and has no such metric.
    fn messages(&mut self) -> fmt::Result {
        let received = |counters: &Counters| counters.messages.get();
        if self.workers.iter().all(|(_, counters)| received(counters) == 0) {
            return Ok(());
        }
        self.worker_counters("multiconn_messages_received", "Messages received.", None, received)
    }

    fn outgoing(&mut self) -> fmt::Result {
        let open = |counters: &Counters| counters.outgoing.open();
        self.worker_gauges("multiconn_outgoing_open", "Outgoing connections open.", None, open)?;
        let opened = |counters: &Counters| counters.outgoing.opened.get();
        self.worker_counters("multiconn_outgoing_opened", "Outgoing connections established.", None, opened)?;
        let failed = |counters: &Counters| by_name(counters.outgoing.failed.counts(), CloseReason::name);
        self.labelled_counters("multiconn_outgoing_failed", "Outgoing connections that failed.", "reason", failed)?;
        let closed = |counters: &Counters| by_name(counters.outgoing.closed.counts(), CloseReason::name);
        self.labelled_counters("multiconn_outgoing_closed", "Outgoing connections ended.", "reason", closed)?;
        let handshakes = |counters: &Counters| by_name(counters.outgoing.handshakes.counts(), HandshakeResult::name);
        let help = "TLS handshakes of outgoing connections by result.";
        self.labelled_counters("multiconn_outgoing_tls_handshakes", help, "result", handshakes)
    }

    fn upstreams(&mut self, upstreams: &[UpstreamCounts]) -> fmt::Result {
        let labelled: Vec<_> = upstreams.iter().map(|counts| (counts.endpoint.to_string(), counts)).collect();
        for (name, help, value) in [
            ("multiconn_upstream_opened", "Connections to the upstream established.", OPENED),
            ("multiconn_upstream_failed", "Connections to the upstream that could not be established.", FAILED),
        ] {
            let samples = labelled.iter().map(|(upstream, counts)| ([("upstream", upstream)], value(counts)));
            self.out.counters(name, help, None, samples)?;
        }
        let help = "1 while new connections leave the upstream out, else 0.";
        let backoff =
            labelled.iter().map(|(upstream, counts)| ([("upstream", upstream)], u32::from(counts.is_in_backoff)));
        self.out.gauges("multiconn_upstream_backoff", help, None, backoff)
    }

    fn datagrams(&mut self) -> fmt::Result {
        let received = |counters: &Counters| counters.datagrams.received.get();
        self.worker_counters("multiconn_datagrams_received", "Datagrams received.", None, received)?;
        let sent = |counters: &Counters| counters.datagrams.sent.get();
        self.worker_counters("multiconn_datagrams_sent", "Datagrams sent in reply.", None, sent)?;
        let dropped = |counters: &Counters| by_name(counters.datagrams.dropped(), DropReason::name);
        self.labelled_counters("multiconn_datagrams_dropped", "Datagrams that were not answered.", "reason", dropped)?;
        let failed = |counters: &Counters| by_name(counters.datagrams.receive_errors(), errno_name);
        self.labelled_counters("multiconn_datagram_receive_errors", "Failed attempts to receive.", "errno", failed)
    }

    fn rounds(&mut self) -> fmt::Result {
        let spare = |counters: &Counters| counters.rounds.spare_bytes.get();
        self.worker_gauges("multiconn_buffers_spare", "Unused memory of the buffer pool.", BYTES, spare)?;
        let ready = |counters: &Counters| counters.rounds.ready.get();
        self.worker_gauges("multiconn_ready_queue_length", "Connections whose turn comes next round.", None, ready)?;
        self.worker_histograms("multiconn_loop_round", "The work of one round of the loop.", |rounds| &rounds.turn)?;
        self.worker_histograms("multiconn_timer_lag", "How late timers expired.", |rounds| &rounds.timer_lag)
    }

    fn worker_gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&Counters) -> u64,
    ) -> fmt::Result {
        let samples = self.workers.iter().map(|(worker, counters)| ([("worker", worker)], value(counters)));
        self.out.gauges(name, help, unit, samples)
    }

    fn worker_counters(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&Counters) -> u64,
    ) -> fmt::Result {
        let samples = self.workers.iter().map(|(worker, counters)| ([("worker", worker)], value(counters)));
        self.out.counters(name, help, unit, samples)
    }

    /// Counters of each worker, divided by `label`.
    fn labelled_counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Fn(&Counters) -> Vec<(String, u64)>,
    ) -> fmt::Result {
        let samples = self.workers.iter().flat_map(|(worker, counters)| {
            let values = values(counters).into_iter();
            values.map(move |(kind, value)| ([("worker", worker.clone()), (label, kind)], value))
        });
        self.out.counters(name, help, None, samples)
    }

    fn worker_histograms(
        &mut self,
        name: &str,
        help: &str,
        histogram: impl Fn(&Rounds) -> &FixedHistogram,
    ) -> fmt::Result {
        let buckets = |counters: &Counters| {
            let histogram = histogram(&counters.rounds);
            Buckets { sum: histogram.sum_seconds(), counts: histogram.buckets() }
        };
        let samples = self.workers.iter().map(|(worker, counters)| ([("worker", worker)], buckets(counters)));
        self.out.histograms(name, help, samples)
    }
}

/// Counts by the name of their kind. Kinds that share a name are added.
fn by_name<K, N: Into<String>>(counts: impl Iterator<Item = (K, u64)>, name: impl Fn(K) -> N) -> Vec<(String, u64)> {
    let mut named: Vec<(String, u64)> = Vec::new();
    for (kind, count) in counts {
        let name = name(kind).into();
        match named.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => *sum += count,
            None => named.push((name, count)),
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::connection::CloseReason;
    use crate::server::{Server, ServerConfig};
    use crate::service::Echo;
    use crate::socket::Endpoint;

    #[test]
    fn the_page_counts_outgoing_connections_by_reason() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 1;
        let server = Server::bind(config, |_| Echo).expect("a free port");
        let outgoing = &server.shared.counters[0].outgoing;
        outgoing.opened.add(3);
        outgoing.closed.add(CloseReason::Drained);
        outgoing.failed.add(CloseReason::ConnectRefused);
        outgoing.failed.add(CloseReason::Stopped);
        let page = page(&server.shared);
        for line in [
            "multiconn_outgoing_open{worker=\"0\"} 2",
            "multiconn_outgoing_opened_total{worker=\"0\"} 3",
            "multiconn_outgoing_closed_total{worker=\"0\",reason=\"drained\"} 1",
            "multiconn_outgoing_failed_total{worker=\"0\",reason=\"connect_refused\"} 1",
            "multiconn_outgoing_failed_total{worker=\"0\",reason=\"connect_timeout\"} 0",
            "multiconn_outgoing_failed_total{worker=\"0\",reason=\"stopped\"} 1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is missing in\n{page}");
        }
    }
}
