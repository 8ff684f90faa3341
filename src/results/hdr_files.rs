//! The two text formats that the tools of HdrHistogram read: the percentile distribution (`.hgrm`), which its plotter draws, and
//! the interval log, from which its log processor makes anything else.

use super::{Latencies, LoadKind, RunResults};
use crate::escape;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use std::io::{self, Write};
use std::time::Duration;

/// How many points each half of what is left to 100 % has, as in the other implementations.
const TICKS_PER_HALF: u32 = 5;

/// The tag of the latency from sending, beside the one from when a message was due.
const FROM_SEND: &str = "from_send";

/// Both formats show milliseconds, as the other implementations do, whatever is counted.
const NANOS_PER_MS: f64 = 1e6;

/// Writes the latency that counts (see [`RunResults::latency`]) as a percentile distribution, in milliseconds.
///
/// # Errors
///
/// What `out` fails with.
pub fn write_percentiles(record: &RunResults, out: &mut impl Write) -> io::Result<()> {
    let histogram = record.latency().histogram();
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
            // It would go on with the same until its iterator has seen the last bucket.
            break;
        }
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_MS, histogram.stdev() / NANOS_PER_MS);
    writeln!(out, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]")?;
    writeln!(out, "#[Max     = {:12.6}, Total count    = {:12}]", in_ms(histogram.max()), histogram.len())?;
    let (buckets, sub_buckets) = (histogram.buckets(), 2048);
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

/// Writes the latency of each interval as an interval log in nanoseconds; the maximum beside each is in milliseconds. A
/// record without intervals is one of them.
///
/// Of a load with a schedule that is the latency from when messages were due; the one from their sending stands before it,
/// as one histogram of the whole run with the tag `from_send`. The tools of HdrHistogram leave out what has a tag unless
/// they are asked for it.
///
/// # Errors
///
/// What `out` fails with.
pub fn write_hdr_log(record: &RunResults, out: &mut impl Write) -> io::Result<()> {
    let started = record.started.since_1970().as_secs_f64();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(&format!("[Latencies in nanoseconds, measured by {}]", escape::line(&record.program)));
    builder.add_comment("[Histogram log format version 1.3]");
    // Comments that readers understand. The library writes the same from a clock's time, which this room does not have.
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
    // Readers expect the lines in the order of their beginnings.
    let start_s = record.intervals.first().map_or(record.warm_up_s, |interval| interval.start_s);
    if record.load.kind == LoadKind::Open {
        write(&record.histograms.latency_from_send, start_s, record.measured_s, Tag::new(FROM_SEND))?;
    }
    if record.intervals.is_empty() {
        return write(record.latency(), start_s, record.measured_s, None);
    }
    for interval in &record.intervals {
        write(&interval.latency.unpack(), interval.start_s, interval.seconds, None)?;
    }
    Ok(())
}

/// None that is negative or without end, whatever a file says.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "for people; exact below 2^53 ns")]
fn in_ms(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_MS
}
