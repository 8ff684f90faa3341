//! Load client: opens connections, sends messages, verifies or counts replies, and returns the results.
//!
//! Refused, reset, stalled, closed or wrongly answered connections are counted by cause; the run continues with the
//! others.

#[cfg(feature = "metrics")]
mod admin_pages;
mod arrivals;
mod check;
mod clock;
mod config;
mod connector;
mod cpu_times;
mod debt;
mod dispatcher;
mod driver;
mod failure;
mod find_max;
mod interval_line;
mod machine;
mod metrics;
mod plan;
mod progress;
mod rate_curve;
mod results;
mod seconds;
mod shared;
mod stop_condition;
mod tcp;
mod transport;
mod udp;

pub use crate::event_loop::SignalClaim;
pub use crate::results::Shard;
pub use arrivals::Arrivals;
pub use config::{ClientConfig, Expect, ExpectedText, LoadConfig, UdpOptions};
pub use find_max::{RateSearch, SearchProgress};
pub use progress::{DueSecond, WorkerProgress};
pub use seconds::{Snapshot, SnapshotPhase};
pub use udp::payload::TAG_BYTES;

use crate::error::Error;
use crate::event_loop::{EventLoop, Sender, SignalSet, catch_signals, monotonic_time, run_workers};
use crate::results::RunResults;
use crate::socket::{
    Address, Multicast, Peer, SocketOptions, TlsConnector, check_socket_options, open_towards, raise_descriptor_limit,
};
use cpu_times::MachineTimes;
use debt::DebtTracker;
use driver::{CONNECTOR, Driver, START};
use failure::Failure;
use metrics::WorkerMetrics;
use results::add_workers;
use seconds::{Consumer, Publisher, Seconds};
use shared::{Message, Shared};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::signal_name;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use stop_condition::stop_when;
use tcp::Tcp;
use tcp::interactive::{Interactive, Wake};
use transport::Transport;
use udp::Udp;

/// Signals that a client handles. SIGHUP means that its terminal was closed.
const SIGNALS: SignalSet = SignalSet { ending: &[SIGINT, SIGTERM, SIGHUP], others: &[SIGUSR1, SIGUSR2] };

/// Installs the signal handlers of a client created later with [`handle_signals`](ClientConfig::handle_signals). Called
/// at program start, it catches signals that arrive before the client exists. Until the returned claim is dropped,
/// signals that arrive after the run are ignored.
///
/// # Errors
///
/// [`Error::System`] when sigaction(2) or socketpair(2) fails.
pub fn catch_client_signals() -> Result<SignalClaim, Error> {
    catch_signals(SIGNALS).map_err(Error::system("handle signals"))
}

/// Returns whether `signal` ends the run. Logs a signal that does not.
fn ends_run(signal: i32) -> bool {
    let ends = SIGNALS.ending.contains(&signal);
    if !ends {
        let name = signal_name(signal).unwrap_or("signal");
        log::info!("{name} ignored: SIGINT, SIGTERM and SIGHUP end the run with its report");
    }
    ends
}

/// Stops a running client, from any thread.
#[derive(Debug, Clone)]
pub struct ClientHandle {
    workers: Vec<Sender<Message>>,
    /// The instant of the first request to stop.
    stopped: Arc<OnceLock<Instant>>,
}

impl ClientHandle {
    /// When the client was told to stop.
    fn stopped(&self) -> Option<Instant> {
        self.stopped.get().copied()
    }

    /// Stops the run now. The results cover what was done so far.
    pub fn stop(&self) {
        self.request_stop(monotonic_time());
    }

    fn request_stop(&self, now: Instant) {
        self.stopped.get_or_init(|| now);
        self.send(|| Message::Stop);
    }

    /// Ends the load now: no new message is sent, and those in flight may still be answered. Before a load has begun, and
    /// for connections that do not begin together, it has no effect.
    pub fn end_load(&self) {
        let now = monotonic_time();
        self.send(|| Message::EndLoad(now));
    }

    fn send(&self, message: impl Fn() -> Message) {
        self.workers.iter().for_each(|worker| worker.send(message()));
    }
}

/// A client that is ready to run.
///
/// ```
/// use multiconn::client::{Client, ClientConfig};
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::Echo;
/// use multiconn::socket::{Address, Endpoint};
///
/// let server = Server::bind(ServerConfig::at(Endpoint::tcp("127.0.0.1", 0)), |_| Echo)?;
/// let port = server.addresses()[0].port().expect("a TCP address");
/// let handle = server.handle();
/// let server = std::thread::spawn(|| server.run());
///
/// let mut config = ClientConfig::to(Endpoint::tcp("127.0.0.1", port));
/// config.connections = 10;
/// let results = Client::new(config)?.run()?;
/// assert!(results.is_success());
/// assert_eq!(results.messages.answered, 20);
///
/// handle.drain();
/// server.join().expect("the server does not panic")?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
///
/// Datagrams, to a server that answers them:
///
/// ```
/// use multiconn::client::{Client, ClientConfig, UdpOptions};
/// use multiconn::server::{DatagramConfig, MakeResponder, Server, ServerConfig};
/// use multiconn::service::{Echo, EchoDatagram};
/// use multiconn::socket::Endpoint;
///
/// let endpoint = Endpoint::tcp("127.0.0.1", 0);
/// let mut config = ServerConfig::at(endpoint.clone());
/// config.datagrams = Some(DatagramConfig::at(endpoint, MakeResponder::new(|| EchoDatagram)));
/// let server = Server::bind(config, |_| Echo)?;
/// let port = server.datagram_addresses()[0].port().expect("a UDP address");
/// let handle = server.handle();
/// let server = std::thread::spawn(|| server.run());
///
/// let mut config = ClientConfig::to(Endpoint::tcp("127.0.0.1", port)).over_udp(UdpOptions::default());
/// config.connections = 10;
/// let results = Client::new(config)?.run()?;
/// assert!(results.is_success());
/// assert_eq!(results.messages.answered, 20);
///
/// handle.drain();
/// server.join().expect("the server does not panic")?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
pub struct Client {
    loops: Vec<EventLoop<Message>>,
    progress: Vec<Arc<WorkerProgress>>,
    /// What receives each second of the run.
    consumers: Vec<Consumer>,
    shared: Shared,
    /// Input and output of interactive mode.
    input_output: Option<(Box<dyn Read + Send>, Box<dyn Write + Send>)>,
}

impl Client {
    /// Resolves the targets and creates the event loops. Raises the soft limit on descriptors to the hard limit.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an impossible configuration; [`Error::Resolve`], [`Error::Descriptors`] and
    /// [`Error::System`] when this machine does not allow it.
    pub fn new(mut config: ClientConfig) -> Result<Self, Error> {
        // A worker without a connection would have nothing to do.
        config.workers = config.workers.min((config.connections / config.shard().count.max(1)).max(1));
        config.check(raise_descriptor_limit().map(|limit| limit.soft))?;
        let messages = config.take_messages()?;
        let targets = config.resolve()?;
        check_all_socket_options(&config, &targets)?;
        // One TLS connector per target. A single set of options is used for all targets.
        let tls = config.tls.iter().cycle().take(if config.tls.is_empty() { 0 } else { targets.len() });
        let tls = tls.map(TlsConnector::new).collect::<Result<_, Error>>()?;
        let mut loops = Vec::with_capacity(config.workers);
        for _ in 0..config.workers {
            let event_loop = EventLoop::spinning(config.spin).map_err(Error::system("create an event loop"))?;
            let event_loop = event_loop.busy_polling(config.busy_poll);
            loops.push(event_loop.map_err(Error::system("busy-poll network cards"))?);
        }
        if config.handle_signals {
            loops[0].watch_signals(SIGNALS).map_err(Error::system("handle signals"))?;
        }
        let workers = loops.iter().map(EventLoop::sender).collect();
        let handle = ClientHandle { workers, stopped: Arc::default() };
        let shared = Shared::new(config, messages, targets, tls, handle);
        let progress = loops.iter().map(|_| Arc::default()).collect();
        Ok(Self { loops, progress, consumers: Vec::new(), shared, input_output: None })
    }

    /// Creates a client with one connection that sends all of `input` and writes everything received to `output`.
    ///
    /// The end of the input shuts down the sending half. The run ends when the server closes, or when the reader of
    /// `output` is gone. With a framing, each input line is a message, and each reply is written as a line.
    ///
    /// Input and output may block, so they are used on separate threads. The input thread lasts until its read returns.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn interactive(
        config: ClientConfig,
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Result<Self, Error> {
        if config.udp.is_some() {
            let problem = "datagrams are no stream that an input could be written to; send it over TCP";
            return Err(Error::config(&["udp"], problem));
        }
        if let Some(framing) = config.framing {
            framing.check(config.buffer_bytes).map_err(|error| Error::config(&["buffer_bytes"], error.to_string()))?;
        }
        // The messages come from the input, not from the configuration.
        let interactive_config = ClientConfig {
            connections: 1,
            workers: 1,
            hold: None,
            messages: vec![vec![0]],
            messages_per_connection: None,
            requests: Vec::new(),
            expect: Expect::Echo,
            shard: None,
            load: LoadConfig { start_at: None, ..config.load },
            ..config
        };
        let mut client = Self::new(ClientConfig { framing: None, ..interactive_config.clone() })?;
        client.shared.interactive = Some(Interactive::new(&interactive_config));
        client.input_output = Some((Box::new(input), Box::new(output)));
        Ok(client)
    }

    /// Returns a handle that stops the client from another thread.
    #[must_use]
    pub fn handle(&self) -> ClientHandle {
        self.shared.handle.clone()
    }

    /// Progress of each worker; other threads may read it while the client runs.
    #[must_use]
    pub fn progress(&self) -> Vec<Arc<WorkerProgress>> {
        self.progress.clone()
    }

    /// Calls `consumer` with each second of the measured time once it is over, then with the rest of the run. The sum of
    /// all is the result of the run. The calls come from a thread of their own, and must not block.
    pub fn on_second(&mut self, consumer: impl FnMut(&Snapshot) + Send + 'static) {
        self.consumers.push(Box::new(consumer));
    }

    /// Runs to completion and returns the results, without the configuration. The first worker runs on the calling
    /// thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when a loop or a thread cannot run, [`Error::Panic`] when a worker panicked. Faults of servers
    /// and of the network are never an error; they are part of the results.
    pub fn run(self) -> Result<RunResults, Error> {
        let (started, machine_begin) = (monotonic_time(), MachineTimes::now());
        let Self { loops, progress, mut consumers, shared, input_output } = self;
        let mut results = shared.describe();
        if let (Some(interactive), Some((input, output))) = (&shared.interactive, input_output) {
            let handle = shared.handle.clone();
            let wake: Wake = Arc::new(move || handle.send(|| Message::Wake));
            interactive.start(input, output, &wake)?;
        }
        let stop = (!shared.config.stop_if.is_empty()).then(|| {
            let (consumer, stop) = stop_when(shared.config.stop_if.clone(), shared.handle.clone());
            consumers.push(consumer);
            stop
        });
        let (seconds, publishers) = if consumers.is_empty() {
            (None, loops.iter().map(|_| None).collect::<Vec<_>>())
        } else {
            let mut description = results.clone();
            description.connections.requested = 0;
            let (seconds, publishers) = Seconds::start(loops.len(), description, consumers)?;
            (Some(seconds), publishers.into_iter().map(Some).collect())
        };
        let debts = DebtTracker::for_workers(loops.len());
        let parts = loops.into_iter().zip(progress).zip(publishers).zip(debts);
        let parts = parts.map(|(((event_loop, progress), publisher), debts)| WorkerParts {
            event_loop,
            progress,
            publisher,
            debts,
        });
        let workers = parts.collect();
        let workers = match shared.config.udp {
            None => drive::<Tcp<'_>>(&shared, workers, started)?,
            Some(_) => drive::<Udp<'_>>(&shared, workers, started)?,
        };
        results.connections.opening_s = opening(&workers).map(|opening| opening.as_secs_f64());
        results.start = Some(shared.load_start(&workers, started, results.started));
        add_workers(&mut results, workers, seconds, monotonic_time().saturating_duration_since(started));
        results.cpu.iter_mut().for_each(|cpu| machine_begin.add_until_now(cpu));
        results.interrupted = shared.handle.stopped().is_some() && !shared.has_missed_start();
        results.stop = stop.and_then(|stop| stop.get().cloned());
        results.connections.most_open = shared.most_open.load(Ordering::Relaxed);
        // Output can be lost after the connection has ended well.
        let has_lost_output = shared.interactive.is_some_and(|interactive| interactive.has_lost_output());
        if has_lost_output && results.errors.is_empty() {
            results.connections.completed = 0;
            results.errors.insert(Failure::LocalIo.name().into_owned(), 1);
        }
        results.finalize();
        Ok(results)
    }
}

/// Reports socket options that the kernel does not grant before the first of many sockets is opened.
fn check_all_socket_options(config: &ClientConfig, targets: &[Vec<Address>]) -> Result<(), Error> {
    match targets.iter().flatten().next() {
        Some(&Address::Ip(address)) if config.socket != SocketOptions::default() && config.udp.is_some() => {
            let opened = open_towards(Peer::Many(address), None, &Multicast::default(), &config.socket);
            opened.map(|_| ()).map_err(Error::system("set the options of the sockets"))
        }
        Some(address) if config.socket != SocketOptions::default() => check_socket_options(address, &config.socket),
        _ => Ok(()),
    }
}

/// What a worker is made of.
struct WorkerParts {
    event_loop: EventLoop<Message>,
    progress: Arc<WorkerProgress>,
    publisher: Option<Publisher>,
    debts: DebtTracker,
}

impl WorkerParts {
    /// The loop, and the driver of it that opens every `step`th connection, beginning with `first`, in a run that began at
    /// `started`.
    fn into_driver<'a, T: Transport<'a>>(
        self,
        shared: &'a Shared,
        (first, step): (usize, usize),
        started: Instant,
    ) -> (EventLoop<Message>, Driver<'a, T>) {
        let Self { mut event_loop, progress, publisher, debts } = self;
        let load = &shared.config.load;
        // A load that begins on all connections together starts the measured time itself.
        let begin = if load.has_common_start() { u64::MAX } else { shared.clock.nanos(started) };
        let metrics = WorkerMetrics::of(shared, progress, begin, debts).with_publisher(publisher);
        let driver = Driver::new(shared, metrics, first, step, started);
        event_loop.context().ready.push_back(CONNECTOR);
        if load.start_at.is_some() {
            event_loop.context().precise_timers.arm(START, started);
        }
        (event_loop, driver)
    }
}

/// Runs each event loop to completion with a driver, and returns the drivers' metrics.
fn drive<'a, T: Transport<'a>>(
    shared: &'a Shared,
    workers: Vec<WorkerParts>,
    started: Instant,
) -> Result<Vec<WorkerMetrics>, Error> {
    // The workers of all shards take turns.
    let Shard { index, count } = shared.config.shard();
    let step = count * workers.len();
    let work = |(first, parts): (usize, WorkerParts)| {
        let (mut event_loop, mut driver) = parts.into_driver::<T>(shared, (first, step), started);
        event_loop.run(&mut driver).map_err(Error::system("wait for events"))?;
        Ok(driver.into_metrics(monotonic_time()))
    };
    let work_items = (index + 1..).step_by(count).zip(workers).collect();
    run_workers(work_items, work, |_| shared.handle.stop())
}

/// Time from the first connect of all workers until the last connection was open.
fn opening(worker_metrics: &[WorkerMetrics]) -> Option<Duration> {
    let (begins, ends): (Vec<_>, Vec<_>) = worker_metrics.iter().filter_map(|metrics| metrics.opening).unzip();
    Some(ends.into_iter().max()?.saturating_duration_since(begins.into_iter().min()?))
}
