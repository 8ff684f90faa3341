//! Progress of a search on stderr: a line for each rate and, on a terminal, the rate that is being measured below them.

use super::output;
use crate::client::SearchProgress;
use crate::results::{MeasuredRate, Purpose, RateVerdict, SliceVerdict};
use crate::units::{format_counted, format_rate};
use indicatif::{ProgressBar, ProgressStyle};

/// The progress of a search, cleared when it is dropped.
pub(super) struct SearchLine {
    /// None if lines go to the log.
    bar: Option<ProgressBar>,
}

impl SearchLine {
    /// Shows the rate that is being measured only with a `bar`, which stays empty if stderr is not a terminal.
    pub(super) fn new(bar: bool) -> Self {
        let bar = bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, output::progress_target());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    pub(super) fn show(&self, progress: &SearchProgress<'_>) {
        let line = line(progress);
        match (&self.bar, progress.is_concluded) {
            (Some(bar), true) => bar.println(line),
            (Some(bar), false) => bar.set_message(line),
            (None, true) => log::info!("{}", line.trim_start()),
            (None, false) => {}
        }
    }
}

impl Drop for SearchLine {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `  57 s: 128 k/s does not hold, 0 of 2 slices good; highest rate from 64.0 k/s to 128 k/s`.
fn line(progress: &SearchProgress<'_>) -> String {
    let measured = progress.measured;
    let verdict = match (progress.is_concluded, measured.verdict, measured.purpose) {
        (false, ..) => "…",
        (true, RateVerdict::Good, Purpose::Confirm) => " is confirmed",
        (true, RateVerdict::Good, _) => " holds",
        (true, RateVerdict::Bad, Purpose::Confirm) => " is not confirmed",
        (true, RateVerdict::Bad, _) => " does not hold",
        (true, RateVerdict::Client, _) => ": the client is the limit",
        (true, RateVerdict::Undecided, _) => " is undecided",
    };
    let bounds = match (progress.holds, progress.fails) {
        (Some(holds), Some(fails)) => format!("; highest rate from {} to {}", format_rate(holds), format_rate(fails)),
        (Some(holds), None) => format!("; highest rate from {}", format_rate(holds)),
        (None, Some(fails)) => format!("; highest rate below {}", format_rate(fails)),
        (None, None) => String::new(),
    };
    let (seconds, rate) = (progress.elapsed.as_secs(), format_rate(measured.rate));
    format!("{seconds:>4} s: {rate}{verdict}, {}{bounds}", slices(measured))
}

fn slices(measured: &MeasuredRate) -> String {
    let all = format_counted(measured.slices.len() as u64, "slice");
    format!("{} of {all} good", measured.count(SliceVerdict::Good))
}
