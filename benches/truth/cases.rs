//! Benchmark cases.

use crate::common::Outcome;
use crate::context::Bench;
use crate::{capacity, corruption, cost, disturbance, first_run, highest_rate, known_service, latency, pacing};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Bench) -> Outcome<()>,
}

pub(crate) const ALL: [Case; 19] = [
    Case { name: "first-run: no options but the rate, 50 conns, 100/s to 50,000/s", run: first_run::marks },
    Case { name: "delay: a server that answers after 5 ms, 50 conns, 1,000/s", run: latency::delayed },
    Case { name: "known-service: a server that measures its own, 5 ms, 50 conns", run: known_service::known },
    Case { name: "stop: a stopped server, 50 conns, 1,000/s", run: latency::stopped },
    Case { name: "stop: the same, 4 conns, one message in flight each", run: latency::stopped_closed },
    Case { name: "disturbed: two busy programs on the client's CPU, 1 conn", run: disturbance::shared_cpu },
    Case {
        name: "stalled: the client is stopped for 300 µs every 10 ms, 50 conns, 30,000/s",
        run: disturbance::stalls,
    },
    Case { name: "pacing: even arrivals, seen by the server, 50 conns, 10,000/s", run: pacing::even },
    Case { name: "pacing: even arrivals, the client spins", run: pacing::even_spinning },
    Case { name: "pacing: Poisson arrivals, seen by the server, 50 conns, 2,000/s", run: pacing::poisson },
    Case { name: "pacing: Poisson arrivals, the client spins", run: pacing::poisson_spinning },
    Case { name: "cost: compared with a bare loop, 64 conns, 64 B, 1 in flight", run: cost::speed },
    Case { name: "cost: kernel timestamps, 64 B, 1 in flight", run: cost::timestamps },
    Case { name: "cost: memory per connection, one message in flight", run: cost::memory },
    Case { name: "limits: send delay at 100,000/s", run: capacity::send_delay },
    Case { name: "limits: the highest valid rate, 100 conns", run: capacity::highest_rate },
    Case { name: "find-max: a token bucket of 10,000/s, 16 conns", run: highest_rate::token_bucket },
    Case { name: "find-max: 20 µs of CPU per message, 16 conns", run: highest_rate::work_per_message },
    Case { name: "corruption: one bit is flipped", run: corruption::one_bit },
];
