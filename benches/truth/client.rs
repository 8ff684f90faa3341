//! `multiconn-client` as a child process, and its results.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use multiconn::results::{Latencies, RunResults};

use crate::common::Outcome;
use crate::common::child::Guard;
use crate::common::cpus::CpuRole;
use crate::context::Bench;

pub(crate) struct Client(Guard);

impl Client {
    /// Starts the client against a local port, with messages of 64 bytes.
    pub(crate) fn start(bench: &Bench, port: u16, arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multiconn-client"));
        command.args(["127.0.0.1", &port.to_string(), "--size", "64", "--json", "-", "-q"]).args(arguments);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(Guard(bench.setup.cpus.spawn(&mut command, CpuRole::Load)?)))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.0.id()
    }

    /// Waits for the client's end, successful or not, and returns its results.
    pub(crate) fn results(mut self) -> Outcome<RunResults> {
        let mut text = String::new();
        if let Some(mut stdout) = self.0.0.stdout.take() {
            stdout.read_to_string(&mut text).map_err(|error| format!("cannot read from the client: {error}"))?;
        }
        RunResults::from_json(&text).map_err(|error| {
            let mut words = String::new();
            if let Some(mut stderr) = self.0.0.stderr.take() {
                // The client's stderr explains more. If it cannot be read, the error above must do.
                let _ = stderr.read_to_string(&mut words);
            }
            format!("the client wrote no results: {error}; its stderr: {:?}", words.trim())
        })
    }
}

/// A complete run without any failure.
pub(crate) fn run(bench: &Bench, port: u16, arguments: &[&str]) -> Outcome<RunResults> {
    let results = Client::start(bench, port, arguments)?.results()?;
    check(&results)?;
    Ok(results)
}

/// Checks that every message had a correct reply.
pub(crate) fn check(results: &RunResults) -> Outcome<()> {
    let messages = &results.messages;
    if results.is_success() && messages.sent == messages.answered && messages.sent > 0 {
        return Ok(());
    }
    Err(format!("{} messages sent, {} verified; errors: {:?}", messages.sent, messages.answered, results.errors))
}

/// A percentile in microseconds.
pub(crate) fn at(latencies: &Latencies, quantile: f64) -> Outcome<f64> {
    let time = latencies.at(quantile).ok_or("a histogram of the results is empty")?;
    Ok(time.as_secs_f64() * 1e6)
}

/// A percentile in microseconds, interpolated within its bucket of the histogram. At 5 ms a bucket is 4 µs wide.
pub(crate) fn interpolated(latencies: &Latencies, quantile: f64) -> Outcome<f64> {
    let histogram = latencies.histogram();
    let (rank, mut below) = (histogram.len() as f64 * quantile, 0.0);
    for bucket in histogram.iter_recorded() {
        let (value, count) = (bucket.value_iterated_to(), bucket.count_at_value() as f64);
        if below + count >= rank {
            let (low, width) = (histogram.lowest_equivalent(value), histogram.equivalent_range(value));
            return Ok((low as f64 + width as f64 * (rank - below) / count) / 1e3);
        }
        below += count;
    }
    Err("a histogram of the results is empty".to_owned())
}

/// Number of latencies above `time`.
pub(crate) fn longer_than(latencies: &Latencies, time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    latencies.histogram().count_between(nanos, u64::MAX)
}
