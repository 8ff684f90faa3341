//! Progress bar on stderr, and one line per second of a load above it. The bar appears only on a terminal, and only
//! after one second. Both show the time since the program started, in every phase.

use super::output;
use crate::client::{Client, Snapshot, SnapshotPhase, WorkerProgress};
use crate::results::format_latency;
use crate::units::{format_count, format_counted, format_duration, format_rate};
use indicatif::ProgressStyle;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A run shorter than this shows no bar.
const DELAY: Duration = Duration::from_secs(1);

/// Redraw interval of the bar.
const INTERVAL: Duration = Duration::from_millis(200);

/// What to show of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// When the program started.
    pub(super) started: Instant,
    /// Number of connections in the run.
    pub(super) connections: u64,
    /// Warm-up of the load before it is measured.
    pub(super) warm_up: Duration,
    /// Duration of the load including its warm-up, if known.
    pub(super) time: Option<Duration>,
    /// Whether to print a line per second.
    pub(super) seconds: bool,
    /// Whether to draw a bar. Otherwise lines go to stderr, whether or not it is a terminal.
    pub(super) bar: bool,
}

/// A progress bar, drawn by its own thread until it is dropped.
pub(super) struct ProgressBar {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressBar {
    /// Shows the progress of `client` once it runs.
    pub(super) fn start(client: &mut Client, view: View) -> Self {
        let (end, ended) = channel();
        let workers = client.progress();
        let (sender, figures) = channel();
        if view.seconds {
            client.on_second(move |snapshot| _ = sender.send((snapshot.second, figures_of(snapshot))));
        }
        let draw = move || {
            if ended.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = view.bar.then(|| new_bar(view));
            let mut seconds = Seconds { view, figures, shown: Duration::ZERO, replies: 0 };
            let mut is_over = false;
            while !is_over {
                // At the end come the lines of the seconds that ended since the last ones.
                is_over = ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
                let lines = if view.seconds { seconds.next_lines(&workers) } else { Vec::new() };
                for line in lines {
                    match &bar {
                        Some(bar) => bar.println(line),
                        None => log::info!("{}", line.trim_start()),
                    }
                }
                if let Some(bar) = &bar {
                    redraw(bar, &workers, view);
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw);
        // Without the thread, the run continues and shows no bar.
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
    // The draw target shows nothing when stderr is not a terminal.
    let bar = indicatif::ProgressBar::with_draw_target(Some(length), output::progress_target()).with_elapsed(DELAY);
    if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn redraw(bar: &indicatif::ProgressBar, workers: &[Arc<WorkerProgress>], view: View) {
    let phase = DisplayedPhase::of(workers, view);
    let done = total(workers, |worker| worker.done.get());
    let position = match (view.time, phase) {
        (None, _) => done,
        (Some(_), DisplayedPhase::Connecting) => 0,
        (Some(time), DisplayedPhase::WarmUp { begun } | DisplayedPhase::Load { begun }) => {
            in_millis(begun.elapsed().min(time))
        }
    };
    bar.set_position(position);
    let what = match phase {
        DisplayedPhase::Connecting if view.seconds => connecting(workers, view),
        DisplayedPhase::WarmUp { begun } => format!("warm-up, {}", elapsed_of(begun, view.warm_up)),
        DisplayedPhase::Load { begun } if let Some(time) = view.time => {
            format!("load, {}", elapsed_of(begun + view.warm_up, time.saturating_sub(view.warm_up)))
        }
        _ => format!("{} of {} done", format_count(done), format_count(view.connections)),
    };
    let failed = format_count(total(workers, |worker| worker.failed.get()));
    let messages = format_counted(total(workers, |worker| worker.messages_answered.get()), "message");
    bar.set_message(format!("{}: {what}, {failed} failed, {messages}", clock(view.started.elapsed())));
}

/// Phase of a run, as the progress line names it.
#[derive(Debug, Clone, Copy)]
enum DisplayedPhase {
    /// Connections are still being opened, or the run has no common start: each connection began its exchange when it
    /// opened.
    Connecting,
    /// The load has begun, but is not measured yet.
    WarmUp { begun: Instant },
    /// The load is being measured, or is over.
    Load { begun: Instant },
}

impl DisplayedPhase {
    fn of(workers: &[Arc<WorkerProgress>], view: View) -> Self {
        let begun = workers.iter().filter_map(|worker| worker.begun()).min();
        match begun.filter(|begun| *begun <= Instant::now()) {
            None => Self::Connecting,
            Some(begun) if begun.elapsed() < view.warm_up => Self::WarmUp { begun },
            Some(begun) => Self::Load { begun },
        }
    }
}

fn total(workers: &[Arc<WorkerProgress>], count: impl Fn(&WorkerProgress) -> u64) -> u64 {
    workers.iter().map(|worker| count(worker)).sum()
}

/// Formats the number of connections opened so far.
fn connecting(workers: &[Arc<WorkerProgress>], view: View) -> String {
    let opened = total(workers, |worker| worker.opened.get());
    format!("connecting, {} of {} opened", format_count(opened), format_count(view.connections))
}

/// Formats the whole seconds since `begun`, out of `time`.
fn elapsed_of(begun: Instant, time: Duration) -> String {
    let passed = Duration::from_secs(begun.elapsed().min(time).as_secs());
    format!("{} of {}", format_duration(passed), format_duration(time))
}

/// Formats the time since the program started, rounded to whole seconds.
fn clock(since_start: Duration) -> String {
    format!("{:>4} s", format_count((since_start + Duration::from_millis(500)).as_secs()))
}

fn in_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The per-second lines of a load.
struct Seconds {
    view: View,
    /// Each second of the measured part with its figures.
    figures: Receiver<(u64, Option<String>)>,
    /// Time of the last line before the measured part, since the program started, and the number of replies until then.
    shown: Duration,
    replies: u64,
}

impl Seconds {
    /// The lines that can be written now.
    fn next_lines(&mut self, workers: &[Arc<WorkerProgress>]) -> Vec<String> {
        let measured_from = match DisplayedPhase::of(workers, self.view) {
            DisplayedPhase::Load { begun } => (begun + self.view.warm_up).saturating_duration_since(self.view.started),
            phase => return self.line_before_measuring(workers, phase).into_iter().collect(),
        };
        let line = |(second, figures): (u64, Option<String>)| {
            Some(format!("{}: {}", clock(measured_from + Duration::from_secs(second)), figures?))
        };
        self.figures.try_iter().filter_map(line).collect()
    }

    /// The line for a second before the measured part.
    fn line_before_measuring(&mut self, workers: &[Arc<WorkerProgress>], phase: DisplayedPhase) -> Option<String> {
        let now = self.view.started.elapsed();
        let passed = now.saturating_sub(self.shown);
        if now.as_secs() == self.shown.as_secs() {
            return None;
        }
        let replies = total(workers, |worker| worker.messages_answered.get());
        let new = replies - std::mem::replace(&mut self.replies, replies);
        self.shown = now;
        let what = match phase {
            DisplayedPhase::Connecting => connecting(workers, self.view),
            // Exact in 53 bits.
            #[allow(clippy::cast_precision_loss)]
            _ => format!("warm-up, {}", format_rate(new as f64 / passed.as_secs_f64())),
        };
        let failed = format_count(total(workers, |worker| worker.failed.get()));
        Some(format!("{}: {what}, {failed} failed", clock(Duration::from_secs(now.as_secs()))))
    }
}

/// Formats the figures of a second of the measured part.
fn figures_of(snapshot: &Snapshot) -> Option<String> {
    if matches!(snapshot.phase, SnapshotPhase::BeforeLoad | SnapshotPhase::End) {
        return None;
    }
    let results = &snapshot.results;
    let (latency, delay) = (results.latency(), &results.histograms.client_delay);
    let is_idle = snapshot.phase == SnapshotPhase::AfterLoad && latency.is_empty();
    let figures = if is_idle {
        "load over".to_owned()
    } else {
        let reads = results.messages.reads.unwrap_or_default();
        // Exact in 53 bits.
        #[allow(clippy::cast_precision_loss)]
        let rate = results.messages.answered.max(reads) as f64 / results.measured_s;
        let what = if reads > 0 { "reads " } else { "" };
        let at = |quantile| latency.at(quantile).map_or_else(|| "-".to_owned(), format_latency);
        format!("{what}{}, p50 {}, p99 {}", format_rate(rate), at(0.5), at(0.99))
    };
    let delay = delay.at(0.99).filter(|_| !is_idle).map(format_latency);
    let delay = delay.map(|delay| format!(", client delay {delay}")).unwrap_or_default();
    let (open, errors) = (format_count(snapshot.open), format_counted(results.error_count(), "error"));
    Some(format!("{figures}, {errors}, {open} open{delay}"))
}

#[cfg(test)]
mod tests {
    use super::figures_of;
    use crate::client::{Snapshot, SnapshotPhase};
    use crate::results::{LoadKind, RunResults};

    #[test]
    fn a_line_shows_latency_and_client_delay() {
        let mut results = RunResults::of("x");
        results.load.kind = LoadKind::Open;
        (results.messages.answered, results.measured_s) = (1200, 1.0);
        results.histograms.response_time.record_many_nanos(5_000_000, 700);
        results.histograms.response_time.record_many_nanos(10_000_000, 500);
        results.histograms.client_delay.record_many_nanos(10_000, 1200);
        let mut snapshot = Snapshot::of(results, 3, SnapshotPhase::Load);
        snapshot.open = 30;
        let line = "1.20 k/s, p50 5.00 ms, p99 10.0 ms, 0 errors, 30 open, client delay 10.0 µs";
        assert_eq!(figures_of(&snapshot).as_deref(), Some(line));
        snapshot.phase = SnapshotPhase::End;
        assert_eq!(figures_of(&snapshot), None);
        let idle = Snapshot::of(RunResults::of("x"), 4, SnapshotPhase::AfterLoad);
        assert_eq!(figures_of(&idle).as_deref(), Some("load over, 0 errors, 0 open"));
    }
}
