//! Client capacity: its send delay under a high load, and the highest rate at which its runs are valid.

use multiconn::results::RunResults;

use crate::client::{Client, at, check, run};
use crate::common::Outcome;
use crate::common::figures::grouped;
use crate::context::{Bench, count, option, row, row_micros};

pub(crate) fn send_delay(bench: &mut Bench) -> Outcome<()> {
    let server = bench.server(&[])?;
    let (duration, warm_up) = (option(bench.window()), option(bench.setup.options.warm_up()));
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..bench.setup.options.rounds {
        let work = ["-c", "100", "--rate", "100k", "--duration", &duration, "--warm-up", &warm_up];
        let delay = run(bench, server.port, &work)?.histograms.send_delay;
        p50.push(at(&delay, 0.5)?);
        p99.push(at(&delay, 0.99)?);
    }
    row_micros("send delay, p50", &p50);
    bench.judge_micros("send delay, p99", &p99, "< 200 µs", |figure| figure < 200.0);
    Ok(())
}

/// Doubles the rate until a run is not valid, then bisects until both rates are within 5 %. The server answers after 5
/// ms: with a bare echo's latency of a few tens of microseconds, any delay would be significant.
pub(crate) fn highest_rate(bench: &mut Bench) -> Outcome<()> {
    const MAX_RATIO: f64 = 1.05;
    const MIN_RATE: f64 = 100.0;
    let (first, max) = if bench.setup.options.quick { (1000.0, 4000.0) } else { (10_000.0, 10_000_000.0) };
    let server = bench.server(&["--reply-delay", "5ms"])?;
    let (mut valid, mut invalid) = (0.0, None);
    let mut rate: f64 = first;
    while rate <= max {
        match repeated_failure(bench, server.port, rate)? {
            None => valid = rate,
            Some(why) => invalid = Some((rate, why)),
        }
        rate = match &invalid {
            Some((high, _)) if high / valid <= MAX_RATIO || *high < MIN_RATE => break,
            Some((high, _)) if valid == 0.0 => high / 2.0,
            Some((high, _)) => f64::midpoint(valid, *high).round(),
            None => valid * 2.0,
        };
    }
    row("highest valid rate, messages/s", &grouped(valid), "");
    if let Some((rate, why)) = invalid {
        row("no longer valid at", &grouped(rate), &why);
    }
    Ok(())
}

/// Why a run at this rate is not valid, if two runs in a row are not. Other activity on the machine may affect a single
/// run.
fn repeated_failure(bench: &Bench, port: u16, rate: f64) -> Outcome<Option<String>> {
    if failure(&attempt(bench, port, rate)?).is_none() {
        return Ok(None);
    }
    Ok(failure(&attempt(bench, port, rate)?))
}

fn attempt(bench: &Bench, port: u16, rate: f64) -> Outcome<RunResults> {
    let (rate, duration) = (format!("{rate:.0}"), option(bench.short_window()));
    let warm_up = option(bench.setup.options.warm_up());
    let work = ["-c", "100", "--rate", &rate, "--duration", &duration, "--warm-up", &warm_up, "--reply-timeout", "5s"];
    Client::start(bench, port, &work)?.results()
}

/// Why a run is not valid.
fn failure(results: &RunResults) -> Option<String> {
    let unsent = results.messages.unsent;
    let blocked = (unsent > 0).then(|| format!("the server left no room for {} messages", count(unsent)));
    results.reasons.first().cloned().or(blocked).or_else(|| check(results).err())
}
