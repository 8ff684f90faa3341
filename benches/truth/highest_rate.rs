//! The search for the highest rate, against servers of a known capacity.

use std::time::Duration;

use crate::capacity_server::{Capacity, CapacityServer};
use crate::client::{Client, run};
use crate::common::Outcome;
use crate::common::figures::grouped;
use crate::context::{Bench, option, row};

/// Replies have the size of messages, and are not compared: the servers do not keep what they received.
const LOAD: [&str; 4] = ["-c", "16", "--reply-size", "64"];

/// Searches that must end within this share of the capacity: all.
const MAX_ERROR: f64 = 0.05;

pub(crate) fn token_bucket(bench: &mut Bench) -> Outcome<()> {
    let rate = 10_000.0;
    let server = CapacityServer::start(&bench.setup.cpus, Capacity::PerSecond(rate))?;
    searches(bench, server.port, rate)
}

/// The system calls of a message are part of its cost, so a closed loop measures the capacity.
pub(crate) fn work_per_message(bench: &mut Bench) -> Outcome<()> {
    let server = CapacityServer::start(&bench.setup.cpus, Capacity::Work(Duration::from_micros(20)))?;
    let closed = run(bench, server.port, &[&LOAD[..], &["--duration", &option(bench.window())]].concat())?;
    row("capacity in a closed loop, messages/s", &grouped(closed.rate()), "");
    searches(bench, server.port, closed.rate())
}

fn searches(bench: &mut Bench, port: u16, capacity: f64) -> Outcome<()> {
    let quick = ["--find-max", "p50<20ms", "--rate", "1k..4k", "--duration", "1s", "--find-budget", "12s"];
    let whole = ["--find-max", "p99<20ms", "--rate", "1k..200k"];
    let search = if bench.setup.options.quick { &quick[..] } else { &whole[..] };
    let mut within = 0;
    for round in 1..=bench.setup.options.rounds {
        let results = Client::start(bench, port, &[&LOAD[..], search].concat())?.results()?;
        let found = results.find_max.as_ref().ok_or("the client did not search")?;
        let holds = found.holds.unwrap_or_default();
        within += usize::from(found.confirmed && (holds / capacity - 1.0).abs() <= MAX_ERROR);
        let remark = format!("{:.3} of the capacity, {:?}, {:.0} s", holds / capacity, found.end, found.search_s);
        row(&format!("search {round}, messages/s"), &grouped(holds), &remark);
    }
    let rounds = bench.setup.options.rounds;
    bench.judge("searches within 5 % of the capacity", &format!("{within} of {rounds}"), "all", within == rounds);
    Ok(())
}
