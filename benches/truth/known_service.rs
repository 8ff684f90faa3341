//! Service time, compared with that of a server that measures its own.

use crate::arrival_server::{ArrivalServer, Behaviour, ReplyAt};
use crate::client::{interpolated, run};
use crate::common::Outcome;
use crate::context::{Bench, micros, option};
use crate::statistics;

/// Rates, with and without busy polling. Between two messages the client's CPU sleeps, and its next system call then takes
/// longer. One message is in flight per connection.
const LOADS: [&[&str]; 4] =
    [&["--rate", "1k"], &["--rate", "5k"], &["--rate", "1k", "--spin", "1ms"], &["--rate", "5k", "--spin", "1ms"]];

/// The server knows the time from a message's arrival until its reply left, both by the kernel's timestamps. The client's
/// service time contains more: its system call up to the arrival of the message, and the way of the reply over loopback.
pub(crate) fn known(bench: &mut Bench) -> Outcome<()> {
    LOADS.iter().try_for_each(|load| known_under(bench, load))
}

fn known_under(bench: &mut Bench, load: &[&str]) -> Outcome<()> {
    let behaviour = Behaviour { reply_at: Some(jittered()), polls: true, stamps_replies: true, ..Behaviour::default() };
    let server = ArrivalServer::start(&bench.setup.cpus, behaviour)?;
    let duration = option(bench.window());
    let work = [&["-c", "50", "--duration", &duration], load].concat();
    let seen = run(bench, server.port, &work)?.histograms.service_time;
    let known_ns = server.finish()?.service_ns;
    for (name, quantile, allowed) in [("p50", 0.5, 5.0), ("p99", 0.99, 20.0)] {
        let (known, seen) = (statistics::at(&known_ns, quantile) / 1e3, interpolated(&seen, quantile)?);
        let figure = format!("{seen:.1} - {known:.1} = {}", micros(seen - known));
        let is_near = (seen - known).abs() <= allowed;
        bench.judge(&format!("{}, {name}", load.join(" ")), &figure, &format!("± {allowed} µs"), is_near);
    }
    Ok(())
}

/// Replies after 4 to 6 ms, evenly distributed and in no order (Weyl sequence of the golden ratio).
fn jittered() -> ReplyAt {
    let mut number = 0_u64;
    Box::new(move |arrived_ns| {
        number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        arrived_ns + 4_000_000 + (((number >> 32) * 2_000_000) >> 32)
    })
}
