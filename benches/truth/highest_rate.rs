//! The search for the highest rate, against servers of a known capacity.

use crate::arrival_server::{ArrivalServer, Behaviour, one_per};
use crate::client::Client;
use crate::common::Outcome;
use crate::common::figures::grouped;
use crate::context::{Bench, row};

const NANOS_PER_SECOND: f64 = 1e9;

/// Searches that must end within this share of the capacity: all.
const MAX_ERROR: f64 = 0.05;

/// 10,000 messages per second, and 50 at once after a pause.
pub(crate) fn token_bucket(bench: &mut Bench) -> Outcome<()> {
    searches(bench, 100_000, 5_000_000, false)
}

/// 50,000 messages per second. The system calls of a message are part of its 20 µs.
pub(crate) fn work_per_message(bench: &mut Bench) -> Outcome<()> {
    searches(bench, 20_000, 0, true)
}

fn searches(bench: &mut Bench, gap_ns: u64, burst_ns: u64, polls: bool) -> Outcome<()> {
    let capacity = NANOS_PER_SECOND / gap_ns as f64;
    let quick = ["--find-max", "p50<20ms", "--rate", "1k..4k", "--duration", "1s", "--find-budget", "12s"];
    let whole = ["--find-max", "p95<20ms", "--rate", "2k..200k", "--duration", "10s"];
    let search = if bench.setup.options.quick { &quick[..] } else { &whole[..] };
    let mut within = 0;
    for round in 1..=bench.setup.options.rounds {
        let behaviour = Behaviour { reply_at: Some(one_per(gap_ns, burst_ns)), polls, ..Behaviour::default() };
        let server = ArrivalServer::start(&bench.setup.cpus, behaviour)?;
        let results = Client::start(bench, server.port, &[&["-c", "16"], search].concat())?.results()?;
        server.finish()?;
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
