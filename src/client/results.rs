//! Results of a run: its description, and the sum of what the workers counted.

use super::arrivals::Arrivals;
use super::config::Expect;
use super::machine::{machine, run_id};
use super::metrics::WorkerMetrics;
use super::seconds::Seconds;
use super::shared::Shared;
use crate::event_loop::{clock_error, unix_time};
use crate::results::{
    Cpu, Datagrams, LoadKind, LoadStart, ReceiveTimestamps, ReplyCheck, RunResults, Statuses, Timestamp,
    TimestampSource,
};
use std::time::{Duration, Instant};

impl Shared {
    /// Results that describe a run which begins now. Nothing is counted yet.
    pub(super) fn describe(&self) -> RunResults {
        let (config, load) = (&self.config, &self.config.load);
        let is_open = load.rate.is_some();
        let is_random = is_open && load.arrivals == Arrivals::Poisson;
        let mut results = RunResults::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        results.run_ids = vec![run_id()];
        results.started = Timestamp::after_1970(unix_time());
        results.warm_up_s = load.warm_up.as_secs_f64();
        results.targets = config.targets.iter().map(ToString::to_string).collect();
        results.load.kind = match config.expect {
            _ if self.interactive.is_some() => LoadKind::Interactive,
            Expect::ReadOnly => LoadKind::ReadOnly,
            _ if is_open => LoadKind::Open,
            _ => LoadKind::Closed,
        };
        let share = config.share_of_connections();
        results.load.rate = load.rate.map(|rate| rate * share);
        results.load.ramp_to = load.ramp_to.map(|rate| rate * share);
        results.load.arrivals = is_open.then(|| if is_random { "poisson" } else { "uniform" }.to_owned());
        results.load.seed = is_random.then_some(load.seed);
        results.load.duration_s = load.duration.map(|duration| duration.as_secs_f64());
        let source = if self.has_kernel_timestamps() { TimestampSource::Kernel } else { TimestampSource::User };
        results.receive_timestamps = Some(ReceiveTimestamps { source, missing: 0 });
        results.reply_check = config.reply_check(&self.requests);
        results.connections.requested = config.own_connections() as u64;
        results.shard = config.shard;
        results.messages.due = is_open.then_some(0);
        results.messages.reads = (results.reply_check == ReplyCheck::Unframed).then_some(0);
        results.statuses = matches!(config.expect, Expect::Http { .. }).then(Statuses::default);
        results.datagrams = config.udp.is_some().then(Datagrams::default);
        results.cpu = Some(Cpu::default());
        results
    }

    /// When the load began that these workers ran, in a run that began at `started` and, by the wall clock, at `wall_started`.
    pub(super) fn load_start(&self, workers: &[WorkerMetrics], started: Instant, wall_started: Timestamp) -> LoadStart {
        let load = &self.config.load;
        let measured_from = workers.iter().filter_map(WorkerMetrics::measured_from).min();
        let after = |measured_from: u64| {
            let begin = Duration::from_nanos(measured_from.saturating_sub(self.clock.nanos(started)));
            Timestamp::after_1970(wall_started.since_1970() + begin.saturating_sub(load.warm_up))
        };
        let late = workers.iter().filter_map(|worker| worker.start_late).max();
        LoadStart {
            requested: load.start_at,
            began: measured_from.map(|measured_from| load.start_at.unwrap_or_else(|| after(measured_from))),
            late_s: late.map(|late| late.as_secs_f64()),
            clock_error_s: clock_error().map(|error| error.as_secs_f64()),
            skew_s: None,
        }
    }
}

/// Adds what the workers of a run counted, which took `elapsed`; some of it may have been handed over to `seconds`.
pub(super) fn add_workers(
    results: &mut RunResults,
    workers: Vec<WorkerMetrics>,
    seconds: Option<Seconds>,
    elapsed: Duration,
) {
    #[allow(clippy::cast_precision_loss, reason = "so few workers are exact")]
    let number = workers.len() as f64;
    let targets = results.targets.clone();
    for worker in workers {
        results.add_worker(&worker.into_results(&targets));
    }
    if let Some(seconds) = seconds {
        seconds.finish(results);
    }
    if results.connections.failed == 0 || targets.len() == 1 {
        results.failed_by_target.clear();
    }
    if results.measured_s <= 0.0 {
        // Nothing was sent: the measured time is that of the run.
        results.measured_s = results.duration_s;
    }
    results.end_intervals();
    // The CPU time belongs to the duration of the workers, which ends with the load.
    let available = results.duration_s * number;
    if let Some(cpu) = results.cpu.as_mut().filter(|_| available > 0.0) {
        cpu.share = cpu.seconds / available;
    }
    results.duration_s = elapsed.as_secs_f64();
    results.machine = machine();
}
