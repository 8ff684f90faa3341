//! Benchmark cases.

use crate::common::Outcome;
use crate::context::Bench;
use crate::{capacity, corruption, cost, latency, pacing};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Bench) -> Outcome<()>,
}

pub(crate) const ALL: [Case; 12] = [
    Case { name: "delay: a server that answers after 5 ms, 50 conns, 1,000/s", run: latency::delayed },
    Case { name: "stop: a stopped server, 50 conns, 1,000/s", run: latency::stopped },
    Case { name: "stop: the same, 4 conns, one message in flight each", run: latency::stopped_closed },
    Case { name: "pacing: even arrivals, seen by the server, 50 conns, 10,000/s", run: pacing::even },
    Case { name: "pacing: even arrivals, the client spins", run: pacing::even_spinning },
    Case { name: "pacing: Poisson arrivals, seen by the server, 50 conns, 500/s", run: pacing::poisson },
    Case { name: "pacing: Poisson arrivals, the client spins", run: pacing::poisson_spinning },
    Case { name: "cost: compared with a bare loop, 64 conns, 64 B, 1 in flight", run: cost::speed },
    Case { name: "cost: memory per connection, one message in flight", run: cost::memory },
    Case { name: "limits: send delay at 100,000/s", run: capacity::send_delay },
    Case { name: "limits: the highest valid rate, 100 conns", run: capacity::highest_rate },
    Case { name: "corruption: one bit is flipped", run: corruption::one_bit },
];
