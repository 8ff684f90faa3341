//! Servers whose latency is known: one that is late by a fixed time, one that stands still for a while.

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

/// A run must be longer than the stop, with time before and after it.
const SHORTEST_RUN: Duration = Duration::from_secs(4);

/// Stops that take longer to begin have a fault.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn delayed(bench: &mut Bench) -> Outcome<()> {
    const MICROS: f64 = 5000.0;
    let server = bench.server(&["--reply-delay", "5ms"])?;
    let (duration, warm_up) = (option(bench.window()), option(bench.setting.options.warm_up()));
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..bench.setting.options.rounds {
        let work = ["-c", "50", "--rate", "1000", "--duration", &duration, "--warm-up", &warm_up];
        let times = run(bench, server.port, &work)?.histograms;
        figures[0].push(at(&times.latency_from_due, 0.5)?);
        figures[1].push(at(&times.latency_from_due, 0.99)?);
        figures[2].push(at(&times.latency_from_send, 0.5)?);
        figures[3].push(at(&times.latency_from_send, 0.99)?);
    }
    let is_p50: fn(f64) -> bool = |figure| (figure - MICROS).abs() <= 100.0;
    let is_p99: fn(f64) -> bool = |figure| (figure - MICROS).abs() <= 500.0;
    bench.judge_micros("p50 from due", &figures[0], "5 ms ± 100 µs", is_p50);
    bench.judge_micros("p99 from due", &figures[1], "5 ms ± 500 µs", is_p99);
    bench.judge_micros("p50 from send", &figures[2], "5 ms ± 100 µs", is_p50);
    bench.judge_micros("p99 from send", &figures[3], "5 ms ± 500 µs", is_p99);
    Ok(())
}

/// As many messages under way as are due.
pub(crate) fn stopped(bench: &mut Bench) -> Outcome<()> {
    stop_within(bench, &["-c", "50"])
}

/// A message waits for the one before it: then those that were in flight when the server stopped are all that is seen of
/// it from the send, four of ten thousand.
pub(crate) fn stopped_closed(bench: &mut Bench) -> Outcome<()> {
    stop_within(bench, &["-c", "4", "--pipeline", "1"])
}

/// Whoever was due in the first part of the stop waited for longer than the rest of it: the share of the stop by which it
/// is longer than the threshold, times the rate.
fn stop_within(bench: &mut Bench, connections: &[&str]) -> Outcome<()> {
    let quick = bench.setting.options.quick;
    let (stop_ms, threshold_ms, shortest) =
        if quick { (140, 100, Duration::from_millis(500)) } else { (1400, 1000, SHORTEST_RUN) };
    let (stop, threshold) = (Duration::from_millis(stop_ms), Duration::from_millis(threshold_ms));
    let window = bench.window().max(shortest);
    let server = bench.server(&[])?;
    let work = ["--rate", "1000", "--duration", &option(window)];
    let client = Client::start(bench, server.port, &[connections, &work].concat())?;
    thread::sleep(window / 3);
    let stopped = stop_for(&server, stop)?;
    let record = client.record()?;
    check(&record)?;
    tell(bench, &record, stopped, threshold)
}

fn tell(bench: &mut Bench, record: &RunResults, stopped: Duration, threshold: Duration) -> Outcome<()> {
    let times = &record.histograms;
    let expected = stopped.saturating_sub(threshold).as_secs_f64() * RATE;
    let slow = longer_than(&times.latency_from_due, threshold) as f64;
    row("the server stood still for", &micros(stopped.as_secs_f64() * 1e6), "");
    let p99 = at(&times.latency_from_due, 0.99)?;
    bench.judge("p99 from due", &micros(p99), "> 1.1 s", p99 > 1.1e6);
    let label = format!("from due longer than {threshold:?}");
    let is_near = (slow - expected).abs() <= expected * 0.05;
    bench.judge(&label, &format!("{slow:.0} messages"), &format!("{expected:.0} ± 5 %"), is_near);
    row("p99 from send", &micros(at(&times.latency_from_send, 0.99)?), "what counting from the send would say");
    row("lag, p99", &micros(at(&times.lag, 0.99)?), "the stop is not the client's");
    let label = format!("from send longer than {threshold:?}");
    row(&label, &format!("{} messages", count(longer_than(&times.latency_from_send, threshold))), "");
    Ok(())
}

/// Stops the server, by its own id, and returns for how long it certainly stood still.
fn stop_for(server: &Server, time: Duration) -> Outcome<Duration> {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).ok_or("the server has no id")?;
    let signal = |signal| kill_process(pid, signal).map_err(|error| format!("cannot signal the server: {error}"));
    signal(Signal::STOP)?;
    let asked = Instant::now();
    while !procfs::is_stopped(server.pid())? {
        if asked.elapsed() > STOP_TIMEOUT {
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
