//! Load client: opens connections, sends messages, verifies or counts replies, and reports the results.
//!
//! Refused, reset, stalled, closed or wrongly answered connections are counted by cause; the run continues with the
//! others.

mod arrivals;
mod check;
mod clock;
mod config;
mod connecting;
mod connector;
mod dispatcher;
mod failure;
mod machine;
mod measurements;
mod metrics;
mod phases;
mod plan;
mod report;
mod run_results;
mod snapshot;
mod tcp;
mod udp;
mod worker;

pub use arrivals::Arrivals;
pub use check::datagrams::TAG_BYTES;
pub use config::{ClientConfig, Expect, LoadConfig};
pub use failure::Failure;
pub use machine::environment;
pub use measurements::Measurements;
pub use metrics::WorkerProgress;
pub use report::{Mismatch, Report, WrongAnswer};
pub use snapshot::Snapshot;
pub use udp::{DatagramClient, DatagramClientConfig, DatagramClientHandle, DatagramReport};

use crate::error::Error;
use crate::event_loop::{EventLoop, Sender, SignalClaim, SignalSet, catch_signals, run_workers};
use crate::results::Latencies;
use crate::service::search::Request;
use crate::socket::{Address, SocketOptions, TlsConnector, raise_descriptor_limit, rehearse_options};
use clock::Clock;
use machine::run_id;
use metrics::WorkerMetrics;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::signal_name;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tcp::interactive::{Interactive, Wake};
use worker::{CONNECTOR, Worker};

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
    stopped: Arc<AtomicBool>,
}

impl ClientHandle {
    /// Whether the client was told to stop.
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Stops the run now. The report covers what was done so far.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.send(|| Message::Stop);
    }

    fn send(&self, message: impl Fn() -> Message) {
        self.workers.iter().for_each(|worker| worker.send(message()));
    }
}

/// Messages to a worker.
#[derive(Debug)]
enum Message {
    /// Every connection of every worker was opened or has failed. A load begins at this instant.
    AllAttempted(Instant),
    /// The exchange of every connection of every worker is complete, or has failed.
    AllCompleted,
    /// Every connection of every worker is closed, and none will be opened.
    AllEnded,
    /// Interactive mode: there is input to send, or the output has room again.
    Wake,
    Stop,
}

/// State that all workers of a client share. It is accessed when a connection opens or closes, never per message.
#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    clock: Clock,
    /// Messages of the configuration. They can be large, so one copy serves all workers.
    messages: Arc<[Vec<u8>]>,
    /// Requests of the message protocol that the messages carry; empty without that protocol.
    requests: Arc<[Request]>,
    /// Addresses of each target.
    targets: Vec<Vec<Address>>,
    /// One per target; empty for plain text.
    tls: Vec<TlsConnector>,
    /// Set in interactive mode: input and output are forwarded instead of exchanging messages.
    interactive: Option<Arc<Interactive>>,
    /// When the first connection was usable.
    first_usable: Arc<OnceLock<u64>>,
    attempted: AtomicUsize,
    completed: AtomicUsize,
    ended: AtomicUsize,
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
    /// Input and output of interactive mode.
    input_output: Option<(Box<dyn Read + Send>, Box<dyn Write + Send>)>,
}

impl Client {
    /// Resolves the targets and creates the event loops. Raises the soft limit on descriptors to the hard limit.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for an impossible configuration; [`Error::Resolve`], [`Error::Descriptors`] and
    /// [`Error::System`] when this machine does not allow it.
    pub fn new(mut config: ClientConfig) -> Result<Self, Error> {
        // A worker without a connection would have nothing to do.
        config.workers = config.workers.min(config.connections);
        config.check(raise_descriptor_limit().map(|limit| limit.soft))?;
        let messages = config.take_messages()?;
        let targets = config.resolve()?;
        if config.socket != SocketOptions::default()
            && let Some(address) = targets.iter().flatten().next()
        {
            rehearse_options(address, &config.socket)?;
        }
        // One TLS connector per target. A single set of options is used for all targets.
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
            first_usable: Arc::default(),
            attempted: AtomicUsize::new(0),
            completed: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            handle: ClientHandle { workers, stopped: Arc::default() },
            config,
        };
        let progress = loops.iter().map(|_| Arc::default()).collect();
        Ok(Self { loops, progress, shared, input_output: None })
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
        if let Some(framing) = config.framing {
            framing.check(config.buffer_bytes).map_err(|error| Error::Usage(error.to_string()))?;
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

    /// Runs to completion and returns the report. The first worker runs on the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when a loop or a thread cannot run, [`Error::Panic`] when a worker panicked. Faults of servers
    /// are never an error; they are part of the report.
    pub fn run(self) -> Result<Report, Error> {
        let started = Instant::now();
        if let (Some(interactive), Some((input, output))) = (&self.shared.interactive, self.input_output) {
            let handle = self.shared.handle.clone();
            let wake: Wake = Arc::new(move || handle.send(|| Message::Wake));
            interactive.start(input, output, &wake)?;
        }
        let (shared, step) = (&self.shared, self.loops.len());
        let work = |(first, (mut event_loop, progress)): (usize, (EventLoop<Message>, Arc<WorkerProgress>))| {
            let metrics = WorkerMetrics::new(progress, shared.config.load.rate.is_some());
            let mut worker = Worker::new(shared, metrics, first, step, started);
            event_loop.context().ready.push_back(CONNECTOR);
            event_loop.run(&mut worker).map_err(Error::system("wait for events"))?;
            Ok(worker.into_metrics(Instant::now()))
        };
        let work_items = (1..).zip(self.loops.into_iter().zip(self.progress)).collect();
        let worker_metrics = run_workers(work_items, work, |_| shared.handle.stop())?;
        let mut report = self.shared.empty_report(started.elapsed());
        report.opening = opening(&worker_metrics);
        for metrics in worker_metrics {
            metrics.add_to(&mut report);
        }
        report.measured.end_intervals();
        // Output can be lost after the connection has ended well.
        let has_lost_output = self.shared.interactive.is_some_and(|interactive| interactive.has_lost_output());
        if has_lost_output && report.failed.is_empty() {
            report.verified = 0;
            report.failed.insert(Failure::OwnEnd, 1);
        }
        Ok(report)
    }
}

/// Time from the first connect of all workers until the last connection was open.
fn opening(worker_metrics: &[WorkerMetrics]) -> Option<Duration> {
    let (begins, ends): (Vec<_>, Vec<_>) = worker_metrics.iter().filter_map(|metrics| metrics.opening).unzip();
    Some(ends.into_iter().max()?.saturating_duration_since(begins.into_iter().min()?))
}

impl Shared {
    /// Index of the target of connection `number`.
    fn target_of(&self, number: usize) -> usize {
        (number - 1) % self.targets.len()
    }

    /// Counts one more open connection.
    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
    }

    /// Counts one open connection less.
    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection whose exchange is complete or has failed. After the last one, notifies every worker.
    fn note_completed(&self) {
        if self.config.keeps_open() && self.completed.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            self.handle.send(|| Message::AllCompleted);
        }
    }

    /// Counts a connection that is closed and not replaced. After the last one, notifies every worker. In interactive
    /// mode only queued output remains to be written.
    fn note_ended(&self) {
        if let Some(interactive) = &self.interactive {
            interactive.connection_closed();
        }
        if self.ended.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            self.handle.send(|| Message::AllEnded);
        }
    }

    /// Whether no connection is left on any worker and all output is written, or the run was stopped.
    fn is_over(&self) -> bool {
        let is_over = self.ended.load(Ordering::Relaxed) == self.config.connections || self.handle.is_stopped();
        is_over && self.interactive.as_ref().is_none_or(|interactive| interactive.is_output_done())
    }

    /// Counts a connection that was opened or has failed. After the last one, notifies every worker.
    fn note_attempted(&self) {
        if self.attempted.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            let begin = self.config.load.begin_after(Instant::now());
            self.handle.send(|| Message::AllAttempted(begin));
        }
    }

    fn empty_report(&self, elapsed: Duration) -> Report {
        Report {
            run_id: run_id(),
            targets: self.config.targets.iter().map(ToString::to_string).collect(),
            expect: self.config.expect,
            reply_check: self.config.reply_check(&self.requests),
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
            connect: Latencies::default(),
            handshake: Latencies::default(),
            load: self.config.load.clone(),
            measured: Measurements::default(),
            interrupted: self.handle.stopped.load(Ordering::Relaxed),
        }
    }
}
