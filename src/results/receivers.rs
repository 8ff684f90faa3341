//! Receivers of multicasts and broadcasts: how many messages each of them answered.

use super::bounds::{add, total};
use serde::{Deserialize, Serialize};

/// Replies of one receiver of multicasts or broadcasts. Times are service times, in nanoseconds. A file of an earlier
/// version only names the receiver; the counts are then 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerReplies {
    /// Messages that it answered within the reply timeout. One of them may be answered by several receivers.
    pub replies: u64,
    /// Messages that it did not answer within the reply timeout, at the end of which it had answered others.
    pub missing: u64,
    /// Minimum service time.
    pub min_ns: u64,
    /// Mean service time.
    pub mean_ns: u64,
    /// Maximum service time.
    pub max_ns: u64,
}

/// How many receivers answered each message of a multicast or broadcast, within its reply timeout. Messages without any
/// reply are not included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receivers {
    /// Minimum number of receivers that answered a message.
    pub min: u64,
    /// Maximum number.
    pub max: u64,
    /// Messages that lacked the reply of a receiver which, by the end of their reply timeout, had answered others.
    pub incomplete: u64,
}

impl PeerReplies {
    /// Adds the replies to another worker or run.
    pub(super) fn add(&mut self, other: &Self) {
        let total = |peer: &Self| u128::from(peer.mean_ns) * u128::from(peer.replies);
        let count = u128::from(self.replies) + u128::from(other.replies);
        let mean = (total(self) + total(other)).checked_div(count).unwrap_or(0);
        self.mean_ns = u64::try_from(mean).unwrap_or(u64::MAX);
        // Without a reply there are no times.
        self.min_ns = match (self.replies, other.replies) {
            (0, _) => other.min_ns,
            (_, 0) => self.min_ns,
            _ => self.min_ns.min(other.min_ns),
        };
        self.max_ns = self.max_ns.max(other.max_ns);
        add(&mut self.replies, other.replies);
        add(&mut self.missing, other.missing);
    }
}

impl Receivers {
    /// Both together.
    pub(super) fn with(self, other: Self) -> Self {
        let incomplete = total([self.incomplete, other.incomplete]);
        Self { min: self.min.min(other.min), max: self.max.max(other.max), incomplete }
    }
}
