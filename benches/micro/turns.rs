//! One message through a whole connection in memory: scripted socket, buffers, service, deadlines.

use crate::harness::Harness;
use multiconn::service::Echo;
use multiconn::testing::Simulation;
use std::hint::black_box;

pub(crate) fn bench(harness: &Harness) {
    let server = Simulation::new(|_| Echo);
    // Contains the costs of the simulated peer.
    harness.bench_each("simulation/echo", &[64, 16 * 1024], |bytes| {
        let (mut peer, message) = (server.connect(), vec![b'm'; bytes]);
        move || {
            peer.send(black_box(&message));
            peer.receive()
        }
    });
}
