//! Service time, compared with that of a server that measures its own.

use crate::arrival_server::{ArrivalServer, Behaviour, ReplyAt};
use crate::client::{interpolated, run};
use crate::common::Outcome;
use crate::context::{Bench, micros, option};
use crate::statistics;

/// The server knows the time from a message's arrival until its reply left, both by the kernel's timestamps. The client's
/// service time contains more: its system call up to the arrival of the message, and the way of the reply over loopback.
pub(crate) fn known(bench: &mut Bench) -> Outcome<()> {
    let behaviour = Behaviour { reply_at: Some(jittered()), polls: true, stamps_replies: true, ..Behaviour::default() };
    let server = ArrivalServer::start(&bench.setup.cpus, behaviour)?;
    let work = ["-c", "50", "--rate", "1000", "--duration", &option(bench.window())];
    let seen = run(bench, server.port, &work)?.histograms.service_time;
    let known_ns = server.finish()?.service_ns;
    for (name, quantile, allowed) in [("p50", 0.5, 5.0), ("p99", 0.99, 20.0)] {
        let (known, seen) = (statistics::at(&known_ns, quantile) / 1e3, interpolated(&seen, quantile)?);
        let figure = format!("{seen:.1} - {known:.1} = {}", micros(seen - known));
        let is_near = (seen - known).abs() <= allowed;
        bench.judge(&format!("service time, {name}"), &figure, &format!("± {allowed} µs"), is_near);
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
