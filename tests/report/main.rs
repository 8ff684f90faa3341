//! `multiconn-report` as its users see it: the real program on files that were made with the library.

#![allow(clippy::unwrap_used)]

mod browser;
mod comparing;
mod hostile;
mod reading;
#[path = "../support/mod.rs"]
mod support;

use multiconn::results::{Connections, Interval, Latencies, LoadKind, ReplyCheck, RunResults, Timestamp};
use std::time::Duration;
use support::{Exit, Program};
use tempfile::TempDir;

/// A run of open load, of `seconds` with 500 replies each, all of which took about `micros`.
fn sample(seconds: u32, micros: u64) -> RunResults {
    let mut record = RunResults::of("multiconn-client 1.2.3");
    record.run_ids = vec![format!("{seconds}-{micros}")];
    record.started = Timestamp::after_1970(Duration::from_secs(1_795_000_000));
    "127.0.0.1:65432".clone_into(&mut record.target);
    record.configuration.set("connections", 10);
    record.reply_check = ReplyCheck::Compared;
    record.load.kind = LoadKind::Open;
    record.load.rate = Some(500.0);
    record.connections =
        Connections { wanted: 10, opened: 10, most_open: 10, opening_s: Some(0.001), verified: 10, failed: 0 };
    for second in 0..seconds {
        let mut latencies = Latencies::default();
        // Each second is a little different, in a way that repeats.
        for step in 0..500 {
            latencies.record(Duration::from_nanos(micros * (1000 + step + u64::from(second * 7 % 5))));
        }
        record.histograms.latency_from_due.add(&latencies);
        record.histograms.latency_from_send.add(&latencies);
        let latency = latencies.pack();
        let start_s = f64::from(second);
        record.intervals.push(Interval {
            start_s,
            seconds: 1.0,
            sent: 500,
            replies: 500,
            open: 10,
            latency,
            ..Interval::default()
        });
    }
    record.messages.sent = u64::from(seconds) * 500;
    record.messages.verified = record.messages.sent;
    record.duration_s = f64::from(seconds);
    record.measured_s = f64::from(seconds);
    record.settle();
    record
}

/// Writes a record to a file, and returns its path.
fn file(folder: &TempDir, name: &str, record: &RunResults) -> String {
    text_file(folder, name, &record.to_json())
}

fn text_file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What became of the program with these arguments.
#[track_caller]
fn report(arguments: &[&str]) -> Exit {
    Program::report(arguments).await_exit()
}
