//! HdrHistogram exports, read back with the library's reader.

use super::{STARTED, sample};
use crate::results::{Interval, Latencies, LoadKind, RunResults, write_hdr_log, write_percentiles};
use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use std::time::Duration;

fn percentiles(results: &RunResults) -> String {
    let mut out = Vec::new();
    write_percentiles(results, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("it is text")
}

#[test]
fn percentile_distribution_ascends_to_the_maximum() {
    let results = sample(5, 100, 1);
    let text = percentiles(&results);
    let rows: Vec<Vec<f64>> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("Value"))
        .map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect())
        .filter(|row: &Vec<f64>| !row.is_empty())
        .collect();
    assert!(rows.len() > 20, "{text}");
    assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
    let last = rows.last().expect("there are rows");
    let max_ms = results.latency().max().expect("there are replies").as_secs_f64() * 1e3;
    assert!((last[0] - max_ms).abs() < 1e-6 && (last[1] - 1.0).abs() < 1e-12, "{last:?} {max_ms}");
    assert_eq!(text.matches("1.000000000000").count(), 1, "{text}");
    assert!(text.contains(&format!("Total count    = {:12}", results.messages.answered)), "{text}");
}

#[test]
fn percentile_distribution_of_an_empty_run_is_complete() {
    let text = percentiles(&RunResults::of("x"));
    assert!(text.contains("Total count    =            0"), "{text}");
}

/// The tag of an entry, its start, length and histogram.
type Entry = (Option<String>, Duration, Duration, Latencies);

/// The histograms without a tag, and those with a tag.
fn read_log(results: &RunResults) -> (Vec<Entry>, Vec<Entry>) {
    let mut out = Vec::new();
    write_hdr_log(results, &mut out).expect("a vector takes everything");
    let (mut found, mut times) = (Vec::new(), 0);
    for entry in IntervalLogIterator::new(&out) {
        match entry.expect("every line is one of a log") {
            LogEntry::Interval(interval) => {
                let bytes =
                    base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).expect("base64");
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
                let tag = interval.tag().map(|tag| tag.as_str().to_owned());
                found.push((tag, interval.start_timestamp(), interval.duration(), histogram.into()));
            }
            LogEntry::StartTime(time) | LogEntry::BaseTime(time) => {
                assert_eq!(time, STARTED);
                times += 1;
            }
        }
    }
    assert_eq!(times, 2);
    found.into_iter().partition(|(tag, ..)| tag.is_none())
}

#[test]
fn interval_log_has_one_line_per_second() {
    let mut results = sample(5, 100, 1);
    let (found, tagged) = read_log(&results);
    let starts: Vec<u64> = found.iter().map(|(_, start, ..)| start.as_secs()).collect();
    assert_eq!(starts, [0, 1, 2, 3, 4]);
    let mut sum = Latencies::default();
    for (_, _, length, latencies) in &found {
        assert_eq!(*length, Duration::from_secs(1));
        sum.add(latencies);
    }
    assert_eq!(&sum, results.latency());
    let times = &results.histograms;
    let expected = [
        ("service_time", &times.service_time),
        ("ceiling", &times.ceiling),
        ("floor", &times.floor),
        ("client_delay", &times.client_delay),
    ];
    let (start, whole) = (Duration::ZERO, Duration::from_secs(5));
    let expected = expected.map(|(tag, times)| (Some(tag.to_owned()), start, whole, times.clone()));
    assert_eq!(tagged, expected);
    // Closed load has one latency.
    results.load.kind = LoadKind::Closed;
    (results.histograms.ceiling, results.histograms.floor) = Default::default();
    let tags: Vec<_> = read_log(&results).1.into_iter().filter_map(|(tag, ..)| tag).collect();
    assert_eq!(tags, ["client_delay"]);
}

/// The log has all replies, also those that came after the load.
#[test]
fn replies_after_the_load_are_an_interval() {
    let mut results = sample(5, 100, 1);
    let mut late = Latencies::default();
    late.record_many_nanos(500_000_000, 7);
    results.histograms.response_time.add(&late);
    let after = Interval { start_s: 5.0, seconds: 0.5, latency: late.pack(), answered: 7, ..Default::default() };
    results.after_load = Some(after);
    let (found, _) = read_log(&results);
    let (_, start, length, latencies) = found.last().expect("six intervals");
    assert_eq!((found.len(), *start, *length), (6, Duration::from_secs(5), Duration::from_millis(500)));
    assert_eq!(latencies, &late);
    let count: u64 = found.iter().map(|(.., latencies)| latencies.count()).sum();
    assert_eq!(count, results.latency().count());
}

#[test]
fn run_without_intervals_is_one_line() {
    let mut results = sample(5, 100, 1);
    results.intervals.clear();
    let (found, tagged) = read_log(&results);
    assert_eq!((found.len(), tagged.len()), (1, 4));
    assert_eq!((found[0].2, &found[0].3), (Duration::from_secs(5), results.latency()));
}
