//! Latency of servers with known behaviour: one with a fixed reply delay, one that is stopped for a while.

use std::thread;
use std::time::{Duration, Instant};

use multiconn::results::RunResults;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, at, check, longer_than, run};
use crate::common::child::Server;
use crate::common::{Outcome, procfs};
use crate::context::{Bench, count, micros, option, row};

/// Messages per second.
const RATE: f64 = 1000.0;

/// Minimum length of a run: longer than the stop, with time before and after it.
const MIN_RUN: Duration = Duration::from_secs(4);

/// Timeout for the server to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn delayed(bench: &mut Bench) -> Outcome<()> {
    const MICROS: f64 = 5000.0;
    let server = bench.server(&["--reply-delay", "5ms"])?;
    let (duration, warm_up) = (option(bench.window()), option(bench.setup.options.warm_up()));
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..bench.setup.options.rounds {
        let work = ["-c", "50", "--rate", "1000", "--duration", &duration, "--warm-up", &warm_up];
        let times = run(bench, server.port, &work)?.histograms;
        figures[0].push(at(&times.response_time, 0.5)?);
        figures[1].push(at(&times.response_time, 0.99)?);
        figures[2].push(at(&times.service_time, 0.5)?);
        figures[3].push(at(&times.service_time, 0.99)?);
    }
    let is_p50: fn(f64) -> bool = |figure| (figure - MICROS).abs() <= 100.0;
    let is_p99: fn(f64) -> bool = |figure| (figure - MICROS).abs() <= 500.0;
    bench.judge_micros("p50 response time", &figures[0], "5 ms ± 100 µs", is_p50);
    bench.judge_micros("p99 response time", &figures[1], "5 ms ± 500 µs", is_p99);
    bench.judge_micros("p50 service time", &figures[2], "5 ms ± 100 µs", is_p50);
    bench.judge_micros("p99 service time", &figures[3], "5 ms ± 500 µs", is_p99);
    Ok(())
}

/// With as many messages in flight as are due.
pub(crate) fn stopped(bench: &mut Bench) -> Outcome<()> {
    stop_within(bench, &["-c", "50"])
}

/// With one message in flight per connection. Only the messages in flight when the server stops show the stop in the
/// service time: four of ten thousand.
pub(crate) fn stopped_closed(bench: &mut Bench) -> Outcome<()> {
    stop_within(bench, &["-c", "4", "--pipeline", "1"])
}

/// Messages due in the first part of the stop wait longer than the threshold. Their expected number is the time by
/// which the stop exceeds the threshold, times the rate.
fn stop_within(bench: &mut Bench, connections: &[&str]) -> Outcome<()> {
    let quick = bench.setup.options.quick;
    let (stop_ms, threshold_ms, min_run) =
        if quick { (140, 100, Duration::from_millis(500)) } else { (1400, 1000, MIN_RUN) };
    let (stop, threshold) = (Duration::from_millis(stop_ms), Duration::from_millis(threshold_ms));
    let window = bench.window().max(min_run);
    let server = bench.server(&[])?;
    let work = ["--rate", "1000", "--duration", &option(window)];
    let client = Client::start(bench, server.port, &[connections, &work].concat())?;
    thread::sleep(window / 3);
    let stopped = stop_for(&server, stop)?;
    let results = client.results()?;
    check(&results)?;
    report(bench, &results, stopped, threshold)
}

fn report(bench: &mut Bench, results: &RunResults, stopped: Duration, threshold: Duration) -> Outcome<()> {
    let times = &results.histograms;
    let expected = stopped.saturating_sub(threshold).as_secs_f64() * RATE;
    let slow = longer_than(&times.response_time, threshold) as f64;
    row("the server was stopped for", &micros(stopped.as_secs_f64() * 1e6), "");
    let p99 = at(&times.response_time, 0.99)?;
    bench.judge("p99 response time", &micros(p99), "> 1.1 s", p99 > 1.1e6);
    let label = format!("response time above {threshold:?}");
    let is_near = (slow - expected).abs() <= expected * 0.05;
    bench.judge(&label, &format!("{slow:.0} messages"), &format!("{expected:.0} ± 5 %"), is_near);
    row("p99 service time", &micros(at(&times.service_time, 0.99)?), "without the wait before the send");
    row("send delay, p99", &micros(at(&times.send_delay, 0.99)?), "not affected by the stop");
    let label = format!("service time above {threshold:?}");
    row(&label, &format!("{} messages", count(longer_than(&times.service_time, threshold))), "");
    Ok(())
}

/// Stops the server by its PID. Returns a lower bound of the time for which it was stopped.
fn stop_for(server: &Server, time: Duration) -> Outcome<Duration> {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).ok_or("the server has no PID")?;
    let signal = |signal| kill_process(pid, signal).map_err(|error| format!("cannot signal the server: {error}"));
    signal(Signal::STOP)?;
    let signalled = Instant::now();
    while !procfs::is_stopped(server.pid())? {
        if signalled.elapsed() > STOP_TIMEOUT {
            return Err(format!("the server did not stop within {STOP_TIMEOUT:?}"));
        }
        thread::yield_now();
    }
    let begin = Instant::now();
    thread::sleep(time);
    let stopped = begin.elapsed();
    signal(Signal::CONT)?;
    Ok(stopped)
}
