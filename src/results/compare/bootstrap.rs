//! Block bootstrap: how much the numbers of a run vary by chance (H. R. Künsch, 1989; B. Efron, 1979). The parent
//! module's documentation explains its use.

use super::super::bounds::{add, total};
use super::{METRICS, MIN_INTERVALS, Metric, RunResults};
use crate::random::random;
use std::collections::BTreeMap;
use std::ops::RangeFrom;

/// Maximum number of blocks: enough to show the spread, few enough that similar neighbours share a block.
const MAX_BLOCKS: usize = 40;

/// Number of draws.
const DRAWS: usize = 1000;

/// Share of the draws that the noise covers.
const CONFIDENCE: f64 = 0.99;

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
    /// The number of each of `times`.
    counts: Vec<u64>,
}

type Numbers = [f64; METRICS.len()];

impl Blocks {
    /// Joins the intervals of a run. Returns no blocks if there are too few intervals.
    pub(super) fn of(results: &RunResults) -> Self {
        let intervals = &results.intervals;
        if intervals.len() < MIN_INTERVALS {
            return Self { times: Vec::new(), blocks: Vec::new() };
        }
        let mut sparse = Vec::new();
        let mut places = BTreeMap::new();
        // As even as possible: blocks of 1 and 2 intervals for 60 intervals.
        let number = intervals.len().min(MAX_BLOCKS);
        let edge = |index: usize| index * intervals.len() / number;
        for index in 0..number {
            let mut block = Block::default();
            let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
            for interval in &intervals[edge(index)..edge(index + 1)] {
                block.seconds += interval.seconds;
                add(&mut block.replies, interval.answered);
                add(&mut block.errors, interval.errors);
                for step in interval.latency.unpack().histogram().iter_recorded() {
                    add(counts.entry(step.value_iterated_to()).or_default(), step.count_at_value());
                }
            }
            places.extend(counts.keys().map(|time| (*time, 0)));
            sparse.push((block, counts));
        }
        (0..).zip(places.values_mut()).for_each(|(index, place)| *place = index);
        let dense = |(mut block, counts): (Block, BTreeMap<u64, u64>)| {
            block.counts = vec![0; places.len()];
            for (time, count) in counts {
                block.counts[places[&time]] = count;
            }
            block
        };
        Self { blocks: sparse.into_iter().map(dense).collect(), times: places.keys().copied().collect() }
    }

    /// The metrics of as many blocks as there are, drawn with replacement.
    fn draw(&self, indices: &mut RangeFrom<u64>) -> Numbers {
        let mut sum = Block { counts: vec![0; self.times.len()], ..Block::default() };
        for _ in 0..self.blocks.len() {
            let block = &self.blocks[below(self.blocks.len(), indices)];
            sum.seconds += block.seconds;
            add(&mut sum.replies, block.replies);
            add(&mut sum.errors, block.errors);
            sum.counts.iter_mut().zip(&block.counts).for_each(|(sum, count)| add(sum, *count));
        }
        METRICS.map(|metric| match metric {
            Metric::Rate => super::super::per_second(sum.replies, sum.seconds),
            Metric::Latency(_, quantile) => self.at(&sum.counts, quantile),
            Metric::Errors => super::super::per_second(sum.errors, sum.seconds),
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "times for people")]
    fn at(&self, counts: &[u64], quantile: f64) -> f64 {
        let wanted = quantile * total(counts.iter().copied()) as f64;
        let mut below = 0;
        for (time, count) in self.times.iter().zip(counts) {
            add(&mut below, *count);
            if below > 0 && below as f64 >= wanted {
                return *time as f64;
            }
        }
        0.0
    }

    /// Correction factor: few blocks spread less than their population.
    #[allow(clippy::cast_precision_loss, reason = "at most 40")]
    fn correction(&self) -> f64 {
        let number = self.blocks.len() as f64;
        (number / (number - 1.0)).sqrt()
    }
}

/// The noise of the difference in each metric; none if a run has too few intervals.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1,000 draws")]
pub(super) fn noises(before: &Blocks, after: &Blocks) -> [Option<f64>; METRICS.len()] {
    if before.blocks.is_empty() || after.blocks.is_empty() {
        return [None; METRICS.len()];
    }
    let mut indices = 0..;
    let differences: Vec<Numbers> = (0..DRAWS)
        .map(|_| {
            let (was, is) = (before.draw(&mut indices), after.draw(&mut indices));
            std::array::from_fn(|index| is[index] - was[index])
        })
        .collect();
    let correction = before.correction().max(after.correction());
    std::array::from_fn(|index| {
        let mean = differences.iter().map(|numbers| numbers[index]).sum::<f64>() / DRAWS as f64;
        let mut away: Vec<f64> = differences.iter().map(|numbers| (numbers[index] - mean).abs()).collect();
        away.sort_by(f64::total_cmp);
        Some(away[(DRAWS as f64 * CONFIDENCE) as usize] * correction)
    })
}

/// A number below `bound` from the next random number. The seed is fixed: equal files give equal verdicts.
#[allow(clippy::cast_possible_truncation, reason = "below a usize")]
fn below(bound: usize, indices: &mut RangeFrom<u64>) -> usize {
    let number = indices.next().map_or(0, |index| random(0, index));
    ((u128::from(number) * bound as u128) >> 64) as usize
}
