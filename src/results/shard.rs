//! Shard: one client's part of a load that several clients send together.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of `count` clients that are configured for the same load, of which each sends its part.
///
/// The shard has the connections whose number, counted from 0, leaves the remainder `index` when divided by `count`, and
/// the messages that these send in the schedule of the whole load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Number of the shard, counted from 0.
    pub index: usize,
    /// Number of shards.
    pub count: usize,
}

impl Shard {
    /// The only shard of a load that is not divided.
    pub(crate) const WHOLE: Self = Self { index: 0, count: 1 };

    /// How many of `connections` belong to the shard.
    pub(crate) fn part_of(self, connections: usize) -> usize {
        connections.saturating_sub(self.index).div_ceil(self.count.max(1))
    }

    /// Checks that the shard exists.
    ///
    /// # Errors
    ///
    /// What is wrong, with a good example.
    pub(crate) fn check(self) -> Result<(), String> {
        let Self { index, count } = self;
        match count.checked_sub(1) {
            None => Err("a load of 0 shards has no part; give one such as 0/8".to_owned()),
            Some(last) if index > last => Err(format!(
                "there is no shard {index} of {count}: they are numbered from 0 to {last}; give one such as {last}/{count}"
            )),
            Some(_) => Ok(()),
        }
    }
}

/// `shard 3 of 8`.
impl fmt::Display for Shard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "shard {} of {}", self.index, self.count)
    }
}
