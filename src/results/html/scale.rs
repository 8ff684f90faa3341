//! Chart scales: positions of values on an axis, and tick labels.

/// Maps values to positions on an axis, from 0 to 1.
#[derive(Debug, Clone)]
pub(in crate::results) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    /// Unit of the tick labels, and how the scale is divided if it is not linear: `ms, logarithmic`.
    pub(in crate::results) unit: String,
    /// Tick positions and labels, ascending.
    pub(in crate::results) ticks: Vec<(f64, String)>,
}

/// Approximate maximum number of steps on a vertical axis from 0, and on a time axis, which is longer.
const STEPS: f64 = 5.0;
const TIME_STEPS: f64 = 8.0;

/// Maximum ticks on a logarithmic axis, before only powers of ten are kept.
const MAX_LOG_TICKS: usize = 7;

impl Scale {
    /// Linear scale from 0 to `max` or slightly more, with steps of at least `min_step`.
    pub(in crate::results) fn from_zero(max: f64, min_step: f64, unit: &str) -> Self {
        let step = round_up(max.max(f64::MIN_POSITIVE) / STEPS).max(min_step);
        let high = (max / step).ceil().max(1.0) * step;
        let ticks = steps(step, high).map(|value| (value / high, number(value))).collect();
        Self { low: 0.0, high, is_log: false, unit: unit.to_owned(), ticks }
    }

    /// Time scale from the start to the end of a run, in seconds. Labels have at most three decimals.
    pub(in crate::results) fn over_time(low: f64, high: f64) -> Self {
        let step = round_up((high - low).max(1e-3) / TIME_STEPS).max(1e-3);
        let scale = Self { low, high: high.max(low + 1e-3), is_log: false, unit: "s".to_owned(), ticks: Vec::new() };
        let first = (low / step).ceil() * step;
        let places =
            steps(step, scale.high - first).map(|offset| first + offset).map(|value| (scale.place(value), value));
        let ticks = places.map(|(place, value)| (place, trimmed(value))).collect();
        Self { ticks, ..scale }
    }

    /// Logarithmic scale from a round time at or below `low` to one at or above `high`, in nanoseconds.
    pub(in crate::results) fn of_times(low: f64, high: f64) -> Self {
        let (low, high) = (round_down(low.max(1.0)), round_up(high.max(2.0)));
        let (name, unit) = time_unit(low, high);
        let scale = Self { low, high, is_log: true, unit: format!("{name}, logarithmic"), ticks: Vec::new() };
        let mut values = vec![low];
        while let Some(&last) = values.last().filter(|last| **last < high * 0.999) {
            values.push(round_up(last * 1.01));
        }
        if values.len() > MAX_LOG_TICKS {
            values.retain(|value| (value.log10() - value.log10().round()).abs() < 1e-6);
        }
        let ticks = values.into_iter().map(|value| (scale.place(value), trimmed(value / unit))).collect();
        Self { ticks, ..scale }
    }

    /// Percentile scale for `count` values, with equal distances between 0 %, 90 %, 99 % and so on.
    #[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
    pub(in crate::results) fn of_quantiles(count: u64) -> Self {
        let high = (count.max(10) as f64).log10();
        let unit = "%, logarithmic towards 100 %".to_owned();
        let scale = Self { low: 0.0, high, is_log: false, unit, ticks: Vec::new() };
        let names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];
        let mut ticks: Vec<_> =
            names.iter().zip(0_u32..).map(|(name, nines)| (f64::from(nines), (*name).to_owned())).collect();
        ticks.push((2_f64.log10(), "50".to_owned()));
        ticks.retain(|(value, _)| *value <= high);
        ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ticks = ticks.into_iter().map(|(value, name)| (scale.place(value), name)).collect();
        Self { ticks, ..scale }
    }

    /// The position of `value`, from 0 to 1. Values outside the scale are clamped.
    pub(in crate::results) fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// Multiples of `step` from 0 up to `high`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful")]
fn steps(step: f64, high: f64) -> impl Iterator<Item = f64> {
    let number = (high / step + 1e-9).floor().clamp(0.0, 20.0) as u32;
    (0..=number).map(move |index| f64::from(index) * step)
}

/// Rounds up to the next of 1, 2, 5, 10, 20, ….
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(value)
}

/// Rounds down to the previous of 1, 2, 5, 10, 20, ….
fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].map(|digit| digit * power).into_iter().find(|round| *round <= value * 1.000_001).unwrap_or(value)
}

/// The unit of a time axis with its length in nanoseconds: the one of the highest value, or a smaller one if the lowest
/// would need more than three decimals.
fn time_unit(low: f64, high: f64) -> (&'static str, f64) {
    let units = [("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)];
    let fits = |(_, nanos): &(&str, f64)| *nanos <= high && low / nanos > 0.0009;
    units.into_iter().find(fits).unwrap_or(("ns", 1.0))
}

/// Formats a round number: `1.5 M`, `50 k`.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        value if value >= 1e3 => format!("{} k", trimmed(value / 1e3)),
        value => trimmed(value),
    }
}

/// Formats with at most three decimals and no trailing zeros.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
