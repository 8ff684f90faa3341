//! Statistics of the search: a trend test, and the error of a share that neighbouring slices influence.

/// Quantile of the standard normal distribution for 95 % on one side.
const ONE_SIDED_95: f64 = 1.645;

/// The same for 99 %: a trend is tested for every rate that holds.
const ONE_SIDED_99: f64 = 2.326;

/// Minimum number of values for a trend: of four, even the steepest order occurs by chance once in 24 times.
const MIN_TREND: usize = 5;

/// Minimum rise for a trend to matter, as a share of the values of the first third.
const MIN_RISE: f64 = 0.1;

/// Maximum correlation of neighbours. A few slices cannot show more.
const MAX_CORRELATION: f64 = 0.9;

/// A share with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PooledShare {
    pub(super) mean: f64,
    pub(super) error: f64,
}

impl PooledShare {
    /// The pooled share of slices, each given as the number of messages that count and of all messages.
    ///
    /// The error is that of a mean, with the variance multiplied by (1 + r) / (1 - r), where r is the correlation of
    /// neighbours: the effective number of independent observations of a first-order process (Bayley and Hammersley,
    /// "The 'Effective' Number of Independent Observations in an Autocorrelated Time Series", 1946).
    #[allow(clippy::cast_precision_loss, reason = "counts of messages and slices")]
    pub(super) fn of(slices: &[(u64, u64)]) -> Self {
        let (counted, all) = slices.iter().fold((0, 0), |(counted, all), slice| (counted + slice.0, all + slice.1));
        let mean = if all > 0 { counted as f64 / all as f64 } else { 0.0 };
        let number = slices.len() as f64;
        if slices.len() < 2 {
            return Self { mean, error: 0.0 };
        }
        let deviations: Vec<_> =
            slices.iter().map(|(counted, all)| *counted as f64 / (*all).max(1) as f64 - mean).collect();
        let squares: f64 = deviations.iter().map(|deviation| deviation * deviation).sum();
        let products: f64 = deviations.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let correlation = if squares > 0.0 { (products / squares).clamp(0.0, MAX_CORRELATION) } else { 0.0 };
        let variance = squares / (number - 1.0) * (1.0 + correlation) / (1.0 - correlation);
        Self { mean, error: (variance / number).sqrt() }
    }

    /// Upper bound with a one-sided confidence of 95 %.
    pub(super) fn upper(self) -> f64 {
        self.mean + ONE_SIDED_95 * self.error
    }
}

/// Whether values rise over time: by the Mann-Kendall test with one-sided 99 %, and by a tenth and `min_rise` from the first
/// third to the last.
///
/// The test counts the pairs that rise less those that fall (H. B. Mann, "Nonparametric Tests Against Trend", 1945; M.
/// G. Kendall, "Rank Correlation Methods", 1975). Below five values it never finds a trend.
#[allow(clippy::cast_precision_loss, reason = "a few slices")]
pub(super) fn is_rising(values: &[u64], min_rise: f64) -> bool {
    let count = values.len();
    if count < MIN_TREND {
        return false;
    }
    let pairs =
        values.iter().enumerate().flat_map(|(index, first)| values[index + 1..].iter().map(move |last| (first, last)));
    let score: f64 = pairs.map(|(first, last)| f64::from(i8::from(first < last) - i8::from(first > last))).sum();
    let number = count as f64;
    let variance = number * (number - 1.0) * (2.0 * number + 5.0) / 18.0;
    // The correction for continuity makes the normal distribution usable from few values on.
    let is_significant = (score - 1.0) / variance.sqrt() > ONE_SIDED_99 || is_strictly_rising(values);
    let third = count / 3;
    let mean = |part: &[u64]| part.iter().map(|value| *value as f64).sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&values[..third]), mean(&values[count - third..]));
    is_significant && last - first > min_rise.max(first * MIN_RISE)
}

/// For five values in order the normal distribution is too coarse; by chance they occur once in 120 times.
fn is_strictly_rising(values: &[u64]) -> bool {
    values.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::{PooledShare, is_rising};

    #[test]
    fn a_trend_needs_significance_and_size() {
        let is_rising = |values: &[u64]| is_rising(values, 20.0);
        assert!(is_rising(&[100, 110, 120, 130, 140]));
        assert!(!is_rising(&[100, 120, 140, 160]), "four values are too few");
        assert!(!is_rising(&[1000, 1010, 1020, 1030, 1040]), "four percent are too little");
        assert!(!is_rising(&[10, 12, 14, 16, 18]), "8 is less than 20");
        assert!(!is_rising(&[140, 130, 120, 110, 100]));
        assert!(!is_rising(&[100, 180, 90, 170, 110, 200, 95, 160, 105, 120]));
        let steady: Vec<u64> = (0..21).map(|index| 100 + index * 3 + index % 2 * 9).collect();
        assert!(is_rising(&steady));
    }

    #[test]
    fn the_error_of_a_share_grows_with_the_correlation() {
        let alternating: Vec<_> = (0..20).map(|index| (index % 2 * 20, 1000)).collect();
        let blocks: Vec<_> = (0..20).map(|index| (index / 10 * 20, 1000)).collect();
        let (alternating, blocks) = (PooledShare::of(&alternating), PooledShare::of(&blocks));
        assert!((alternating.mean - 0.01).abs() < 1e-12 && (blocks.mean - 0.01).abs() < 1e-12);
        // A standard deviation of 0.01026 over the root of 20.
        assert!((alternating.error - 0.002_294).abs() < 1e-6, "{alternating:?}");
        assert!((blocks.error / alternating.error - (1.85_f64 / 0.15).sqrt()).abs() < 0.01, "{blocks:?}");
        assert_eq!(PooledShare::of(&[(0, 10), (0, 10)]), PooledShare { mean: 0.0, error: 0.0 });
        assert!(blocks.upper() > alternating.upper() && alternating.upper() > 0.01);
    }
}
