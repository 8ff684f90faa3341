//! Tests of results, with generated sample runs.

mod comparing;
mod exporting;
mod files;
mod golden;
mod hostile;
mod intervals;
mod loads;
mod merging;
mod pages;
mod precisions;
mod searches;
mod shards;
mod statuses;
mod summaries;
mod thresholds;
mod verdicts;

use super::{
    Connections, Cpu, Interval, Latencies, LoadKind, ReceiveTimestamps, ReplyCheck, RunResults, Timestamp,
    TimestampSource,
};
use std::time::Duration;

/// Start time of the sample runs.
const STARTED: Duration = Duration::from_millis(1_795_000_000_250);

/// A deterministic random generator.
struct Random(u64);

impl Random {
    /// A random integer below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A valid run of open load for `seconds`, with about 1,000 messages per second and a latency of about `micros`.
fn sample(seconds: u32, micros: u64, seed: u64) -> RunResults {
    let mut random = Random(seed);
    let mut results = RunResults::of("multiconn-client 1.2.3");
    results.started = Timestamp::after_1970(STARTED);
    results.run_ids = vec![format!("{seconds}-{micros}-{seed}")];
    results.targets = vec!["127.0.0.1:65432".to_owned()];
    results.configuration.set("port", 65432);
    results.configuration.set("connections", 100);
    results.configuration.set("message", vec!["Hello", "<b>world</b>"]);
    results.configuration.set("rate", "1k");
    results.machine.kernel = Some("Linux 6.18.5".to_owned());
    results.machine.ip_local_port_range = Some((32_768, 60_999));
    results.reply_check = ReplyCheck::Compared;
    results.load.kind = LoadKind::Open;
    results.load.rate = Some(1000.0);
    results.load.arrivals = Some("poisson".to_owned());
    results.receive_timestamps = Some(ReceiveTimestamps { source: TimestampSource::Kernel, missing: 0 });
    results.connections = Connections {
        requested: 100,
        opened: 100,
        most_open: 100,
        opening_s: Some(0.05),
        completed: 100,
        failed: 0,
        retries: 0,
        port_search: None,
    };
    for second in 0..seconds {
        let mut latencies = Latencies::default();
        let messages = 990 + random.below(20);
        for _ in 0..messages {
            let slow = if random.below(20) == 0 { 20 } else { 1 };
            let nanos = micros * slow * 1000 + random.below(micros * 300);
            latencies.record(Duration::from_nanos(nanos));
            results.histograms.service_time.record(Duration::from_nanos(nanos));
            results.histograms.floor.record(Duration::from_nanos(nanos));
            results.histograms.ceiling.record(Duration::from_nanos(nanos + 800));
            results.histograms.send_delay.record(Duration::from_nanos(500));
            results.histograms.receive_delay.record(Duration::from_nanos(300));
            results.histograms.client_delay.record(Duration::from_nanos(800));
        }
        results.histograms.response_time.add(&latencies);
        results.messages.sent += messages;
        results.messages.answered += messages;
        results.intervals.push(Interval {
            start_s: f64::from(second),
            seconds: 1.0,
            sent: messages,
            answered: messages,
            open: 100,
            bytes_sent: messages * 22,
            bytes_received: messages * 22,
            latency: latencies.pack(),
            ..Interval::default()
        });
    }
    results.histograms.connect.record(Duration::from_micros(300));
    results.messages.due = Some(results.messages.sent);
    results.bytes.sent = results.messages.sent * 22;
    results.bytes.received = results.bytes.sent;
    results.duration_s = f64::from(seconds);
    results.measured_s = f64::from(seconds);
    results.finalize();
    results
}

/// Gives the messages of a sample a floor of `share` of their times.
fn lower_floor(results: &mut RunResults, share: f64) {
    results.histograms.floor.clear();
    for step in results.latency().clone().histogram().iter_recorded() {
        let time = Duration::from_nanos(step.value_iterated_to()).mul_f64(share);
        results.histograms.floor.record_many_nanos(crate::units::nanos(time), step.count_at_value());
    }
}

/// A client that was busy for `share` of the time.
fn busy(share: f64) -> Cpu {
    Cpu { seconds: 3.0 * share, share, ..Cpu::default() }
}
