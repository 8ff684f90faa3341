//! Results of a search for the highest rate at which objectives hold: the rates measured, their slices, the outcome.

mod objective;
mod text;

pub use objective::{Objective, ObjectiveError};

pub(super) use text::lines;

use serde::{Deserialize, Serialize};

/// Outcome of a search for the highest rate, and everything it measured. The other results of the run are those of the
/// last confirmation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FindMax {
    /// The expressions that had to hold, such as `p99<1ms`.
    pub expressions: Vec<String>,
    /// Why the search ended.
    pub end: SearchEnd,
    /// Highest rate known to hold, in messages per second.
    pub holds: Option<f64>,
    /// Whether a fresh run confirmed `holds`.
    pub confirmed: bool,
    /// Lowest rate known not to hold.
    pub fails: Option<f64>,
    /// Highest rate measured at which more than half of the slices were good.
    pub typical: Option<f64>,
    /// Longest time from the end of an overload until a lower rate held again, in seconds, with the pause and the
    /// unmeasured beginning. None if the server was never overloaded, or did not recover.
    pub recovered_s: Option<f64>,
    /// Requested distance between `holds` and `fails`, as a share.
    pub width: f64,
    /// Maximum duration of the search with its confirmation, in seconds.
    pub budget_s: f64,
    /// Duration of the search with its confirmation, in seconds.
    pub search_s: f64,
    /// All rates, in the order of measuring.
    pub rates: Vec<MeasuredRate>,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SearchEnd {
    /// `holds` and `fails` are as close as requested.
    #[default]
    Width,
    /// The highest rate allowed holds.
    UpperBound,
    /// The client could not measure a higher rate.
    Client,
    /// The time was over.
    Budget,
    /// The lowest rate allowed does not hold.
    NothingHolds,
    /// No confirmation held.
    NotConfirmed,
    /// A signal ended the search.
    Interrupted,
    /// No connection was left.
    Failed,
}

/// One rate that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeasuredRate {
    /// Messages per second.
    pub rate: f64,
    /// Why it was measured.
    pub purpose: Purpose,
    /// Start of the run, in seconds since the start of the search.
    pub start_s: f64,
    /// Whether the expressions hold at this rate.
    pub verdict: RateVerdict,
    /// The percentile of each expression over the messages that were answered, in nanoseconds; empty if none was.
    pub percentiles_ns: Vec<u64>,
    /// The slices, in order.
    pub slices: Vec<JudgedSlice>,
}

/// Why a rate was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Purpose {
    /// The first rate, until the medians are steady, or a rate twice the last one.
    Climb,
    /// The lower bound again, or a rate below it.
    Lower,
    /// Between both bounds.
    Middle,
    /// The upper bound again, or a rate above the lower bound.
    Upper,
    /// A fresh run at the lower bound.
    Confirm,
}

/// Verdict on a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RateVerdict {
    /// Every expression holds.
    Good,
    /// An expression does not hold.
    Bad,
    /// The client's own delays may be the cause.
    Client,
    /// The slices do not show it. This counts as not holding.
    Undecided,
}

/// Verdict on a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SliceVerdict {
    /// Every expression holds.
    Good,
    /// An expression does not hold, whatever the client's own delays contributed.
    Bad,
    /// The client missed the schedule, or its own delays may be the cause.
    Client,
}

/// A slice of a measured rate, with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JudgedSlice {
    /// Whether the expressions hold in it.
    pub verdict: SliceVerdict,
    /// What was counted.
    #[serde(flatten)]
    pub counts: SliceCounts,
}

/// Counts of the messages that were due in some whole seconds of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SliceCounts {
    /// Length, in seconds.
    pub seconds: u64,
    /// Messages due.
    pub due: u64,
    /// Messages that the client sent late or not at all, although the server left room for them.
    pub missed: u64,
    /// Messages that were not answered within the limit of each expression, by the response time.
    pub over: Vec<u64>,
    /// The same by the floor of the response time: the least that the client's own delays leave to the server.
    pub over_floor: Vec<u64>,
    /// Median response time of the replies received, in nanoseconds.
    pub median_ns: u64,
}

impl MeasuredRate {
    pub(crate) fn new(rate: f64, purpose: Purpose, start_s: f64) -> Self {
        Self { rate, purpose, start_s, verdict: RateVerdict::Undecided, percentiles_ns: Vec::new(), slices: Vec::new() }
    }

    /// Number of slices with this verdict.
    #[must_use]
    pub fn count(&self, verdict: SliceVerdict) -> usize {
        self.slices.iter().filter(|slice| slice.verdict == verdict).count()
    }
}

impl JudgedSlice {
    pub(crate) fn new(verdict: SliceVerdict, counts: SliceCounts) -> Self {
        Self { verdict, counts }
    }
}
