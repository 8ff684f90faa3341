//! What is proven.

use crate::common::Outcome;
use crate::context::Bench;
use crate::{capacity, corruption, cost, latency, pacing};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Bench) -> Outcome<()>,
}

pub(crate) const ALL: [Case; 12] = [
    Case { name: "delay: a server that answers after 5 ms, 50 conns, 1,000/s", run: latency::delayed },
    Case { name: "stop: a server that stands still, 50 conns, 1,000/s", run: latency::stopped },
    Case { name: "stop: the same, 4 conns, one message in flight on each", run: latency::stopped_closed },
    Case { name: "pacing: even arrivals, seen from outside, 50 conns, 10,000/s", run: pacing::even },
    Case { name: "pacing: even arrivals, the client spins", run: pacing::even_spinning },
    Case { name: "pacing: Poisson arrivals, seen from outside, 50 conns, 500/s", run: pacing::poisson },
    Case { name: "pacing: Poisson arrivals, the client spins", run: pacing::poisson_spinning },
    Case { name: "cost: beside a bare loop, 64 conns, 64 B, 1 in flight", run: cost::speed },
    Case { name: "cost: memory per connection, one message in flight", run: cost::memory },
    Case { name: "limits: lag at 100,000/s, 100 conns", run: capacity::lag },
    Case { name: "limits: the highest valid rate, 100 conns", run: capacity::highest_rate },
    Case { name: "liars: one bit is wrong", run: corruption::one_bit },
];
