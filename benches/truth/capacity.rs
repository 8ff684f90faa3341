//! How far the client goes: how late it is under a high load, and from which rate on it says that its runs are not valid.

use multiconn::results::RunResults;

use crate::client::{Client, at, check, run};
use crate::common::Outcome;
use crate::common::figures::grouped;
use crate::context::{Bench, count, option, row, row_micros};

pub(crate) fn lag(bench: &mut Bench) -> Outcome<()> {
    let server = bench.server(&[])?;
    let (duration, warm_up) = (option(bench.window()), option(bench.setting.options.warm_up()));
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..bench.setting.options.rounds {
        let work = ["-c", "100", "--rate", "100k", "--duration", &duration, "--warm-up", &warm_up];
        let lag = run(bench, server.port, &work)?.histograms.lag;
        p50.push(at(&lag, 0.5)?);
        p99.push(at(&lag, 0.99)?);
    }
    row_micros("lag, p50", &p50);
    bench.judge_micros("lag, p99", &p99, "< 200 µs", |figure| figure < 200.0);
    Ok(())
}

/// Doubles the rate until a run is not valid, and halves the distance between the last two until they are near. The server
/// answers after 5 ms: beside the few tens of microseconds of a bare echo every lag is large.
pub(crate) fn highest_rate(bench: &mut Bench) -> Outcome<()> {
    const NEAR: f64 = 1.05;
    const LEAST: f64 = 100.0;
    let (first, most) = if bench.setting.options.quick { (1000.0, 4000.0) } else { (10_000.0, 10_000_000.0) };
    let server = bench.server(&["--reply-delay", "5ms"])?;
    let (mut valid, mut invalid) = (0.0, None);
    let mut rate: f64 = first;
    while rate <= most {
        match objection(bench, server.port, rate)? {
            None => valid = rate,
            Some(why) => invalid = Some((rate, why)),
        }
        rate = match &invalid {
            Some((high, _)) if high / valid <= NEAR || *high < LEAST => break,
            Some((high, _)) if valid == 0.0 => high / 2.0,
            Some((high, _)) => f64::midpoint(valid, *high).round(),
            None => valid * 2.0,
        };
    }
    row("highest valid rate, messages/s", &grouped(valid), "");
    if let Some((rate, why)) = invalid {
        row("not valid any more at", &grouped(rate), &why);
    }
    Ok(())
}

/// What speaks against a run at this rate, twice in a row: what else the machine has to do may hit one.
fn objection(bench: &Bench, port: u16, rate: f64) -> Outcome<Option<String>> {
    if complaint(&attempt(bench, port, rate)?).is_none() {
        return Ok(None);
    }
    Ok(complaint(&attempt(bench, port, rate)?))
}

fn attempt(bench: &Bench, port: u16, rate: f64) -> Outcome<RunResults> {
    let (rate, duration) = (format!("{rate:.0}"), option(bench.short_window()));
    let warm_up = option(bench.setting.options.warm_up());
    let work = ["-c", "100", "--rate", &rate, "--duration", &duration, "--warm-up", &warm_up, "--reply-timeout", "5s"];
    Client::start(bench, port, &work)?.record()
}

/// What speaks against a run.
fn complaint(record: &RunResults) -> Option<String> {
    let withheld = record.messages.withheld;
    let held_back = (withheld > 0).then(|| format!("the server left no room for {} messages", count(withheld)));
    record.reasons.first().cloned().or(held_back).or_else(|| check(record).err())
}
