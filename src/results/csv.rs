//! The intervals of a run as comma-separated values (RFC 4180), for spreadsheets and plotting programs.

use super::RunResults;
use std::fmt::Write;

const HEADINGS: &str = "start_s,seconds,sent,answered,reads,errors,open,bytes_sent,bytes_received,\
                        latency_count,p50_ns,p90_ns,p99_ns,p99_9_ns,max_ns";

/// One line of headings, and one per interval. The columns have the names and units of the JSON format. An interval
/// without replies has no latencies.
#[must_use]
pub fn intervals_csv(results: &RunResults) -> String {
    let mut out = format!("{HEADINGS}\n");
    for interval in &results.intervals {
        let latency = &interval.latency;
        let times = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p99_9_ns, latency.max_ns];
        let times = times.map(|nanos| if latency.count > 0 { nanos.to_string() } else { String::new() }).join(",");
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{times}",
            interval.start_s,
            interval.seconds,
            interval.sent,
            interval.answered,
            interval.reads,
            interval.errors,
            interval.open,
            interval.bytes_sent,
            interval.bytes_received,
            latency.count
        );
    }
    out
}
