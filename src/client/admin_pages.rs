//! The admin pages of a client: the figures of a run while it lasts.
//!
//! They come from the joined seconds and from the counters that each worker publishes, and disturb no worker.

use super::Client;
use super::progress::WorkerProgress;
use super::seconds::SnapshotPhase;
use crate::counter::{BOUNDS, BYTES, Buckets, Families};
use crate::results::{Latencies, Load, LoadKind, RunResults};
use crate::service::AdminPages;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bounds of buckets beyond those of a server's loop, in nanoseconds: a reply may take longer than a round.
const LONG_BOUNDS: [u64; 3] = [2_000_000_000, 5_000_000_000, 10_000_000_000];

/// What a client tells about itself.
#[derive(Clone)]
pub(crate) struct ClientPages {
    progress: Vec<Arc<WorkerProgress>>,
    warm_up: Duration,
    uses_tls: bool,
    figures: Arc<Mutex<Figures>>,
}

/// The joined seconds so far.
struct Figures {
    total: RunResults,
    open: Option<u64>,
    is_load_over: bool,
}

/// Without the fields: a collector has to have this.
impl fmt::Debug for ClientPages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientPages").finish_non_exhaustive()
    }
}

impl Client {
    /// The pages about this client while it runs.
    pub(crate) fn admin_pages(&mut self) -> ClientPages {
        let figures = Figures { total: self.shared.describe(), open: None, is_load_over: false };
        let pages = ClientPages {
            progress: self.progress(),
            warm_up: self.shared.config.load.warm_up,
            uses_tls: !self.shared.config.tls.is_empty(),
            figures: Arc::new(Mutex::new(figures)),
        };
        let figures = Arc::clone(&pages.figures);
        self.on_second(move |snapshot| {
            let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.total.add_counts(&snapshot.results);
            figures.open = Some(snapshot.open);
            figures.is_load_over = matches!(snapshot.phase, SnapshotPhase::AfterLoad | SnapshotPhase::End);
        });
        pages
    }
}

impl ClientPages {
    /// When the measured time of a load began, or will; none while connections are opened.
    fn measured_from(&self) -> Option<Instant> {
        let begun = self.progress.iter().filter_map(|worker| worker.begun()).min()?;
        Some(begun + self.warm_up)
    }

    fn total(&self, count: impl Fn(&WorkerProgress) -> u64) -> u64 {
        self.progress.iter().map(|worker| count(worker)).sum()
    }

    /// Messages per second that are due by the schedule at `now`; none in a closed loop.
    fn rate_due(&self, load: &Load, is_over: bool, now: Instant) -> Option<f64> {
        let is_running = !is_over && self.has_begun(now);
        let time = self.measured_from().map_or(Duration::ZERO, |from| now.saturating_duration_since(from));
        load.rate_at(time.as_secs_f64()).map(|rate| if is_running { rate } else { 0.0 })
    }

    fn has_begun(&self, now: Instant) -> bool {
        self.progress.iter().filter_map(|worker| worker.begun()).any(|begun| begun <= now)
    }
}

impl AdminPages for ClientPages {
    fn metrics(&self) -> String {
        crate::counter::page(self.clone())
    }

    fn health(&self, _now: Instant) -> Result<String, String> {
        Ok("alive".to_owned())
    }

    /// Once messages are sent: in the warm-up, too. A run without a common start sends from the first connection on.
    fn readiness(&self, now: Instant) -> Result<String, String> {
        let is_sending = self.has_begun(now) || self.total(|worker| worker.messages_sent.get()) > 0;
        if is_sending { Ok("ready".to_owned()) } else { Err("connecting".to_owned()) }
    }
}

impl Collector for ClientPages {
    fn encode(&self, out: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut out, results, now) = (Families(out), &figures.total, Instant::now());
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.info("multiconn_client_build", "The program and its version.", &version)?;
        let is_running = u32::from(self.has_begun(now) && !figures.is_load_over);
        out.gauge(
            "multiconn_client_load_running",
            "1 while a load lasts, with its warm-up, else 0.",
            None,
            &is_running,
        )?;
        if let Some(rate) = self.rate_due(&results.load, figures.is_load_over, now) {
            out.gauge("multiconn_client_rate_due", "Messages per second that are due by the schedule.", None, &rate)?;
        }
        self.connections(&mut out, &figures)?;
        if self.uses_tls {
            self.handshakes(&mut out)?;
        }
        messages(&mut out, results)?;
        let causes = results.errors.iter().map(|(cause, count)| ([("cause", cause)], *count));
        out.counters("multiconn_client_errors", "Errors by cause.", None, causes)?;
        out.counter("multiconn_client_sent", "Bytes of messages sent.", BYTES, results.bytes.sent)?;
        out.counter("multiconn_client_received", "Bytes of replies received.", BYTES, results.bytes.received)?;
        for (name, help, times) in latencies(results) {
            out.histogram(name, help, &buckets(times))?;
        }
        Ok(())
    }
}

impl ClientPages {
    fn connections(&self, out: &mut Families<'_>, figures: &Figures) -> fmt::Result {
        let [opened, failed, done, ended] = [
            self.total(|worker| worker.opened.get()),
            self.total(|worker| worker.failed.get()),
            self.total(|worker| worker.done.get()),
            self.total(|worker| worker.ended.get()),
        ];
        let help = "Connections by state.";
        let states = [
            ("open", figures.open.unwrap_or(opened.saturating_sub(ended))),
            ("completed", done.saturating_sub(failed)),
            ("failed", failed),
        ];
        let states = states.map(|(state, count)| ([("state", state)], count));
        out.gauges("multiconn_client_connections", help, None, states)?;
        let requested = figures.total.connections.requested;
        out.gauge("multiconn_client_connections_requested", "Connections requested.", None, &requested)?;
        out.counter("multiconn_client_connections_opened", "Connections opened.", None, opened)?;
        let retries = figures.total.connections.retries;
        out.counter("multiconn_client_connect_retries", "Connects that were tried again.", None, retries)
    }

    fn handshakes(&self, out: &mut Families<'_>) -> fmt::Result {
        let completed = self.total(|worker| worker.handshakes.get());
        let mut results = BTreeMap::from([("completed".to_owned(), completed)]);
        for (failure, count) in self.progress.iter().flat_map(|worker| worker.failed_handshakes.counts()) {
            let name = failure.name();
            *results.entry(name.strip_prefix("tls_").unwrap_or(&name).to_owned()).or_default() += count;
        }
        let results = results.iter().map(|(result, count)| ([("result", result)], *count));
        out.counters("multiconn_client_tls_handshakes", "TLS handshakes by result.", None, results)
    }
}

fn messages(out: &mut Families<'_>, results: &RunResults) -> fmt::Result {
    let messages = &results.messages;
    if let Some(due) = messages.due {
        out.counter("multiconn_client_messages_due", "Messages due by the schedule, measured ones.", None, due)?;
    }
    out.counter("multiconn_client_messages_sent", "Messages sent, measured ones.", None, messages.sent)?;
    let outcomes = [
        ("answered", messages.answered),
        ("timed_out", messages.timed_out),
        ("lost", messages.lost),
        ("wrong", messages.wrong),
        ("pending", messages.pending),
    ];
    let outcomes = outcomes.map(|(outcome, count)| ([("outcome", outcome)], count));
    out.counters("multiconn_client_messages", "Measured messages by what became of them.", None, outcomes)
}

/// The latencies of a load with their names; without a schedule there is no response time.
fn latencies(results: &RunResults) -> Vec<(&'static str, &'static str, &Latencies)> {
    let times = &results.histograms;
    let mut latencies = vec![
        ("multiconn_client_service_time", "From sending a message to the arrival of its reply.", &times.service_time),
        ("multiconn_client_delay", "What this client's own lateness added.", &times.client_delay),
    ];
    if results.load.kind == LoadKind::Open {
        let help = "From the instant a message was due to the arrival of its reply, without the client's delays.";
        latencies.insert(0, ("multiconn_client_response_time", help, &times.response_time));
    }
    latencies
}

#[allow(clippy::cast_precision_loss, reason = "sums and bounds for people")]
fn buckets(latencies: &Latencies) -> Buckets {
    let histogram = latencies.histogram();
    let mut below = 0;
    let mut counts = Vec::new();
    for bound in BOUNDS.into_iter().chain(LONG_BOUNDS) {
        let up_to = histogram.count_between(0, bound);
        counts.push((bound as f64 / 1e9, up_to - below));
        below = up_to;
    }
    counts.push((f64::INFINITY, latencies.count() - below));
    Buckets { sum: latencies.mean_ns().unwrap_or_default() * latencies.count() as f64 / 1e9, counts }
}
