//! Statistics of instants and the gaps between them.

/// Gaps between instants in ascending order.
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

/// The value at `quantile` of at least one value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub(crate) fn at(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * quantile) as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// Lateness of each instant against the latest even schedule that no instant precedes.
pub(crate) fn lateness(instants_ns: &[u64], gap_ns: f64) -> Vec<f64> {
    let first = instants_ns.first().copied().unwrap_or_default();
    let offsets =
        instants_ns.iter().enumerate().map(|(number, instant)| (instant - first) as f64 - number as f64 * gap_ns);
    let offsets: Vec<f64> = offsets.collect();
    let earliest = offsets.iter().copied().fold(f64::INFINITY, f64::min);
    offsets.into_iter().map(|offset| offset - earliest).collect()
}

/// Kolmogorov–Smirnov statistic: the maximum distance between the distribution of `values` and the exponential
/// distribution with this mean, and the value where it is.
pub(crate) fn distance_from_exponential(values: &[f64], mean: f64) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let distances = sorted.into_iter().enumerate().map(|(index, value)| {
        let share = 1.0 - (-value / mean).exp();
        let (below, above) = (index as f64 / count, (index + 1) as f64 / count);
        ((share - below).abs().max((share - above).abs()), value)
    });
    distances.max_by(|left, right| left.0.total_cmp(&right.0)).unwrap_or_default()
}

/// Critical distance that chance exceeds in one of a hundred samples of this size; valid from 35 values (Smirnov 1948).
pub(crate) fn critical_distance(count: usize) -> f64 {
    1.628 / (count as f64).sqrt()
}

/// Index of dispersion: variance over mean of the number of instants per bin. The second value is the deviation from a
/// Poisson process's 1 that chance exceeds in one of a hundred runs (Cox and Lewis 1966).
pub(crate) fn dispersion(instants_ns: &[u64], bin_ns: u64) -> (f64, f64) {
    let first = instants_ns.first().copied().unwrap_or_default();
    let bin = |instant: &u64| usize::try_from((instant - first) / bin_ns).unwrap_or_default();
    // Without the last bin, which is incomplete.
    let mut counts = vec![0.0; instants_ns.last().map_or(0, bin)];
    for count in instants_ns.iter().map(bin) {
        if let Some(count) = counts.get_mut(count) {
            *count += 1.0;
        }
    }
    let variance = standard_deviation(&counts).powi(2);
    (variance / mean(&counts), 2.58 * (2.0 / counts.len() as f64).sqrt())
}
