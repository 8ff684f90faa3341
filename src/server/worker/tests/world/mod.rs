//! World: the real worker with its acceptor, admission, timers and drain on a simulated kernel, and peers that check what
//! they receive.
//!
//! A seed determines everything: the configuration, which faults occur, and what the peers do. After each round of the
//! loop the [invariants](invariants) are checked. Once the faults stop, every connection must end soon.
//! `scripts/simulate` runs many seeds; `MULTICONN_SEED` repeats one.

mod handover;
mod handover_plan;
mod invariants;
mod peer;
mod plan;
mod posted;
mod proxy_header;
mod record;
mod services;
#[cfg_attr(not(feature = "tls"), path = "tls_endpoint_disabled.rs")]
mod tls_endpoint;
mod upstream;

use crate::buffer::MemoryAccount;
use crate::connection::CloseReason;
use crate::event_loop::{EventLoop, Handler};
use crate::server::acceptor::Purpose;
use crate::server::admission::Admission;
use crate::server::counters::{Counters, HandshakeResult};
use crate::server::handover::Handover;
use crate::server::malformed::MalformedCount;
use crate::server::message::{Message, ServerHandle};
use crate::server::process::Process;
use crate::server::resolver::Resolver;
use crate::server::service_manager::ServiceManager;
use crate::server::shared::Shared;
use crate::server::worker::{Job, Worker};
use crate::service::Context;
use crate::simulated_kernel::tests::seeds::{Worlds, per_minute};
use crate::simulated_kernel::{Kernel, Nanos, Script, SimulatedListener, with};
use crate::socket::{Address, Listener, Stream, TlsStream};
use handover::{Operator, Workers};
use invariants::Invariants;
use peer::Peer;
use plan::{Ending, Plan};
use record::{ProcessRecord, Record, Records};
use services::Watched;
use std::cell::{OnceCell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;
use upstream::Upstreams;

/// More rounds than any world needs.
const MAX_ROUNDS: u64 = 200_000;

/// How long after the end of the faults all connections have ended: the pauses of an acceptor, the delays of services, and
/// the linger time of one connection after another.
const GRACE: Nanos = 40 * SECOND;

const SECOND: Nanos = 1_000_000_000;
const MILLISECOND: Nanos = 1_000_000;

/// What a world did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Outcome {
    rounds: u64,
    calls: u64,
    accepted: u64,
    /// Those of a server that expects PROXY protocol headers.
    with_headers: u64,
    /// Those of a server with two workers.
    of_two_workers: u64,
    /// Those of a server with TLS, and how many of them have completed their handshake.
    with_tls: [u64; 2],
    /// Those of a server with handovers, and the numbers of completed and failed handovers.
    with_handovers: u64,
    handovers: [u64; 2],
    /// New processes that serve in the place of one that died.
    replacements: u64,
    /// Connections to upstreams, and how many of them have completed a TLS handshake.
    outgoing: [u64; 2],
    trace: u64,
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.accepted += other.accepted;
        self.with_headers += other.with_headers;
        self.of_two_workers += other.of_two_workers;
        self.outgoing = [0, 1].map(|index| self.outgoing[index] + other.outgoing[index]);
        self.with_handovers += other.with_handovers;
        self.replacements += other.replacements;
        self.handovers = [0, 1].map(|index| self.handovers[index] + other.handovers[index]);
        self.with_tls = [0, 1].map(|index| self.with_tls[index] + other.with_tls[index]);
    }
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
    /// None if an [`Operator`] ends the server.
    handle: Option<ServerHandle>,
    is_quiet: bool,
    has_ended: bool,
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
        if !self.has_ended && kernel.now >= self.plan.end_at {
            self.has_ended = true;
            if kernel.now >= self.plan.quiet_at.max(records.accepts_from).saturating_add(GRACE) {
                records.check_all_ended(kernel);
            }
            if let Some(handle) = &self.handle {
                records.is_ending = true;
                records.processes[0].ended_at = Some(kernel.now);
                records.processes[0].is_stopped = self.plan.ending == Ending::Stop;
                match self.plan.ending {
                    Ending::Drain => handle.drain(),
                    Ending::Stop => handle.stop(),
                }
            }
        }
        for time in [self.plan.quiet_at, self.plan.end_at] {
            if time > kernel.now {
                kernel.run_at(time, number);
            }
        }
    }
}

/// A worker that runs, with its loop.
struct Running<'a> {
    worker: Worker<'a, Watched>,
    event_loop: EventLoop<Message>,
    process: usize,
}

/// Runs the world of `seed`.
fn run(seed: u64) -> Outcome {
    let (plan, rng) = Plan::of(seed);
    let plan = Rc::new(plan);
    with(|kernel| kernel.reset(rng, plan.faults.clone()));
    let records = new_records(&plan);
    let loops = new_loops(plan.config.workers);
    let handle = ServerHandle { workers: loops.iter().map(EventLoop::sender).collect() };
    let processes: Vec<_> = (0..=plan.handovers.len()).map(|_| OnceCell::new()).collect();
    let shared =
        processes[0].get_or_init(|| Arc::new(new_shared(&plan, handle, Handover::new(None, Vec::new(), None))));
    add_scripts(&plan, &records, &shared.handle);
    let mut operator = Operator::new(&plan, &records, &processes);
    let mut workers = start_workers(shared, loops, &plan, &records);
    let mut invariants = Invariants::new(Rc::clone(&plan), Rc::clone(&records));
    let mut rounds = 0;
    while workers.iter().any(Option::is_some) || operator.as_ref().is_some_and(Operator::is_starting) {
        let number = with(Kernel::next_loop);
        rounds += 1;
        assert!(rounds < MAX_ROUNDS, "the world does not end");
        if operator.as_mut().is_some_and(|operator| operator.take_turn(&mut workers, number)) {
            continue;
        }
        let running = workers[number].as_mut().expect("the loop has not ended");
        running.worker.woken.enter();
        running.event_loop.round(&mut running.worker).expect("the poll works");
        invariants.check(&mut workers, number);
        if let Some(mut running) = workers[number].take_if(|running| running.worker.is_done()) {
            let process = running.process;
            invariants.check_end(&running.worker, running.event_loop.context(), process);
            drop(running);
            if let Some(operator) = &mut operator {
                operator.on_ended(&workers, process);
            }
        }
    }
    with(|kernel| {
        while let Some(time) = kernel.next_action() {
            kernel.advance_to(time);
        }
    });
    invariants.check_peers(&processes);
    outcome(&plan, &records, &processes, rounds)
}

fn outcome(plan: &Plan, records: &Records, processes: &[OnceCell<Arc<Shared>>], rounds: u64) -> Outcome {
    let counters = || processes.iter().filter_map(OnceCell::get).flat_map(|shared| &shared.counters);
    let sum = |count: fn(&Counters) -> u64| counters().map(count).sum();
    let accepted = sum(|counters| counters.accepted.get());
    let accepted_if = |condition: bool| if condition { accepted } else { 0 };
    let world = records.borrow();
    with(|kernel| Outcome {
        rounds,
        calls: kernel.calls,
        accepted,
        with_headers: accepted_if(plan.config.proxy_protocol),
        of_two_workers: accepted_if(plan.config.workers > 1),
        with_tls: [accepted_if(plan.has_tls), sum(|counters| counters.handshakes.get(HandshakeResult::Completed))],
        with_handovers: accepted_if(!plan.handovers.is_empty()),
        handovers: [world.completed_handovers, world.failed_handovers],
        replacements: world.replacements,
        outgoing: [
            sum(|counters| counters.outgoing.opened.get()),
            sum(|counters| counters.outgoing.handshakes.get(HandshakeResult::Completed)),
        ],
        trace: kernel.trace,
    })
}

fn new_records(plan: &Plan) -> Records {
    let records = Records::default();
    let mut world = records.borrow_mut();
    world.peers = plan.peers.iter().map(|_| Record::default()).collect();
    world.processes = (0..=plan.handovers.len()).map(|_| ProcessRecord::default()).collect();
    // That of an operator is behind those of the workers.
    world.loops = vec![0; plan.config.workers + 1];
    drop(world);
    records
}

fn new_loops(count: usize) -> Vec<EventLoop<Message>> {
    (0..count).map(|_| EventLoop::spinning(Duration::ZERO).expect("the loop is simulated")).collect()
}

/// Adds the director, the peers and the upstreams.
fn add_scripts(plan: &Rc<Plan>, records: &Records, handle: &ServerHandle) {
    with(|kernel| {
        let (plan, records) = (Rc::clone(plan), Rc::clone(records));
        kernel.add_script(
            Box::new(Director {
                plan: Rc::clone(&plan),
                records: Rc::clone(&records),
                handle: plan.handovers.is_empty().then(|| handle.clone()),
                is_quiet: false,
                has_ended: false,
            }),
            0,
        );
        for number in 0..plan.peers.len() {
            let peer = Peer::new(Rc::clone(&plan), number, Rc::clone(&records));
            kernel.add_script(Box::new(peer), plan.peers[number].begins);
        }
        kernel.set_destination(Box::new(Upstreams::new(plan, records)));
    });
}

/// Starts the workers of the first process, each with a listener of its own.
fn start_workers<'a>(
    shared: &'a Arc<Shared>,
    loops: Vec<EventLoop<Message>>,
    plan: &Rc<Plan>,
    records: &Records,
) -> Workers<'a> {
    let operators = usize::from(!plan.handovers.is_empty());
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 7));
    let start = |(number, event_loop)| {
        with(|kernel| kernel.enter(number));
        let listener = SimulatedListener::bind(address, plan.backlog);
        start_worker(shared, (0, number), (event_loop, listener), plan, records).ok()
    };
    loops.into_iter().enumerate().map(start).chain((0..operators).map(|_| None)).collect()
}

/// Starts worker `number` of a process. One that cannot report that it accepts is returned as an error.
fn start_worker<'a>(
    shared: &'a Arc<Shared>,
    (process, number): (usize, usize),
    (event_loop, listener): (EventLoop<Message>, SimulatedListener),
    plan: &Rc<Plan>,
    records: &Records,
) -> Result<Running<'a>, Box<Running<'a>>> {
    let listeners = vec![(Purpose::Service, Listener::Simulated(listener))];
    let (plan, records) = (Rc::clone(plan), Rc::clone(records));
    let make_service = move |context: &mut Context<'_>| -> Watched {
        let Address::Ip(peer) = context.peer() else { unreachable!("peers have IP addresses") };
        Watched::new(Rc::clone(&plan), usize::from(peer.port()), Rc::clone(&records), context)
    };
    let mut job = Job { event_loop, listeners, datagrams: Vec::new() };
    let worker = Worker::new(shared, Box::new(make_service), number, &mut job).expect("the worker starts");
    let mut running = Running { worker, event_loop: job.event_loop, process };
    if running.worker.open_sockets(running.event_loop.context()).is_err() {
        return Err(Box::new(running));
    }
    running.event_loop.begin(&mut running.worker);
    Ok(running)
}

fn new_shared(plan: &Plan, handle: ServerHandle, handover: Handover) -> Shared {
    let config = plan.config.clone();
    let max_connections = config.max_connections.unwrap_or(1000);
    Shared {
        admission: Admission::new(&config, max_connections),
        memory: MemoryAccount::new(config.memory_limit),
        tls: plan.has_tls.then(tls_endpoint::server),
        last_number: AtomicU64::new(0),
        malformed: MalformedCount::default(),
        running: AtomicUsize::new(config.workers),
        starting: AtomicUsize::new(config.workers),
        handle,
        counters: (0..config.workers).map(|_| Counters::default()).collect(),
        datagram_ports: Vec::new(),
        process: Process::new(None),
        handover,
        service_manager: ServiceManager::new(false),
        resolver: Resolver::new(),
        config,
    }
}

/// Seeds that failed once.
const FOUND: [u64; 6] = [5952, 1_333_712, 1645, 23_284, 2_720_133, 223_438];

/// The worlds of the server.
const WORLDS: Worlds<Outcome> =
    Worlds { name: "server", found: &FOUND, run, describe: |seed| format!("{:?}", Plan::of(seed).0) };

#[test]
#[allow(clippy::print_stderr, reason = "the number of seeds is part of the result")]
fn worlds_keep_the_invariants() {
    let mut all = Outcome::default();
    let ran = WORLDS.run_all(|outcome| all.add(&outcome));
    let Some((count, took)) = ran else { return };
    let Outcome {
        rounds,
        accepted,
        with_headers,
        of_two_workers,
        with_tls,
        with_handovers,
        handovers,
        replacements,
        outgoing,
        ..
    } = all;
    eprintln!(
        "server: {count} seeds, {accepted} connections ({with_headers} with headers, {of_two_workers} of two workers, {} with \
         TLS of which {} have completed their handshake, {with_handovers} with {} completed and {} failed handovers and \
         {replacements} taken over from a dead process), {} outgoing ({} with TLS), {rounds} rounds in {took:.1?}: {} seeds per minute",
        with_tls[0],
        with_tls[1],
        handovers[0],
        handovers[1],
        outgoing[0],
        outgoing[1],
        per_minute((count, took))
    );
    assert!(accepted > count / 4 && outgoing[0] > count / 40, "the worlds are empty");
    assert!(of_two_workers > count / 20, "no server has two workers");
    assert!(handovers.iter().all(|handovers| *handovers > count / 40), "no server hands over");
    assert!(replacements > count / 400, "no process dies");
    assert!(outgoing[1] > count / 400 || cfg!(not(feature = "tls")), "no upstream has TLS");
    assert!(with_tls[1] > count / 100 || cfg!(not(feature = "tls")), "no handshake completes");
    assert!(with_headers > count / 20 || cfg!(not(feature = "proxy-protocol")), "no connection begins with a header");
}

#[test]
fn a_seed_repeats_its_world() {
    WORLDS.check_repetition();
}
