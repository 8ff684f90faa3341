//! Pacing: whether messages leave when they are due, observed by the server.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use multiconn::results::RunResults;

use crate::arrival_server::{ArrivalServer, Behaviour};
use crate::client::{at, run};
use crate::common::Outcome;
use crate::common::cpus::{CpuRole, move_to};
use crate::common::figures::Spread;
use crate::context::{Bench, count, micros, option, row};
use crate::statistics::{self, critical_distance, dispersion, distance_from_exponential, gaps, lateness};

/// Number of initial messages to ignore: caches and the scheduler settle.
const IGNORED_MESSAGES: usize = 1000;

/// Mean gap of the Poisson arrivals: 2,000 messages per second.
const MEAN_NS: f64 = 500_000.0;

/// Connections that take turns.
const CONNECTIONS: usize = 50;

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
/// second and some 5 µs per send that is one gap in a hundred, which the test just tolerates. Messages that are due while
/// the CPU serves an interrupt, or another virtual machine, leave together as well, whoever sends them. So the same is
/// measured in turn with a thread that does nothing but send: the client should be as near to the distribution.
pub(crate) fn poisson(bench: &mut Bench) -> Outcome<()> {
    check_poisson(bench, &[])
}

pub(crate) fn poisson_spinning(bench: &mut Bench) -> Outcome<()> {
    check_poisson(bench, &["--spin", "20ms"])
}

fn check_poisson(bench: &mut Bench, more_options: &[&str]) -> Outcome<()> {
    const BIN_NS: u64 = 20_000_000;
    let (mut bare_distances, mut distances, mut arrivals_ns) = (Vec::new(), Vec::new(), Vec::new());
    // Each schedule is at some distance itself, by chance: each round has another one.
    for seed in 1..=bench.setup.options.rounds as u64 {
        bare_distances.push(distance_from_exponential(&gaps(&bare_arrivals(bench, seed)?), MEAN_NS).0);
        let load = ["--rate", "2k", "--arrivals", "poisson", "--seed", &seed.to_string()];
        arrivals_ns = run_and_observe(bench, &[&load, more_options].concat())?.1;
        distances.push(distance_from_exponential(&gaps(&arrivals_ns), MEAN_NS).0);
    }
    let [bare, ours] = [bare_distances, distances].map(|distances| Spread::of(distances.into_iter()));
    let critical = critical_distance(arrivals_ns.len());
    row("distance of a bare sender", &format!("{:.4}", bare.median), &format!("{critical:.4} (1 %) by chance"));
    row("  min..max", &bare.range(), "");
    let target = format!("<= {critical:.4}, or 1.2 of the bare sender");
    let is_near = ours.median <= critical.max(1.2 * bare.median);
    bench.judge("distance from exponential", &format!("{:.4}", ours.median), &target, is_near);
    row("  min..max", &ours.range(), "");
    let gaps = gaps(&arrivals_ns);
    row("last round: mean gap", &in_micros(statistics::mean(&gaps)), "500 µs expected");
    let deviation = in_micros(statistics::standard_deviation(&gaps));
    row("  standard deviation", &deviation, "the same for an exponential distribution");
    row("  shortest 1 % of the gaps, up to", &in_micros(statistics::at(&gaps, 0.01)), "5 µs expected");
    let (dispersion, allowed) = dispersion(&arrivals_ns, BIN_NS);
    let target = format!("1 ± {allowed:.3} (1 %)");
    let is_one = (dispersion - 1.0).abs() <= allowed;
    bench.judge("  in 20 ms, variance / mean", &format!("{dispersion:.3}"), &target, is_one);
    Ok(())
}

/// Arrivals of messages that a thread sends at the instants of a Poisson process. It polls the clock and reads nothing.
fn bare_arrivals(bench: &Bench, seed: u64) -> Outcome<Vec<u64>> {
    let server = ArrivalServer::start(&bench.setup.cpus, Behaviour { polls: true, ..Behaviour::default() })?;
    let (port, cpu, window) = (server.port, bench.setup.cpus.only(CpuRole::Load), bench.window());
    let run = move || -> Outcome<()> {
        if let Some(cpu) = cpu {
            move_to(&cpu)?;
        }
        let explain = |error: std::io::Error| format!("cannot send: {error}");
        let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|s| s.set_nodelay(true).map(|()| s));
        let mut streams = (0..CONNECTIONS).map(connect).collect::<Result<Vec<_>, _>>().map_err(explain)?;
        let mut random = seed;
        let start = Instant::now();
        let mut due = Duration::ZERO;
        for number in 0.. {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // In (0, 1], of the upper bits.
            let uniform = ((random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            due += Duration::from_secs_f64(-uniform.ln() * MEAN_NS / 1e9);
            if due > window {
                break;
            }
            while start.elapsed() < due {}
            streams[number % CONNECTIONS].write_all(&[0; 64]).map_err(explain)?;
        }
        Ok(())
    };
    thread::spawn(run).join().map_err(|_| "the bare sender panicked")??;
    server.finish().map(|observed| observed.arrivals_ns)
}

/// Runs the client against an arrival server. Returns the client's results and the arrival times.
fn run_and_observe(bench: &mut Bench, load: &[&str]) -> Outcome<(RunResults, Vec<u64>)> {
    let server = ArrivalServer::start(&bench.setup.cpus, Behaviour { polls: true, ..Behaviour::default() })?;
    let duration = option(bench.window());
    let connections = CONNECTIONS.to_string();
    let results = run(bench, server.port, &[&["-c", &connections, "--duration", &duration], load].concat())?;
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
