//! Start of a load on the clock of its machine.

use super::Timestamp;
use serde::{Deserialize, Serialize};

/// When the load of a run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoadStart {
    /// Requested instant; none: once every connection was opened or had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Timestamp>,
    /// When the load began, with its warm-up, by the clock of the client's machine; where connections do not wait for each
    /// other, when the first one was open. Of merged runs, the first start. None if the load did not begin.
    pub began: Option<Timestamp>,
    /// How long after the requested instant the last worker was ready to send, in seconds; none if no instant was
    /// requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_s: Option<f64>,
    /// Maximum error of that clock when the run ended, as the program that synchronizes it has told the kernel (adjtimex(2)), in
    /// seconds. Of merged runs, the
    /// largest. None if nothing synchronizes a clock, or if the system does not know.
    #[serde(default)]
    pub clock_error_s: Option<f64>,
    /// Of merged runs: time from the first start to the last one, by the clocks of their machines, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_s: Option<f64>,
}

impl LoadStart {
    /// Whether the load had to begin at an instant, and did not.
    pub(super) fn was_missed(&self) -> bool {
        self.requested.is_some() && self.began.is_none()
    }
}
