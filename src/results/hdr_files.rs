//! HdrHistogram's text formats: the percentile distribution (`.hgrm`) for its plotter, and the interval log for its log
//! processor.

use super::{Latencies, LoadKind, RunResults};
use crate::escape;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use std::io::{self, Write};
use std::time::Duration;

/// Points per halving of the distance to 100 %, as in the other implementations.
const TICKS_PER_HALF: u32 = 5;

/// Both formats show values in milliseconds, as the other implementations do.
const NANOS_PER_MS: f64 = 1e6;

/// Writes the reported latency (see [`RunResults::latency`]) as a percentile distribution, in milliseconds.
///
/// # Errors
///
/// Errors of `out`.
pub fn write_percentiles(results: &RunResults, out: &mut impl Write) -> io::Result<()> {
    let histogram = results.latency().histogram();
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let value = in_ms(step.value_iterated_to().min(histogram.max()));
        let quantile = step.quantile_iterated_to();
        if quantile < 1.0 {
            writeln!(out, "{value:12.6} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:12.6} {quantile:2.12} {total:10}")?;
            // The iterator would repeat this line until it has seen the last bucket.
            break;
        }
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_MS, histogram.stdev() / NANOS_PER_MS);
    writeln!(out, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]")?;
    writeln!(out, "#[Max     = {:12.6}, Total count    = {:12}]", in_ms(histogram.max()), histogram.len())?;
    let (buckets, sub_buckets) = (histogram.buckets(), 2048);
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

/// Writes the latency of each interval as an interval log in nanoseconds; the maximum next to each is in milliseconds.
/// Replies after the measured time are an interval as well. A run without intervals is written as one.
///
/// Other times precede it, as one histogram of the whole run each, with their names as tags: `service_time`, `ceiling`
/// and `floor` of an open load, and `client_delay`. HdrHistogram's tools skip tagged histograms by default.
///
/// # Errors
///
/// Errors of `out`.
pub fn write_hdr_log(results: &RunResults, out: &mut impl Write) -> io::Result<()> {
    let started = results.started.since_1970().as_secs_f64();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(&format!("[Latencies in nanoseconds, measured by {}]", escape::line(&results.program)));
    builder.add_comment("[Histogram log format version 1.3]");
    // Comments that readers parse. The library writes them from a `SystemTime`, which this module must not read.
    builder.add_comment(&format!("[StartTime: {started:.3} (seconds since epoch)]"));
    builder.add_comment(&format!("[BaseTime: {started:.3} (seconds since epoch)]"));
    builder.with_max_value_divisor(NANOS_PER_MS);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    let mut write = |latencies: &Latencies, start_s: f64, seconds: f64, tag: Option<Tag<'_>>| match log.write_histogram(
        latencies.histogram(),
        duration(start_s),
        duration(seconds),
        tag,
    ) {
        Ok(()) => Ok(()),
        Err(IntervalLogWriterError::IoError(error)) => Err(error),
        Err(IntervalLogWriterError::SerializeError(error)) => Err(io::Error::other(error)),
    };
    // Readers expect lines in the order of their start times.
    let start_s = results.intervals.first().map_or(results.warm_up_s, |interval| interval.start_s);
    let times = &results.histograms;
    let service_time = Some(&times.service_time).filter(|_| results.load.kind == LoadKind::Open);
    let tagged = [
        ("service_time", service_time),
        ("ceiling", Some(&times.ceiling)),
        ("floor", Some(&times.floor)),
        ("client_delay", Some(&times.client_delay)),
    ];
    let tagged = tagged.into_iter().filter_map(|(tag, times)| Some((tag, times.filter(|times| !times.is_empty())?)));
    for (tag, times) in tagged {
        write(times, start_s, results.measured_s, Tag::new(tag))?;
    }
    if results.intervals.is_empty() {
        return write(results.latency(), start_s, results.measured_s, None);
    }
    for interval in results.intervals.iter().chain(&results.after_load) {
        write(&interval.latency.unpack(), interval.start_s, interval.seconds, None)?;
    }
    Ok(())
}

/// Converts seconds. A negative or infinite value in a file becomes 0.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "for people; exact below 2^53 ns")]
fn in_ms(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_MS
}
