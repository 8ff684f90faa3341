//! Records made up for the tests, and what must hold of everything that is made from one.

mod comparing;
mod exporting;
mod files;
mod hostile;
mod merging;
mod pages;
mod summaries;
mod thresholds;
mod verdicts;

use super::{Connections, Interval, Latencies, LoadKind, ReplyCheck, RunResults, Timestamp};
use std::time::Duration;

/// When the records of these tests began.
const STARTED: Duration = Duration::from_millis(1_795_000_000_250);

/// Chance that is the same in every run.
struct Dice(u64);

impl Dice {
    /// A whole number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A valid run of open load: `seconds` of some 1,000 messages each, which took about `micros`.
fn sample(seconds: u32, micros: u64, seed: u64) -> RunResults {
    let mut dice = Dice(seed);
    let mut record = RunResults::of("multiconn-client 1.2.3");
    record.started = Timestamp::after_1970(STARTED);
    record.run_ids = vec![format!("{seconds}-{micros}-{seed}")];
    record.target = "127.0.0.1:65432".to_owned();
    record.configuration.set("port", 65432);
    record.configuration.set("connections", 100);
    record.configuration.set("message", vec!["Hello", "<b>world</b>"]);
    record.configuration.set("rate", "1k");
    record.environment.kernel = Some("Linux 6.18.5".to_owned());
    record.environment.ip_local_port_range = Some((32_768, 60_999));
    record.reply_check = ReplyCheck::Compared;
    record.load.kind = LoadKind::Open;
    record.load.rate = Some(1000.0);
    record.load.arrivals = Some("poisson".to_owned());
    record.connections =
        Connections { wanted: 100, opened: 100, most_open: 100, opening_s: Some(0.05), verified: 100, failed: 0 };
    for second in 0..seconds {
        let mut latencies = Latencies::default();
        let messages = 990 + dice.below(20);
        for _ in 0..messages {
            let slow = if dice.below(20) == 0 { 20 } else { 1 };
            let nanos = micros * slow * 1000 + dice.below(micros * 300);
            latencies.record(Duration::from_nanos(nanos));
            record.histograms.latency_from_send.record(Duration::from_nanos(nanos - 500));
            record.histograms.lag.record(Duration::from_nanos(500));
        }
        record.histograms.latency_from_due.add(&latencies);
        record.messages.sent += messages;
        record.messages.verified += messages;
        record.intervals.push(Interval {
            start_s: f64::from(second),
            seconds: 1.0,
            sent: messages,
            replies: messages,
            open: 100,
            bytes_sent: messages * 22,
            bytes_verified: messages * 22,
            latency: latencies.pack(),
            ..Interval::default()
        });
    }
    record.histograms.connect.record(Duration::from_micros(300));
    record.messages.due = Some(record.messages.sent);
    record.bytes.sent = record.messages.sent * 22;
    record.bytes.verified = record.bytes.sent;
    record.duration_s = f64::from(seconds);
    record.measured_s = f64::from(seconds);
    record.settle();
    record
}
