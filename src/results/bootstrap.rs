//! Block bootstrap: how much the numbers of a run vary by chance (B. Efron, 1979; H. R. Künsch, 1989).
//!
//! The spread between its seconds shows how much the numbers of a run vary. The intervals are joined into at most 40
//! blocks of neighbours, because neighbours are similar and must not count as independent. As many blocks as there are
//! are drawn with replacement, 1,000 times; each time the numbers are computed from the drawn blocks.

use super::bounds::add;
use super::{RunResults, per_second};
use crate::random::random;
use std::collections::BTreeMap;

/// Minimum number of intervals for estimating their spread.
pub(super) const MIN_INTERVALS: usize = 8;

/// Minimum number of replies above a percentile.
const MIN_REPLIES_ABOVE: f64 = 10.0;

/// Maximum number of blocks: enough to show the spread, few enough that similar neighbours share a block.
const MAX_BLOCKS: usize = 40;

/// Number of draws.
const DRAWS: u64 = 1000;

/// Whether enough of `replies` lie above `quantile` to estimate its spread. The margin absorbs the rounding of a float
/// with four digits.
#[allow(clippy::cast_precision_loss, reason = "compared with 10")]
pub(super) fn reaches(replies: u64, quantile: f64) -> bool {
    replies as f64 * (1.0 - quantile) >= MIN_REPLIES_ABOVE - 1e-6
}

/// Distance from their mean within which the share `confidence` of the samples lies.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "1,000 samples"
)]
pub(super) fn spread(samples: &[f64], confidence: f64) -> f64 {
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let mut away: Vec<f64> = samples.iter().map(|sample| (sample - mean).abs()).collect();
    away.sort_by(f64::total_cmp);
    away.get((samples.len() as f64 * confidence) as usize).copied().unwrap_or_default()
}

/// Intervals of a run, joined into blocks.
pub(super) struct Blocks {
    /// The recorded times in ascending order, in nanoseconds.
    times: Vec<u64>,
    blocks: Vec<Block>,
}

#[derive(Default)]
struct Block {
    seconds: f64,
    replies: u64,
    errors: u64,
    /// For each of the times, the number of replies that took at most this long.
    counts_up_to: Vec<u64>,
}

/// A draw of as many blocks as there are.
pub(super) struct Draw<'a> {
    blocks: &'a Blocks,
    /// How often each block was drawn.
    drawn: Vec<u32>,
}

impl Blocks {
    /// Joins the intervals of a run; none if there are too few. The replies after the measured time belong to the last
    /// block.
    pub(super) fn of(results: &RunResults) -> Option<Self> {
        let intervals = &results.intervals;
        if intervals.len() < MIN_INTERVALS {
            return None;
        }
        let mut sparse = Vec::new();
        let mut indices = BTreeMap::new();
        // As even as possible: blocks of 1 and 2 intervals for 60 intervals.
        let number = intervals.len().min(MAX_BLOCKS);
        let edge = |index: usize| index * intervals.len() / number;
        for index in 0..number {
            let mut block = Block::default();
            let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
            let joined = &intervals[edge(index)..edge(index + 1)];
            for interval in joined {
                block.seconds += interval.seconds;
                add(&mut block.replies, interval.answered);
                add(&mut block.errors, interval.errors);
            }
            let later = results.after_load.iter().filter(|_| index + 1 == number);
            for interval in joined.iter().chain(later) {
                for step in interval.latency.unpack().histogram().iter_recorded() {
                    add(counts.entry(step.value_iterated_to()).or_default(), step.count_at_value());
                }
            }
            indices.extend(counts.keys().map(|time| (*time, 0)));
            sparse.push((block, counts));
        }
        (0..).zip(indices.values_mut()).for_each(|(position, index)| *index = position);
        let dense = |(mut block, counts): (Block, BTreeMap<u64, u64>)| {
            block.counts_up_to = vec![0; indices.len()];
            for (time, count) in counts {
                block.counts_up_to[indices[&time]] = count;
            }
            let mut sum = 0;
            for count in &mut block.counts_up_to {
                add(&mut sum, *count);
                *count = sum;
            }
            block
        };
        Some(Self { blocks: sparse.into_iter().map(dense).collect(), times: indices.keys().copied().collect() })
    }

    /// Draws from the blocks. Equal seeds give equal draws.
    pub(super) fn draws(&self, seed: u64) -> impl Iterator<Item = Draw<'_>> {
        let number = self.blocks.len() as u64;
        (0..DRAWS).map(move |draw| {
            let mut drawn = vec![0; self.blocks.len()];
            (0..number).for_each(|index| drawn[below(self.blocks.len(), random(seed, draw * number + index))] += 1);
            Draw { blocks: self, drawn }
        })
    }

    /// Correction factor: few blocks spread less than their population.
    #[allow(clippy::cast_precision_loss, reason = "at most 40")]
    pub(super) fn correction(&self) -> f64 {
        let number = self.blocks.len() as f64;
        (number / (number - 1.0)).sqrt()
    }
}

impl Draw<'_> {
    /// Replies per second.
    pub(super) fn rate(&self) -> f64 {
        per_second(self.sum(|block| block.replies), self.seconds())
    }

    /// Errors per second.
    pub(super) fn errors(&self) -> f64 {
        per_second(self.sum(|block| block.errors), self.seconds())
    }

    /// The time at `quantile`, in nanoseconds; 0 without replies.
    #[allow(clippy::cast_precision_loss, reason = "times for people")]
    pub(super) fn at(&self, quantile: f64) -> f64 {
        let Some(last) = self.blocks.times.len().checked_sub(1) else { return 0.0 };
        let up_to = |index: usize| self.sum(|block| block.counts_up_to[index]);
        let wanted = (quantile * up_to(last) as f64).max(1.0);
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            (low, high) = if up_to(middle) as f64 >= wanted { (low, middle) } else { (middle + 1, high) };
        }
        if up_to(last) > 0 { self.blocks.times[low] as f64 } else { 0.0 }
    }

    fn sum(&self, count: impl Fn(&Block) -> u64) -> u64 {
        let mut sum = 0;
        for (block, times) in self.blocks.blocks.iter().zip(&self.drawn).filter(|(_, times)| **times > 0) {
            add(&mut sum, count(block).saturating_mul((*times).into()));
        }
        sum
    }

    fn seconds(&self) -> f64 {
        self.blocks.blocks.iter().zip(&self.drawn).map(|(block, times)| block.seconds * f64::from(*times)).sum()
    }
}

/// A number below `bound` from a random one.
#[allow(clippy::cast_possible_truncation, reason = "below a usize")]
fn below(bound: usize, random: u64) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}
