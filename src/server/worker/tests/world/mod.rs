//! World: the real worker with its acceptor, admission, timers and drain on a simulated kernel, and peers that check what
//! they receive.
//!
//! A seed determines everything: the configuration, which faults occur, and what the peers do. After each round of the
//! loop the [invariants](invariants) are checked. Once the faults stop, every connection must end soon.
//! `scripts/simulate` runs many seeds; `MULTICONN_SEED` repeats one.

mod invariants;
mod peer;
mod plan;
mod proxy_header;
mod record;
mod services;
mod upstream;

use crate::buffer::MemoryAccount;
use crate::connection::CloseReason;
use crate::event_loop::{EventLoop, Handler};
use crate::server::acceptor::Purpose;
use crate::server::admission::Admission;
use crate::server::counters::Counters;
use crate::server::handover::Handover;
use crate::server::malformed::MalformedCount;
use crate::server::message::ServerHandle;
use crate::server::process::Process;
use crate::server::resolver::Resolver;
use crate::server::service_manager::ServiceManager;
use crate::server::shared::Shared;
use crate::server::worker::{Job, Worker};
use crate::service::Context;
use crate::simulated_kernel::{Kernel, Nanos, Rng, Script, SimulatedListener, with};
use crate::socket::{Address, Listener, Stream, TlsStream};
use invariants::Invariants;
use peer::Peer;
use plan::{Ending, Plan};
use record::{Record, Records};
use services::Watched;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};
use upstream::Upstreams;

/// Seeds that failed once.
const FOUND: [u64; 0] = [];

/// Seeds without `MULTICONN_SEEDS`.
const DEFAULT_SEEDS: u64 = 5_000;

/// More rounds than any world needs.
const MAX_ROUNDS: u64 = 200_000;

/// How long after the end of the faults all connections have ended: the pauses of an acceptor, the delays of services, and
/// the linger time of one connection after another.
const GRACE: Nanos = 40 * SECOND;

const SECOND: Nanos = 1_000_000_000;
const MILLISECOND: Nanos = 1_000_000;

/// What a world did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    rounds: u64,
    calls: u64,
    accepted: u64,
    /// Those of a server that expects PROXY protocol headers.
    with_headers: u64,
    /// Connections to upstreams.
    outgoing: u64,
    trace: u64,
}

thread_local! {
    /// Connections that the worker has closed since the last round: the endpoint of the peer, and the reason.
    static CLOSED: RefCell<Vec<(usize, CloseReason)>> = const { RefCell::new(Vec::new()) };
}

/// The worker closes a connection.
pub(in crate::server::worker) fn on_closed(socket: &Stream, reason: CloseReason) {
    let stream = socket.tls().map_or(socket, TlsStream::socket);
    if let Stream::Simulated(stream) = stream {
        let client = with(|kernel| kernel.peer_of(stream.endpoint()));
        CLOSED.with_borrow_mut(|closed| closed.push((client, reason)));
    }
}

fn take_closed() -> Vec<(usize, CloseReason)> {
    CLOSED.take()
}

/// Ends the faults, and later the server.
struct Director {
    plan: Rc<Plan>,
    records: Records,
    handle: ServerHandle,
    is_quiet: bool,
}

impl Script for Director {
    fn run(&mut self, kernel: &mut Kernel, number: usize) {
        let mut records = self.records.borrow_mut();
        if !self.is_quiet && kernel.now >= self.plan.quiet_at {
            self.is_quiet = true;
            kernel.faults.cease();
            records.is_quiet = true;
            kernel.run_all();
        }
        if records.ended_at.is_none() && kernel.now >= self.plan.end_at {
            if kernel.now >= self.plan.quiet_at + GRACE {
                records.check_all_ended(kernel);
            }
            records.ended_at = Some(kernel.now);
            match self.plan.ending {
                Ending::Drain => self.handle.drain(),
                Ending::Stop => self.handle.stop(),
            }
        }
        for time in [self.plan.quiet_at, self.plan.end_at] {
            if time > kernel.now {
                kernel.run_at(time, number);
            }
        }
    }
}

/// Runs the world of `seed`.
fn run(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let plan = Rc::new(Plan::new(&mut rng));
    with(|kernel| kernel.reset(rng, plan.faults.clone()));
    let records = Records::default();
    records.borrow_mut().peers = plan.peers.iter().map(|_| Record::default()).collect();
    let mut event_loop = EventLoop::spinning(Duration::ZERO).expect("the loop is simulated");
    let shared = Arc::new(new_shared(&plan, ServerHandle { workers: vec![event_loop.sender()] }));
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 7));
    let listener = SimulatedListener::bind(address, plan.backlog);
    with(|kernel| {
        let (plan, records) = (Rc::clone(&plan), Rc::clone(&records));
        let handle = shared.handle.clone();
        kernel.add_script(
            Box::new(Director { plan: Rc::clone(&plan), records: Rc::clone(&records), handle, is_quiet: false }),
            0,
        );
        for number in 0..plan.peers.len() {
            let peer = Peer::new(Rc::clone(&plan), number, Rc::clone(&records));
            kernel.add_script(Box::new(peer), plan.peers[number].begins);
        }
        kernel.set_destination(Box::new(Upstreams::new(plan, records)));
    });
    let listeners = vec![(Purpose::Service, Listener::Simulated(listener))];
    let (made_plan, made) = (Rc::clone(&plan), Rc::clone(&records));
    let make_service = move |context: &mut Context<'_>| -> Watched {
        let Address::Ip(peer) = context.peer() else { unreachable!("peers have IP addresses") };
        Watched::new(Rc::clone(&made_plan), usize::from(peer.port()), Rc::clone(&made), context)
    };
    let mut job = Job { event_loop, listeners, datagrams: Vec::new() };
    let mut worker = Worker::new(&shared, Box::new(make_service), 0, &mut job).expect("the worker starts");
    event_loop = job.event_loop;
    let mut invariants = Invariants::new(Rc::clone(&plan), Rc::clone(&records));
    worker.open_sockets(event_loop.context()).expect("the sockets are registered");
    event_loop.begin(&mut worker);
    let mut rounds = 0;
    while !worker.is_done() {
        event_loop.round(&mut worker).expect("the poll works");
        invariants.check(&worker, event_loop.context());
        rounds += 1;
        assert!(rounds < MAX_ROUNDS, "the world does not end");
    }
    invariants.check_end(&worker, event_loop.context());
    drop(worker);
    let counters = &shared.counters[0];
    let (accepted, outgoing) = (counters.accepted.get(), counters.outgoing.opened.get());
    with(|kernel| {
        while let Some(time) = kernel.next_action() {
            kernel.advance_to(time);
        }
    });
    invariants.check_peers();
    let with_headers = if plan.config.proxy_protocol { accepted } else { 0 };
    with(|kernel| Outcome { rounds, calls: kernel.calls, accepted, with_headers, outgoing, trace: kernel.trace })
}

fn new_shared(plan: &Plan, handle: ServerHandle) -> Shared {
    let config = plan.config.clone();
    let max_connections = config.max_connections.unwrap_or(1000);
    Shared {
        admission: Admission::new(&config, max_connections),
        memory: MemoryAccount::new(config.memory_limit),
        tls: None,
        last_number: AtomicU64::new(0),
        malformed: MalformedCount::default(),
        running: AtomicUsize::new(1),
        starting: AtomicUsize::new(1),
        handle,
        counters: vec![Counters::default()],
        datagram_ports: Vec::new(),
        process: Process::new(None),
        handover: Handover::new(None, Vec::new(), None),
        service_manager: ServiceManager::new(false),
        resolver: Resolver::new(),
        config,
    }
}

/// Names the seed when its world fails.
struct Failing(u64);

impl Drop for Failing {
    #[allow(clippy::print_stderr, reason = "the seed repeats the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} fails; repeat it with: MULTICONN_SEED={0} scripts/simulate", self.0);
        }
    }
}

fn run_named(seed: u64) -> Outcome {
    let _failing = Failing(seed);
    run(seed)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
#[allow(clippy::print_stderr, reason = "the number of seeds is part of the result")]
fn worlds_keep_the_invariants() {
    for seed in FOUND {
        run_named(seed);
    }
    if let Some(seed) = variable("MULTICONN_SEED") {
        eprintln!("{:?}", Plan::new(&mut Rng::new(seed)));
        eprintln!("seed {seed}: {:?}", run_named(seed));
        return;
    }
    let first = variable("MULTICONN_FIRST_SEED").unwrap_or(1);
    let count = variable("MULTICONN_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let start = Instant::now();
    let [mut rounds, mut accepted, mut with_headers, mut outgoing] = [0; 4];
    for seed in first..first + count {
        let outcome = run_named(seed);
        rounds += outcome.rounds;
        accepted += outcome.accepted;
        with_headers += outcome.with_headers;
        outgoing += outcome.outgoing;
    }
    let took = start.elapsed();
    let per_minute = Duration::from_secs(60).as_nanos() * u128::from(count) / took.as_nanos().max(1);
    eprintln!(
        "{count} seeds, {accepted} connections ({with_headers} with headers), {outgoing} outgoing, {rounds} rounds in {took:.1?}: \
        {per_minute} seeds per minute"
    );
    assert!(accepted > count / 4 && outgoing > count / 40, "the worlds are empty");
    assert!(with_headers > count / 20 || cfg!(not(feature = "proxy-protocol")), "no connection begins with a header");
}

#[test]
fn a_seed_repeats_its_world() {
    for seed in 1..200 {
        assert_eq!(run_named(seed), run_named(seed), "seed {seed}");
    }
}
