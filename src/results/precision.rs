//! Precision of percentiles: how far the lateness of the client, and chance, may have moved them.
//!
//! Each message has a lower bound of its response time, the floor. A client that was late sends in bursts, and a burst
//! queues in the server; the floor excludes that wait. See `docs/methodology.md` for what was proven about it.
//!
//! The interval of 95 % comes from the spread between the seconds of the run; see [the bootstrap](super::bootstrap).

use super::bootstrap::{Blocks, reaches, spread};
use super::{LoadKind, RunResults, TimestampSource};
use std::time::Duration;

/// Share of a percentile that may come from the lateness of the client while the percentile counts as exact.
pub(super) const NEGLIGIBLE: f64 = 0.1;

/// Share of the draws within a confidence interval.
const CONFIDENCE: f64 = 0.95;

/// Relative resolution of a histogram.
const RESOLUTION: f64 = 0.001;

/// Maximum share of replies whose kernel timestamp was rejected. Their floor contains the receive delay.
const MAX_MISSING_STAMPS: f64 = 0.01;

/// How far the lateness of the client may have moved a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// The floor is at most 10 % or half the interval of 95 % lower.
    Exact,
    /// The client was late. Without that, the percentile might have been as low as the floor.
    Bounded,
    /// There is no floor: the load had no schedule, replies have no kernel timestamps, or the file is of an earlier version.
    Unknown,
}

/// A percentile of the [reported latency](RunResults::latency), with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Percentile {
    /// Its value.
    pub value: Duration,
    /// Half the interval of 95 %. None if the run has fewer than 8 intervals or fewer than 10 replies above the percentile.
    pub plus_minus: Option<Duration>,
    /// The same percentile of the floor.
    pub floor: Option<Duration>,
    /// How far the lateness of the client may have moved it.
    pub precision: Precision,
}

/// The percentiles of the reported latency at `quantiles` (0 to 1); empty without replies.
#[must_use]
pub fn percentiles(results: &RunResults, quantiles: &[f64]) -> Vec<Percentile> {
    let half_widths = half_widths(results, quantiles);
    let (latency, floor) = (results.latency(), results.floor());
    let percentile = |(&quantile, plus_minus): (&f64, Option<Duration>)| {
        let value = latency.at(quantile)?;
        let floor = floor.and_then(|floor| floor.at(quantile));
        Some(Percentile { value, plus_minus, floor, precision: judge(value, floor, plus_minus) })
    };
    quantiles.iter().zip(half_widths).filter_map(percentile).collect()
}

/// Judges a percentile by its floor and half its interval of 95 %.
fn judge(value: Duration, floor: Option<Duration>, half_width: Option<Duration>) -> Precision {
    let Some(floor) = floor else { return Precision::Unknown };
    let negligible = value.mul_f64(NEGLIGIBLE).max(half_width.unwrap_or_default());
    if value.saturating_sub(floor) <= negligible { Precision::Exact } else { Precision::Bounded }
}

/// Half the interval of 95 % of each percentile.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds above 0")]
fn half_widths(results: &RunResults, quantiles: &[f64]) -> Vec<Option<Duration>> {
    let count = results.latency().count();
    let is_known = |quantile: f64| reaches(count, quantile);
    let blocks = Some(()).filter(|()| quantiles.iter().any(|quantile| is_known(*quantile)));
    let Some(blocks) = blocks.and_then(|()| Blocks::of(results)) else { return vec![None; quantiles.len()] };
    let draws: Vec<_> = blocks.draws(0).collect();
    let half_width = |quantile: f64| {
        let samples: Vec<f64> = draws.iter().map(|draw| draw.at(quantile)).collect();
        let resolution = results.latency().at(quantile).unwrap_or_default().mul_f64(RESOLUTION);
        Duration::from_nanos((spread(&samples, CONFIDENCE) * blocks.correction()) as u64).max(resolution)
    };
    quantiles.iter().map(|&quantile| is_known(quantile).then(|| half_width(quantile))).collect()
}

impl RunResults {
    /// The percentile of the reported latency at `quantile` (0 to 1); none without replies.
    #[must_use]
    pub fn percentile(&self, quantile: f64) -> Option<Percentile> {
        percentiles(self, &[quantile]).pop()
    }

    /// Whether the lateness of the client may have moved the percentile at `quantile`.
    pub(super) fn is_bounded(&self, quantile: f64) -> bool {
        let Some(value) = self.latency().at(quantile) else { return false };
        let floor = self.floor().and_then(|floor| floor.at(quantile));
        // The spread between the seconds takes time to compute, and only ever excuses a difference.
        judge(value, floor, None) == Precision::Bounded
            && self.percentile(quantile).is_some_and(|percentile| percentile.precision == Precision::Bounded)
    }

    /// The lower bounds of the reported latency. None if they are not known for every message, or if the receive delay
    /// may be part of them.
    #[allow(clippy::cast_precision_loss, reason = "counts of messages")]
    pub(super) fn floor(&self) -> Option<&super::Latencies> {
        let (latency, floor) = (self.latency(), &self.histograms.floor);
        let stamps = self.receive_timestamps.filter(|stamps| stamps.source == TimestampSource::Kernel)?;
        let is_sound = stamps.missing as f64 <= latency.count() as f64 * MAX_MISSING_STAMPS;
        let is_complete = self.load.kind == LoadKind::Open && floor.count() == latency.count();
        (is_sound && is_complete && !floor.is_empty()).then_some(floor)
    }
}
