//! The bar on stderr while a run lasts. Only on a terminal, and only when there is something to wait for.

use crate::client::Progress;
use crate::units::format_count;
use indicatif::{ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A run that is over sooner shows no bar.
const DELAY: Duration = Duration::from_secs(1);

/// How often the bar is drawn anew.
const INTERVAL: Duration = Duration::from_millis(200);

/// A bar that is drawn by a thread of its own until it is dropped.
pub(super) struct ProgressBar {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressBar {
    /// Shows how many of `connections` are over.
    pub(super) fn start(workers: Vec<Arc<Progress>>, connections: u64) -> Self {
        let (end, ended) = channel();
        let draw = move || {
            if ended.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            // The target shows nothing when stderr is no terminal.
            let bar = indicatif::ProgressBar::with_draw_target(Some(connections), ProgressDrawTarget::stderr())
                .with_elapsed(DELAY);
            if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {pos}/{len} done, {msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let total = |count: fn(&Progress) -> u64| workers.iter().map(|worker| count(worker)).sum::<u64>();
                let (opened, ended) = (total(|worker| worker.opened.get()), total(|worker| worker.ended.get()));
                let (failed, messages) = (total(|worker| worker.failed.get()), total(|w| w.messages_verified.get()));
                bar.set_position(ended);
                let [opened, failed, messages] = [opened, failed, messages].map(format_count);
                bar.set_message(format!("{opened} opened, {failed} failed, {messages} messages"));
            }
            bar.finish_and_clear();
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
