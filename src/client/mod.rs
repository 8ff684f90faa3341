//! The load client: opens connections, sends messages, checks or counts what comes back, and says how it went.
//!
//! Whatever a server does (refuses, resets, stalls, closes early, answers something else) is a line of the report,
//! counted by cause; the run goes on with the other connections.

mod arrivals;
mod backoff;
mod clock;
mod config;
mod connect_rate;
mod connecting;
mod connection_service;
mod connector;
mod dispatcher;
mod exchange;
mod expect;
mod failure;
mod in_flight;
mod inline_queue;
mod interactive;
mod load_config;
mod machine;
mod measurements;
mod metrics;
mod observer;
mod pattern;
mod phases;
mod read_only;
mod report;
mod run_results;
mod snapshot;
mod tls_events;
mod udp;
mod worker;

pub use arrivals::Arrivals;
pub use config::ClientConfig;
pub use expect::Expect;
pub use failure::Failure;
pub use load_config::LoadConfig;
pub use machine::environment;
pub use measurements::Measurements;
pub use metrics::WorkerProgress;
pub use report::{Mismatch, Report, WrongAnswer};
pub use snapshot::Snapshot;
pub use udp::{DatagramClient, DatagramClientConfig, DatagramClientHandle, DatagramReport, TAG_BYTES};

use crate::error::Error;
use crate::event_loop::{EventLoop, Sender, SignalClaim, SignalSet, catch_signals, run_workers};
use crate::service::search::Request;
use crate::socket::{Address, SocketOptions, TlsConnector, raise_descriptor_limit, rehearse_options};
use clock::Clock;
use interactive::{Interactive, Wake};
use machine::run_id;
use metrics::{WorkerMetrics, histogram};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::signal_name;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use worker::{CONNECTOR, Worker};

/// What a client handles. SIGHUP is the end of its terminal.
const SIGNALS: SignalSet = SignalSet { ending: &[SIGINT, SIGTERM, SIGHUP], others: &[SIGUSR1, SIGUSR2] };

/// Catches the signals that a client handles from now on, for one that is made later with
/// [`handle_signals`](ClientConfig::handle_signals). A program calls this at its start, so that a signal that comes before
/// the client is there is handled by it. Until the result is dropped, signals that come after the run are ignored.
///
/// # Errors
///
/// [`Error::System`], with those of sigaction(2) and socketpair(2).
pub fn catch_client_signals() -> Result<SignalClaim, Error> {
    catch_signals(SIGNALS).map_err(Error::system("handle signals"))
}

/// Whether `signal` ends a run; logs those that do not.
fn ends_run(signal: i32) -> bool {
    let ends = SIGNALS.ending.contains(&signal);
    if !ends {
        let name = signal_name(signal).unwrap_or("signal");
        log::info!("{name} ignored: SIGINT, SIGTERM and SIGHUP end the run with its report");
    }
    ends
}

/// Ends a running client, from any thread.
#[derive(Debug, Clone)]
pub struct ClientHandle {
    workers: Vec<Sender<Message>>,
    stopped: Arc<AtomicBool>,
}

impl ClientHandle {
    /// Whether it was told to end.
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// End now; the report tells what was done so far.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.send(|| Message::Stop);
    }

    fn send(&self, message: impl Fn() -> Message) {
        self.workers.iter().for_each(|worker| worker.send(message()));
    }
}

/// What a worker can be told.
#[derive(Debug)]
enum Message {
    /// Every connection of every worker was opened or has failed; a load begins at this instant.
    AllSettled(Instant),
    /// The exchange of every connection of every worker is complete, or has failed.
    AllDone,
    /// Every connection of every worker is over, and none will follow.
    AllOver,
    /// There is something to say, or room for what was heard.
    Wake,
    Stop,
}

/// What all workers of a client know. It is touched when a connection comes or goes, never for a message.
#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    clock: Clock,
    /// Those of the configuration, which can be large: held once, whatever the number of workers.
    messages: Arc<[Vec<u8>]>,
    /// What the messages ask, if they do.
    requests: Arc<[Request]>,
    /// The addresses of each target.
    targets: Vec<Vec<Address>>,
    /// One for each target; none for plain text.
    tls: Vec<TlsConnector>,
    /// What is to be passed on, instead of messages to be exchanged.
    interactive: Option<Arc<Interactive>>,
    settled: AtomicUsize,
    done: AtomicUsize,
    over: AtomicUsize,
    open: AtomicU64,
    most_open: AtomicU64,
    handle: ClientHandle,
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
/// let report = Client::new(config)?.run()?;
/// assert!(report.is_success());
/// assert_eq!(report.messages_verified, 20);
///
/// handle.drain();
/// server.join().expect("the server does not panic")?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
pub struct Client {
    loops: Vec<EventLoop<Message>>,
    progress: Vec<Arc<WorkerProgress>>,
    shared: Shared,
    /// Where a relay reads from, and where it writes to.
    ends: Option<(Box<dyn Read + Send>, Box<dyn Write + Send>)>,
}

impl Client {
    /// Looks up the target and makes ready. The soft limit on descriptors is raised to the hard one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for work that can never be done; [`Error::Resolve`], [`Error::Descriptors`] and
    /// [`Error::System`] when this machine does not allow it.
    pub fn new(mut config: ClientConfig) -> Result<Self, Error> {
        // One without a connection would have nothing to do.
        config.workers = config.workers.min(config.connections);
        config.check(raise_descriptor_limit().map(|limit| limit.soft))?;
        let messages = config.take_messages()?;
        let targets = config.resolve()?;
        if config.socket != SocketOptions::default()
            && let Some(address) = targets.iter().flatten().next()
        {
            rehearse_options(address, &config.socket)?;
        }
        // Each target is somebody else, unless one name is said to be that of all.
        let tls = config.tls.iter().cycle().take(if config.tls.is_empty() { 0 } else { targets.len() });
        let tls = tls.map(TlsConnector::new).collect::<Result<_, Error>>()?;
        let mut loops = Vec::with_capacity(config.workers);
        for _ in 0..config.workers {
            loops.push(EventLoop::spinning(config.spin).map_err(Error::system("create an event loop"))?);
        }
        if config.handle_signals {
            loops[0].watch_signals(SIGNALS).map_err(Error::system("handle signals"))?;
        }
        let workers = loops.iter().map(EventLoop::sender).collect();
        let shared = Shared {
            clock: Clock::new(),
            messages: messages.into(),
            requests: std::mem::take(&mut config.requests).into(),
            targets,
            tls,
            interactive: None,
            settled: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            over: AtomicUsize::new(0),
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            handle: ClientHandle { workers, stopped: Arc::default() },
            config,
        };
        let progress = loops.iter().map(|_| Arc::default()).collect();
        Ok(Self { loops, progress, shared, ends: None })
    }

    /// Makes ready for one connection, on which everything that `input` gives is sent and everything that the server says
    /// is written to `output`. The end of the input shuts our half; the server's end ends the run, and so does an output
    /// that nobody reads any more. With a framing, each line of the input is a message, and each answer becomes a line.
    ///
    /// Both are used on threads of their own, since they may block. That which reads lasts until its read returns.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn interactive(
        config: ClientConfig,
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Result<Self, Error> {
        if let Some(framing) = config.framing {
            framing.check(config.buffer_bytes).map_err(|error| Error::Usage(error.to_string()))?;
        }
        // What there is to send is found in the input, and not here.
        let one = ClientConfig {
            connections: 1,
            workers: 1,
            hold: None,
            messages: vec![vec![0]],
            messages_per_connection: None,
            requests: Vec::new(),
            expect: Expect::Echo,
            ..config
        };
        let mut client = Self::new(ClientConfig { framing: None, ..one.clone() })?;
        client.shared.interactive = Some(Interactive::new(&one));
        client.ends = Some((Box::new(input), Box::new(output)));
        Ok(client)
    }

    /// Ends the client from another thread.
    #[must_use]
    pub fn handle(&self) -> ClientHandle {
        self.shared.handle.clone()
    }

    /// What each worker has done so far; may be looked at from another thread while the client runs.
    #[must_use]
    pub fn progress(&self) -> Vec<Arc<WorkerProgress>> {
        self.progress.clone()
    }

    /// Does the work, then says how it went. The first worker runs on the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when a loop or a thread cannot run, [`Error::Panic`] when a worker panicked. What servers do is
    /// never an error, but part of the report.
    pub fn run(self) -> Result<Report, Error> {
        let started = Instant::now();
        if let (Some(interactive), Some((input, output))) = (&self.shared.interactive, self.ends) {
            let handle = self.shared.handle.clone();
            let wake: Wake = Arc::new(move || handle.send(|| Message::Wake));
            interactive.start(input, output, &wake)?;
        }
        let (shared, step) = (&self.shared, self.loops.len());
        let work = |(first, (mut event_loop, progress)): (usize, (EventLoop<Message>, Arc<WorkerProgress>))| {
            let metrics = WorkerMetrics::new(progress, shared.config.load.rate.is_some());
            let mut runner = Worker::new(shared, metrics, first, step, started);
            event_loop.context().ready.push_back(CONNECTOR);
            event_loop.run(&mut runner).map_err(Error::system("wait for events"))?;
            Ok(runner.into_metrics(Instant::now()))
        };
        let jobs = (1..).zip(self.loops.into_iter().zip(self.progress)).collect();
        let recorders = run_workers(jobs, work, |_| shared.handle.stop())?;
        let mut report = self.shared.empty_report(started.elapsed());
        report.opening = opening(&recorders);
        for metrics in recorders {
            metrics.add_to(&mut report);
        }
        report.measured.end_seconds();
        // That can turn out after the conversation has ended well.
        if self.shared.interactive.is_some_and(|interactive| interactive.has_lost()) && report.failed.is_empty() {
            report.verified = 0;
            report.failed.insert(Failure::OwnEnd, 1);
        }
        Ok(report)
    }
}

/// From the first connect of all workers to the last connection being open.
fn opening(recorders: &[WorkerMetrics]) -> Option<Duration> {
    let (begins, ends): (Vec<_>, Vec<_>) = recorders.iter().filter_map(|metrics| metrics.opening).unzip();
    Some(ends.into_iter().max()?.saturating_duration_since(begins.into_iter().min()?))
}

impl Shared {
    /// Which of the targets connection `number` goes to.
    fn target_of(&self, number: usize) -> usize {
        (number - 1) % self.targets.len()
    }

    /// One more connection is open.
    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
    }

    /// One connection fewer is open.
    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The exchange of one more connection is complete, or has failed; after the last one, every worker learns it.
    fn note_done(&self) {
        if self.config.keeps_open() && self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            self.handle.send(|| Message::AllDone);
        }
    }

    /// A connection is over, and none follows; after the last one, every worker learns it. When it was for a relay, that
    /// is over, too, but for what is still to be written.
    fn note_end(&self) {
        if let Some(interactive) = &self.interactive {
            interactive.abort_attempt();
        }
        if self.over.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            self.handle.send(|| Message::AllOver);
        }
    }

    /// Whether no connection is left anywhere, nor anything to be written; or the run is to end all the same.
    fn is_over(&self) -> bool {
        let is_over = self.over.load(Ordering::Relaxed) == self.config.connections || self.handle.is_stopped();
        is_over && self.interactive.as_ref().is_none_or(|interactive| interactive.is_settled())
    }

    /// One more connection was opened or has failed; after the last one, every worker learns it.
    fn settle(&self) {
        if self.settled.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            let begin = self.config.load.begin_after(Instant::now());
            self.handle.send(|| Message::AllSettled(begin));
        }
    }

    fn empty_report(&self, elapsed: Duration) -> Report {
        Report {
            run_id: run_id(),
            targets: self.config.targets.iter().map(ToString::to_string).collect(),
            expect: self.config.expect,
            reply_check: self.config.reply_check(),
            wanted: self.config.connections,
            workers: self.config.workers,
            opened: 0,
            most_open: self.most_open.load(Ordering::Relaxed),
            verified: 0,
            failed: BTreeMap::new(),
            failed_by_target: vec![0; self.config.targets.len()],
            retries: 0,
            opening: None,
            messages_sent: 0,
            messages_verified: 0,
            bytes_sent: 0,
            bytes_verified: 0,
            mismatch_count: 0,
            mismatches: Vec::new(),
            asked: !self.requests.is_empty(),
            answers: Vec::new(),
            wrong_answers: Vec::new(),
            elapsed,
            connect: histogram(),
            handshake: histogram(),
            load: self.config.load.clone(),
            measured: Measurements::default(),
            interrupted: self.handle.stopped.load(Ordering::Relaxed),
        }
    }
}
