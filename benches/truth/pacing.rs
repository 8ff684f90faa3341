//! Pacing: whether messages leave when they are due, observed by the server.

use multiconn::results::RunResults;

use crate::arrival_server::{ArrivalServer, Behaviour};
use crate::client::{at, run};
use crate::common::Outcome;
use crate::context::{Bench, count, micros, option, row};
use crate::statistics::{self, critical_distance, dispersion, distance_from_exponential, gaps, lateness};

/// Number of initial messages to ignore: caches and the scheduler settle.
const IGNORED_MESSAGES: usize = 1000;

pub(crate) fn even(bench: &mut Bench) -> Outcome<()> {
    check_even(bench, &[])
}

/// The client busy-polls, so that its wake-up time is excluded.
pub(crate) fn even_spinning(bench: &mut Bench) -> Outcome<()> {
    check_even(bench, &["--spin", "200us"])
}

fn check_even(bench: &mut Bench, more_options: &[&str]) -> Outcome<()> {
    const GAP_NS: f64 = 100_000.0;
    let (results, arrivals_ns) = run_and_observe(bench, &[&["--rate", "10k"], more_options].concat())?;
    let gaps = gaps(&arrivals_ns[IGNORED_MESSAGES.min(arrivals_ns.len() / 2)..]);
    let mean = statistics::mean(&gaps);
    let is_even = (mean - GAP_NS).abs() <= GAP_NS * 1e-3;
    bench.judge("mean gap", &format!("{:.4} µs", mean / 1e3), "100 µs ± 0.1 %", is_even);
    row("standard deviation", &in_micros(statistics::standard_deviation(&gaps)), "");
    row(
        "p1, p99",
        &format!("{}, {}", in_micros(statistics::at(&gaps, 0.01)), in_micros(statistics::at(&gaps, 0.99))),
        "",
    );
    let late = lateness(&arrivals_ns, GAP_NS);
    let outside = [0.5, 0.99].map(|quantile| in_micros(statistics::at(&late, quantile)));
    row("late by, p50, p99", &outside.join(", "), "measured by the server");
    let inside = [at(&results.histograms.send_delay, 0.5)?, at(&results.histograms.send_delay, 0.99)?].map(micros);
    row("send delay, p50, p99", &inside.join(", "), "reported by the client");
    Ok(())
}

/// Two messages cannot leave at the same time: a gap shorter than a send becomes as long as one. At 2,000 messages per
/// second and some 5 µs per send that is one gap in a hundred, which the test just tolerates.
pub(crate) fn poisson(bench: &mut Bench) -> Outcome<()> {
    check_poisson(bench, &[])
}

pub(crate) fn poisson_spinning(bench: &mut Bench) -> Outcome<()> {
    check_poisson(bench, &["--spin", "20ms"])
}

fn check_poisson(bench: &mut Bench, more_options: &[&str]) -> Outcome<()> {
    const MEAN_NS: f64 = 500_000.0;
    const BIN_NS: u64 = 20_000_000;
    let load = ["--rate", "2000", "--arrivals", "poisson", "--seed", "1"];
    let (_, arrivals_ns) = run_and_observe(bench, &[&load, more_options].concat())?;
    let gaps = gaps(&arrivals_ns);
    row("mean gap", &in_micros(statistics::mean(&gaps)), "500 µs expected");
    row(
        "standard deviation",
        &in_micros(statistics::standard_deviation(&gaps)),
        "the same for an exponential distribution",
    );
    let ((distance, at), critical) = (distance_from_exponential(&gaps, MEAN_NS), critical_distance(gaps.len()));
    let target = format!("<= {critical:.4} (1 %)");
    bench.judge("distance from exponential", &format!("{distance:.4}"), &target, distance <= critical);
    row("  at a gap of", &in_micros(at), "");
    row("shortest 1 % of the gaps, up to", &in_micros(statistics::at(&gaps, 0.01)), "5 µs expected");
    let (dispersion, allowed) = dispersion(&arrivals_ns, BIN_NS);
    let target = format!("1 ± {allowed:.3} (1 %)");
    let is_one = (dispersion - 1.0).abs() <= allowed;
    bench.judge("in 20 ms, variance / mean", &format!("{dispersion:.3}"), &target, is_one);
    Ok(())
}

/// Runs the client against an arrival server. Returns the client's results and the arrival times.
fn run_and_observe(bench: &mut Bench, load: &[&str]) -> Outcome<(RunResults, Vec<u64>)> {
    let server = ArrivalServer::start(&bench.setup.cpus, Behaviour { polls: true, ..Behaviour::default() })?;
    let duration = option(bench.window());
    let results = run(bench, server.port, &[&["-c", "50", "--duration", &duration], load].concat())?;
    let arrivals_ns = server.finish()?.arrivals_ns;
    if arrivals_ns.len() < 3 {
        return Err(format!("{} messages are too few", arrivals_ns.len()));
    }
    let (seen, due) = (arrivals_ns.len() as u64, results.messages.due.unwrap_or_default());
    let is_same = seen == due && due == results.messages.sent;
    bench.judge("messages seen", &count(seen), &format!("{}, as due", count(due)), is_same);
    Ok((results, arrivals_ns))
}

fn in_micros(nanos: f64) -> String {
    micros(nanos / 1e3)
}
