//! Whether messages leave when they are due, as somebody else sees it.

use multiconn::results::RunResults;

use crate::arrival_server::Recorder;
use crate::client::{at, run};
use crate::common::Outcome;
use crate::context::{Bench, count, micros, option, row};
use crate::statistics::{self, critical_distance, dispersion, distance_from_exponential, gaps, lateness};

/// So many messages at the beginning are left out: caches and the scheduler settle.
const SETTLING: usize = 1000;

pub(crate) fn even(bench: &mut Bench) -> Outcome<()> {
    evenly(bench, &[])
}

/// The client does not sleep, so that what it takes to wake up is no part of it.
pub(crate) fn even_spinning(bench: &mut Bench) -> Outcome<()> {
    evenly(bench, &["--spin", "200us"])
}

fn evenly(bench: &mut Bench, further: &[&str]) -> Outcome<()> {
    const GAP_NS: f64 = 100_000.0;
    let (record, arrivals_ns) = record(bench, &[&["--rate", "10k"], further].concat())?;
    let gaps = gaps(&arrivals_ns[SETTLING.min(arrivals_ns.len() / 2)..]);
    let mean = statistics::mean(&gaps);
    let is_even = (mean - GAP_NS).abs() <= GAP_NS * 1e-3;
    bench.judge("mean between two", &format!("{:.4} µs", mean / 1e3), "100 µs ± 0.1 %", is_even);
    row("standard deviation", &in_micros(statistics::standard_deviation(&gaps)), "");
    row(
        "p1, p99",
        &format!("{}, {}", in_micros(statistics::at(&gaps, 0.01)), in_micros(statistics::at(&gaps, 0.99))),
        "",
    );
    let late = lateness(&arrivals_ns, GAP_NS);
    let outside = [0.5, 0.99].map(|quantile| in_micros(statistics::at(&late, quantile)));
    row("late by, p50, p99", &outside.join(", "), "as seen from outside");
    let inside = [at(&record.histograms.lag, 0.5)?, at(&record.histograms.lag, 0.99)?].map(micros);
    row("lag, p50, p99", &inside.join(", "), "as the client says");
    Ok(())
}

/// Two messages cannot leave at the same time, and one that is due while the client sleeps waits until it has woken up:
/// pauses of up to some 20 µs become longer or shorter. At 500 messages a second that is one pause in a hundred, and at 2,000
/// more of them than the test lets pass.
pub(crate) fn poisson(bench: &mut Bench) -> Outcome<()> {
    at_random(bench, &[])
}

pub(crate) fn poisson_spinning(bench: &mut Bench) -> Outcome<()> {
    at_random(bench, &["--spin", "20ms"])
}

fn at_random(bench: &mut Bench, further: &[&str]) -> Outcome<()> {
    const MEAN_NS: f64 = 2_000_000.0;
    const BIN_NS: u64 = 20_000_000;
    let load = ["--rate", "500", "--arrivals", "poisson", "--seed", "1"];
    let (_, arrivals_ns) = record(bench, &[&load, further].concat())?;
    let gaps = gaps(&arrivals_ns);
    row("mean between two", &in_micros(statistics::mean(&gaps)), "2,000 µs, as chance will have it");
    row("standard deviation", &in_micros(statistics::standard_deviation(&gaps)), "the same, if they are exponential");
    let (distance, critical) = (distance_from_exponential(&gaps, MEAN_NS), critical_distance(gaps.len()));
    let target = format!("<= {critical:.4} (1 %)");
    bench.judge("distance from the exponential one", &format!("{distance:.4}"), &target, distance <= critical);
    let (dispersion, allowed) = dispersion(&arrivals_ns, BIN_NS);
    let target = format!("1 ± {allowed:.3} (1 %)");
    let is_one = (dispersion - 1.0).abs() <= allowed;
    bench.judge("in 20 ms, variance / mean", &format!("{dispersion:.3}"), &target, is_one);
    Ok(())
}

/// A run against a recorder: what the client says, and what was seen.
fn record(bench: &mut Bench, load: &[&str]) -> Outcome<(RunResults, Vec<u64>)> {
    let recorder = Recorder::start(&bench.setting.cpus, None)?;
    let duration = option(bench.window());
    let record = run(bench, recorder.port, &[&["-c", "50", "--duration", &duration], load].concat())?;
    let arrivals_ns = recorder.finish()?;
    if arrivals_ns.len() < 3 {
        return Err(format!("{} messages are too few to say anything of", arrivals_ns.len()));
    }
    let (seen, due) = (arrivals_ns.len() as u64, record.messages.due.unwrap_or_default());
    let is_same = seen == due && due == record.messages.sent;
    bench.judge("messages seen", &count(seen), &format!("{}, as were due", count(due)), is_same);
    Ok((record, arrivals_ns))
}

fn in_micros(nanos: f64) -> String {
    micros(nanos / 1e3)
}
