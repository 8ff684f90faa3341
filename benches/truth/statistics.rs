//! What can be said of instants, and of the times between them.

/// The times between instants in ascending order.
pub(crate) fn gaps(instants_ns: &[u64]) -> Vec<f64> {
    instants_ns.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect()
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn standard_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

/// The value that the share `quantile` of all does not exceed; of at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub(crate) fn at(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * quantile) as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// How late each instant is against an even schedule that none of them is ahead of, and one meets.
pub(crate) fn lateness(instants_ns: &[u64], gap_ns: f64) -> Vec<f64> {
    let first = instants_ns.first().copied().unwrap_or_default();
    let offsets =
        instants_ns.iter().enumerate().map(|(number, instant)| (instant - first) as f64 - number as f64 * gap_ns);
    let offsets: Vec<f64> = offsets.collect();
    let earliest = offsets.iter().copied().fold(f64::INFINITY, f64::min);
    offsets.into_iter().map(|offset| offset - earliest).collect()
}

/// The statistic of Kolmogorov and Smirnov's test: the greatest distance between the distribution of `values` and the
/// exponential one with this mean.
pub(crate) fn distance_from_exponential(values: &[f64], mean: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let distances = sorted.into_iter().enumerate().map(|(index, value)| {
        let share = 1.0 - (-value / mean).exp();
        let (below, above) = (index as f64 / count, (index + 1) as f64 / count);
        (share - below).abs().max((share - above).abs())
    });
    distances.fold(0.0, f64::max)
}

/// What chance exceeds in one of a hundred samples of so many values; holds from 35 up (Smirnov 1948).
pub(crate) fn critical_distance(count: usize) -> f64 {
    1.628 / (count as f64).sqrt()
}

/// Variance over mean of how many instants lie in each bin of this length, and by how much it may differ from the 1 of a
/// Poisson process: chance exceeds that in one of a hundred runs (Cox and Lewis 1966).
pub(crate) fn dispersion(instants_ns: &[u64], bin_ns: u64) -> (f64, f64) {
    let first = instants_ns.first().copied().unwrap_or_default();
    let bin = |instant: &u64| usize::try_from((instant - first) / bin_ns).unwrap_or_default();
    // The last one is not whole.
    let mut counts = vec![0.0; instants_ns.last().map_or(0, bin)];
    for count in instants_ns.iter().map(bin) {
        if let Some(count) = counts.get_mut(count) {
            *count += 1.0;
        }
    }
    let variance = standard_deviation(&counts).powi(2);
    (variance / mean(&counts), 2.58 * (2.0 / counts.len() as f64).sqrt())
}
