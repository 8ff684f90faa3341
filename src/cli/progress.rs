//! The bar on stderr while a run lasts, and a line for each second of a load above it. The bar is only shown on a terminal,
//! and only when there is something to wait for.

use super::output;
use crate::client::{Live, Progress};
use crate::record::{Latencies, format_latency};
use crate::units::{format_count, format_counted, format_duration, format_rate};
use indicatif::ProgressStyle;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A run that is over sooner shows no bar.
const DELAY: Duration = Duration::from_secs(1);

/// How often the bar is drawn anew.
const INTERVAL: Duration = Duration::from_millis(200);

/// What is shown of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// How many connections are to come to their end.
    pub(super) connections: u64,
    /// How long the load lasts, if that is known.
    pub(super) time: Option<Duration>,
    /// Whether each second has its line.
    pub(super) seconds: bool,
    /// Whether a bar is drawn. Otherwise lines go to stderr whatever that is.
    pub(super) bar: bool,
}

/// A bar that is drawn by a thread of its own until it is dropped.
pub(super) struct ProgressBar {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressBar {
    /// Shows how far `workers` are.
    pub(super) fn start(workers: Vec<Arc<Progress>>, view: View) -> Self {
        let (end, ended) = channel();
        let draw = move || {
            if ended.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = view.bar.then(|| new_bar(view));
            let mut seconds = Seconds::of(&workers);
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let lines = if view.seconds { seconds.next_lines(&workers) } else { Vec::new() };
                for line in lines {
                    match &bar {
                        Some(bar) => bar.println(line),
                        None => output::log_line(line),
                    }
                }
                if let Some(bar) = &bar {
                    draw_anew(bar, &workers, view);
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw);
        // A run without a bar is better than no run.
        Self { end: Some(end), thread: thread.inspect_err(|error| log::warn!("no progress bar: {error}")).ok() }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn new_bar(view: View) -> indicatif::ProgressBar {
    let length = view.time.map_or(view.connections, in_millis);
    // The target shows nothing when stderr is no terminal.
    let bar = indicatif::ProgressBar::with_draw_target(Some(length), output::progress_target()).with_elapsed(DELAY);
    if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn draw_anew(bar: &indicatif::ProgressBar, workers: &[Arc<Progress>], view: View) {
    let total = |count: fn(&Progress) -> u64| workers.iter().map(|worker| count(worker)).sum::<u64>();
    let (opened, ended) = (total(|worker| worker.opened.get()), total(|worker| worker.ended.get()));
    let (failed, messages) = (total(|worker| worker.failed.get()), total(|w| w.messages_verified.get()));
    let (position, done) = if let Some(time) = view.time {
        let passed = workers.iter().filter_map(|worker| worker.since_begin()).max().unwrap_or_default().min(time);
        let whole = Duration::from_secs(passed.as_secs());
        (in_millis(passed), format!("{} of {}", format_duration(whole), format_duration(time)))
    } else {
        (ended, format!("{ended}/{} done", view.connections))
    };
    bar.set_position(position);
    let [opened, failed, messages] = [opened, failed, messages].map(format_count);
    bar.set_message(format!("{done}, {opened} opened, {failed} failed, {messages} messages"));
}

fn in_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the workers told of the second that was not shown yet.
struct Seconds {
    told: Vec<Option<Live>>,
    /// The connections that each had open, when it told last.
    open: Vec<u64>,
}

impl Seconds {
    fn of(workers: &[Arc<Progress>]) -> Self {
        Self { told: vec![None; workers.len()], open: vec![0; workers.len()] }
    }

    /// The lines that can be written now. A worker that has nothing to do tells nothing, and is not waited for longer than
    /// until the next look.
    fn next_lines(&mut self, workers: &[Arc<Progress>]) -> Vec<String> {
        let mut lines = Vec::new();
        let was_told = self.told.iter().any(Option::is_some);
        let new: Vec<_> = workers.iter().map(|worker| worker.take_second()).collect();
        if self.told.iter().zip(&new).any(|(told, new)| told.is_some() && new.is_some()) {
            lines.extend(self.line());
        }
        for (told, new) in self.told.iter_mut().zip(new) {
            *told = new.or(told.take());
        }
        if (was_told && lines.is_empty()) || self.told.iter().all(Option::is_some) {
            lines.extend(self.line());
        }
        lines
    }

    /// What was told, as one line; then it is forgotten.
    fn line(&mut self) -> Option<String> {
        let (mut latencies, mut lag, mut end) = (Latencies::default(), None, 0.0_f64);
        let (mut rate, mut errors) = (0.0, 0);
        let mut was_told = false;
        for (told, open) in self.told.iter_mut().zip(&mut self.open) {
            let Some(Live { interval, lag: its_lag }) = told.take() else { continue };
            was_told = true;
            latencies.add(&interval.latency.unpack());
            lag = lag.max(its_lag);
            end = end.max(interval.start_s + interval.seconds);
            // So many are exact in 53 bits.
            #[allow(clippy::cast_precision_loss)]
            let replies = interval.replies as f64;
            rate += replies / interval.seconds;
            errors += interval.errors;
            *open = interval.open;
        }
        let at = |quantile| latencies.at(quantile).map_or_else(|| "-".to_owned(), format_latency);
        let open = format_count(self.open.iter().sum());
        let lag = lag.map(|lag| format!(", lag {}", format_duration(lag))).unwrap_or_default();
        let (rate, errors) = (format_rate(rate), format_counted(errors, "error"));
        let line = format!("{end:>4.0} s: {rate}, p50 {}, p99 {}, {errors}, {open} open{lag}", at(0.5), at(0.99));
        was_told.then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::Seconds;
    use crate::client::Live;
    use crate::record::{Interval, Latencies};
    use std::time::Duration;

    fn second(end: f64, replies: u64, open: u64, millis: u64) -> Live {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(millis));
        let latency = latencies.pack();
        let interval = Interval { start_s: end - 1.0, seconds: 1.0, replies, open, latency, ..Interval::default() };
        Live { interval, lag: Some(Duration::from_micros(millis)) }
    }

    #[test]
    fn the_workers_are_added_up() {
        let mut seconds = Seconds::of(&[]);
        seconds.open = vec![0, 0];
        seconds.told = vec![Some(second(3.0, 500, 10, 5)), Some(second(3.0, 700, 20, 10))];
        let line = "   3 s: 1.20 k/s, p50 5.00 ms, p99 10.0 ms, 0 errors, 30 open, lag 10.0 µs";
        assert_eq!(seconds.line().as_deref(), Some(line));
        assert_eq!(seconds.line(), None);
        // One that is idle has its connections still.
        seconds.told[0] = Some(Live { lag: None, ..second(4.0, 1, 10, 1) });
        assert_eq!(seconds.line().as_deref(), Some("   4 s: 1.00 /s, p50 1.00 ms, p99 1.00 ms, 0 errors, 30 open"));
    }
}
