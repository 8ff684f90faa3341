//! Lateness of the client: what caused it, and what helps.

use super::summary::{QUANTILES, format_seconds};
use super::validity::MAX_MISSING;
use super::{Cpu, LoadKind, Reason, RunResults, validate};
use crate::units::parse_duration;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// CPU share from which a loop has no reserve for bursts.
const BUSY: f64 = 0.9;

/// CPU share from which further workers make the client more punctual. A loop that has time polls for up to half of it.
const MOSTLY_BUSY: f64 = 0.6;

/// Minimum measured time for evaluating the CPU share, in seconds. In less time, program start dominates.
const MIN_MEASURED_S: f64 = 0.1;

/// What makes a client more punctual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// A higher CPU limit of its cgroup.
    CpuLimit,
    /// A CPU that no other program uses.
    OwnCpu,
    /// A machine whose hypervisor takes no CPU time away.
    OwnMachine,
    /// More CPUs than the workers, and the server, need.
    MoreCpus,
    /// Busy-polling before each sleep.
    Spin,
    /// More event loops.
    Workers,
    /// A lower rate.
    LowerRate,
}

impl Remedy {
    /// The setting of the client that it changes.
    #[must_use]
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::Spin => Some("spin"),
            Self::Workers => Some("workers"),
            _ => None,
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::CpuLimit => "a higher CPU limit",
            Self::OwnCpu => "a CPU of its own",
            Self::OwnMachine => "a machine with CPUs of its own",
            Self::MoreCpus => "more CPUs",
            Self::Spin => "busy polling (spin)",
            Self::Workers => "more workers",
            Self::LowerRate => "a lower rate",
        })
    }
}

impl RunResults {
    /// What makes the client more punctual, as far as it applies to this run.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        let cpu = self.cpu.unwrap_or_default();
        let [waits, is_throttled, has_steal] = self.lost_times(cpu).map(|(lost_s, _)| lost_s.is_some());
        let is_busy = self.busy().is_none_or(|share| share >= MOSTLY_BUSY);
        let (is_saturated, has_free_cpu) = (self.is_saturated(), self.has_free_cpu());
        let helps = [
            (Remedy::CpuLimit, is_throttled),
            (Remedy::OwnCpu, waits || cpu.waiting_s.is_none()),
            (Remedy::OwnMachine, has_steal),
            // A loop that is always busy never sleeps, and on a shared CPU it would wait even longer.
            (Remedy::Spin, !waits && !is_saturated && !self.is_spinning()),
            (Remedy::Workers, is_busy && has_free_cpu),
            (Remedy::MoreCpus, is_saturated && !has_free_cpu),
        ];
        let mut remedies: Vec<_> = helps.into_iter().filter(|(_, helps)| *helps).map(|(remedy, _)| remedy).collect();
        // Whatever the client lacks, it lacks less of it at a lower rate.
        if self.load.kind == LoadKind::Open && (remedies.is_empty() || is_saturated || !self.valid) {
            remedies.push(Remedy::LowerRate);
        }
        remedies
    }

    /// Whether the report calls the client late: a percentile is bounded, or the client limited the load.
    #[must_use]
    pub fn has_late_client(&self) -> bool {
        let is_limiting = |reason: &Reason| reason.invalidates() && reason.is_client_limited();
        validate(self).iter().any(is_limiting) || QUANTILES.iter().any(|(_, quantile)| self.is_bounded(*quantile))
    }

    /// The remedies as the end of a sentence: `; what helps: more workers, a lower rate`.
    pub(super) fn what_helps(&self) -> String {
        let remedies: Vec<_> = self.remedies().iter().map(ToString::to_string).collect();
        if remedies.is_empty() { String::new() } else { format!("; what helps: {}", remedies.join(", ")) }
    }

    /// Significant times in which the client could not run: `1.20 s waiting for a CPU`.
    pub(super) fn lost_times_in_words(&self) -> Vec<String> {
        let lost = self.cpu.map(|cpu| self.lost_times(cpu));
        let in_words = |(lost_s, state): (Option<f64>, &str)| Some(format!("{} {state}", format_seconds(lost_s?)));
        lost.into_iter().flatten().filter_map(in_words).collect()
    }

    /// What the mark of bounded percentiles means, why the client was late, and what helps.
    pub(super) fn bounded_in_words(&self) -> String {
        let lost = self.lost_times_in_words();
        let lost = if lost.is_empty() { String::new() } else { format!(" ({})", lost.join(", ")) };
        format!("may be as low as \"at least\", because the client was late{lost}{}", self.what_helps())
    }

    /// Times in which the client could not run, with its state in them; none if they are not significant.
    fn lost_times(&self, cpu: Cpu) -> [(Option<f64>, &'static str); 3] {
        let significant = |lost_s: Option<f64>, all_s: f64| lost_s.filter(|lost_s| *lost_s > all_s * MAX_MISSING);
        let machine_s = self.measured_s * count(self.machine.cpus.unwrap_or(1));
        [
            (significant(cpu.waiting_s, self.measured_s * self.loops()), "waiting for a CPU"),
            (significant(cpu.throttled_s, self.measured_s), "throttled"),
            (significant(cpu.steal_s, machine_s), "of steal"),
        ]
    }

    /// Whether the client had no CPU time left.
    pub(super) fn is_saturated(&self) -> bool {
        self.busy().is_some_and(|share| share >= BUSY)
    }

    /// The share of the time in which the workers were busy. None if it is not known, or the run was too short.
    pub(super) fn busy(&self) -> Option<f64> {
        let cpu = self.cpu.filter(|_| self.measured_s >= MIN_MEASURED_S)?;
        // A loop that polls also uses the CPU while it waits, and in a long round it may wait for a CPU.
        let rounds = &self.histograms.loop_round;
        let in_rounds =
            rounds.mean_ns().map(|mean| mean * count(rounds.count()) / 1e9 / (self.measured_s * self.loops()));
        Some(in_rounds.map_or(cpu.share, |share| share.min(cpu.share)))
    }

    fn is_spinning(&self) -> bool {
        let is_zero = |spin: &Value| spin.as_str().is_some_and(|spin| parse_duration(spin) == Ok(Duration::ZERO));
        self.configuration.get("spin").is_some_and(|spin| *spin != 0 && !is_zero(spin))
    }

    /// Whether the client may use more CPUs than it has workers. A server on the same machine needs one of them.
    fn has_free_cpu(&self) -> bool {
        let is_local =
            |target: &String| ["127.", "[::1]", "localhost:", "/"].iter().any(|local| target.starts_with(local));
        let server = u64::from(self.targets.iter().any(is_local));
        self.machine.cpus.is_some_and(|cpus| cpus > self.workers() + server)
    }

    /// Event loops of all merged runs.
    fn loops(&self) -> f64 {
        count(self.workers().saturating_mul(self.runs.max(1)))
    }

    /// Event loops of one run; 1 if it is not known.
    fn workers(&self) -> u64 {
        let configured = self.configuration.get("workers");
        let workers = match configured {
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_u64).max(),
            one => one.and_then(Value::as_u64),
        };
        workers.unwrap_or(1).clamp(1, self.connections.requested.max(1))
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of rounds and workers")]
fn count(number: u64) -> f64 {
    number as f64
}
