//! `multiconn-client` as a child process, and what it says of its run.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use multiconn::results::{Latencies, RunResults};

use crate::common::Outcome;
use crate::common::child::Guard;
use crate::common::cpus::Place;
use crate::context::Bench;

pub(crate) struct Client(Guard);

impl Client {
    /// Starts it against a port of this machine, with messages of 64 bytes.
    pub(crate) fn start(bench: &Bench, port: u16, arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multiconn-client"));
        command.args(["127.0.0.1", &port.to_string(), "--size", "64", "--json", "-", "-q"]).args(arguments);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(Guard(bench.setting.cpus.spawn(&mut command, Place::Load)?)))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.0.id()
    }

    /// Waits for its end, well or badly, and returns its record.
    pub(crate) fn record(mut self) -> Outcome<RunResults> {
        let mut text = String::new();
        if let Some(mut stdout) = self.0.0.stdout.take() {
            stdout.read_to_string(&mut text).map_err(|error| format!("cannot read from the client: {error}"))?;
        }
        RunResults::from_json(&text).map_err(|error| {
            let mut words = String::new();
            if let Some(mut stderr) = self.0.0.stderr.take() {
                // What it said explains more; if it cannot be read, the rest must do.
                let _ = stderr.read_to_string(&mut words);
            }
            format!("the client left no record: {error}; it said {:?}", words.trim())
        })
    }
}

/// A whole run, in which nothing may go wrong.
pub(crate) fn run(bench: &Bench, port: u16, arguments: &[&str]) -> Outcome<RunResults> {
    let record = Client::start(bench, port, arguments)?.record()?;
    check(&record)?;
    Ok(record)
}

/// Whether all was answered, and rightly.
pub(crate) fn check(record: &RunResults) -> Outcome<()> {
    let messages = &record.messages;
    if record.is_success() && messages.sent == messages.verified && messages.sent > 0 {
        return Ok(());
    }
    Err(format!("of {} messages sent {} came back; errors: {:?}", messages.sent, messages.verified, record.errors))
}

/// A percentile in microseconds.
pub(crate) fn at(latencies: &Latencies, quantile: f64) -> Outcome<f64> {
    let time = latencies.at(quantile).ok_or("a histogram of the record is empty")?;
    Ok(time.as_secs_f64() * 1e6)
}

/// How many were longer than `time`.
pub(crate) fn longer_than(latencies: &Latencies, time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    latencies.histogram().count_between(nanos, u64::MAX)
}
