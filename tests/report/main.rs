//! `multiconn-report`: the program on result files made with the library.

#![allow(clippy::unwrap_used)]

mod browser;
mod comparing;
mod format;
mod hostile;
mod plots;
mod reading;
mod shards;
#[path = "../support/mod.rs"]
mod support;

use multiconn::results::{Interval, Latencies, LoadKind, ReplyCheck, RunResults, Timestamp};
use std::time::Duration;
use support::{Exit, Program};
use tempfile::TempDir;

/// A run of open load for `seconds`, with 500 replies per second and latencies of about `micros`.
fn sample(seconds: u32, micros: u64) -> RunResults {
    let mut results = RunResults::of("multiconn-client 1.2.3");
    results.run_ids = vec![format!("{seconds}-{micros}")];
    results.started = Timestamp::after_1970(Duration::from_secs(1_795_000_000));
    results.targets = vec!["127.0.0.1:65432".to_owned()];
    results.configuration.set("connections", 10);
    results.reply_check = ReplyCheck::Compared;
    results.load.kind = LoadKind::Open;
    results.load.rate = Some(500.0);
    let connections = &mut results.connections;
    (connections.requested, connections.opened, connections.most_open) = (10, 10, 10);
    (connections.opening_s, connections.completed) = (Some(0.001), 10);
    for second in 0..seconds {
        let mut latencies = Latencies::default();
        // Each second differs slightly, in a repeating way.
        for step in 0..500 {
            latencies.record(Duration::from_nanos(micros * (1000 + step + u64::from(second * 7 % 5))));
        }
        results.histograms.response_time.add(&latencies);
        results.histograms.service_time.add(&latencies);
        let mut interval = Interval::default();
        (interval.start_s, interval.seconds) = (f64::from(second), 1.0);
        (interval.sent, interval.answered, interval.open) = (500, 500, 10);
        interval.latency = latencies.pack();
        results.intervals.push(interval);
    }
    results.messages.sent = u64::from(seconds) * 500;
    results.messages.answered = results.messages.sent;
    results.duration_s = f64::from(seconds);
    results.measured_s = f64::from(seconds);
    results.finalize();
    results
}

/// Writes results to a file. Returns its path.
fn file(folder: &TempDir, name: &str, results: &RunResults) -> String {
    text_file(folder, name, &results.to_json())
}

fn text_file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs the program with these arguments and returns its exit status and output.
#[track_caller]
fn report(arguments: &[&str]) -> Exit {
    Program::report(arguments).await_exit()
}
