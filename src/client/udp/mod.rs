//! UDP load client: sends messages, matches replies to them, and counts losses.
//!
//! Each datagram may be lost, duplicated, reordered or corrupted independently. So every message is tracked separately,
//! and a lost one frees its place in the pipeline when it times out. The schedule, send delays and their measurement
//! are the same as for connections.

mod batch;
mod config;
mod in_flight;
mod metrics;
mod phases;
mod report;
mod worker;

pub use config::DatagramClientConfig;
pub use report::DatagramReport;

use super::check::datagrams::Payload;
use super::clock::Clock;
use super::{Expect, SIGNALS, WorkerProgress};
use crate::error::Error;
use crate::event_loop::{EventLoop, Sender, run_workers};
use crate::socket::{Address, Endpoint, Multicast, Peer, SocketOptions, open_towards, raise_descriptor_limit};
use metrics::UdpWorkerMetrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use worker::{OPENER, UdpWorker};

/// Stops a running client, from any thread.
#[derive(Debug, Clone)]
pub struct DatagramClientHandle {
    workers: Vec<Sender<Message>>,
    stopped: Arc<AtomicBool>,
}

impl DatagramClientHandle {
    /// Whether the client was told to stop.
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Stops the run now. The report covers what was done so far.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.send(Message::Stop);
    }

    fn send(&self, message: Message) {
        self.workers.iter().for_each(|worker| worker.send(message));
    }
}

/// Messages to a worker.
#[derive(Debug, Clone, Copy)]
enum Message {
    /// Every socket of every worker was opened or has failed; a load begins at this instant.
    AllAttempted(Instant),
    /// Every socket of every worker is closed.
    AllEnded,
    Stop,
}

/// State that all workers of a client share.
#[derive(Debug)]
struct Shared {
    config: DatagramClientConfig,
    clock: Clock,
    payload: Payload,
    /// Addresses of each target.
    targets: Vec<Vec<SocketAddr>>,
    attempted: AtomicUsize,
    ended: AtomicUsize,
    handle: DatagramClientHandle,
}

/// A UDP load client that is ready to run.
///
/// ```
/// use multiconn::client::{DatagramClient, DatagramClientConfig};
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
/// let mut config = DatagramClientConfig::to(Endpoint::tcp("127.0.0.1", port));
/// config.sockets = 10;
/// let report = DatagramClient::new(config)?.run()?;
/// assert!(report.is_success());
/// assert_eq!(report.verified, 20);
///
/// handle.drain();
/// server.join().expect("the server does not panic")?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
pub struct DatagramClient {
    loops: Vec<EventLoop<Message>>,
    progress: Vec<Arc<WorkerProgress>>,
    shared: Shared,
}

impl DatagramClient {
    /// Resolves the targets and creates the event loops. Raises the soft limit on descriptors to the hard limit.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for an impossible configuration; [`Error::Resolve`], [`Error::Descriptors`] and
    /// [`Error::System`] when this machine does not allow it.
    pub fn new(config: DatagramClientConfig) -> Result<Self, Error> {
        config.check(raise_descriptor_limit().map(|limit| limit.soft))?;
        let is_ip = |address| if let Address::Ip(address) = address { Some(address) } else { None };
        let addresses = |target: &Endpoint| Ok(target.resolve()?.into_iter().filter_map(is_ip).collect());
        let targets = config.targets.iter().map(addresses).collect::<Result<Vec<Vec<SocketAddr>>, Error>>()?;
        if config.socket != SocketOptions::default()
            && let Some(address) = targets.iter().flatten().next()
        {
            // Reports socket options that the kernel does not grant before the first of many sockets is opened.
            let rehearsed = open_towards(Peer::Many(*address), &Multicast::default(), &config.socket);
            rehearsed.map_err(Error::system("set the options of the sockets"))?;
        }
        let mut loops = Vec::with_capacity(config.busy_workers());
        for _ in 0..config.busy_workers() {
            loops.push(EventLoop::spinning(config.spin).map_err(Error::system("create an event loop"))?);
        }
        if config.handle_signals {
            loops[0].watch_signals(SIGNALS).map_err(Error::system("handle signals"))?;
        }
        let workers = loops.iter().map(EventLoop::sender).collect();
        let handle = DatagramClientHandle { workers, stopped: Arc::default() };
        let progress = loops.iter().map(|_| Arc::default()).collect();
        let (clock, payload, attempted, ended) =
            (Clock::new(), Payload::of(&config), AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { loops, progress, shared: Shared { config, clock, payload, targets, attempted, ended, handle } })
    }

    /// Returns a handle that stops the client from another thread.
    #[must_use]
    pub fn handle(&self) -> DatagramClientHandle {
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
    /// [`Error::System`] when a loop or a thread cannot run, [`Error::Panic`] when a worker panicked. Faults of the
    /// network and of servers are never an error; they are part of the report.
    pub fn run(self) -> Result<DatagramReport, Error> {
        let started = self.shared.clock.nanos(Instant::now());
        let (shared, step) = (&self.shared, self.loops.len());
        let work = |(first, (mut event_loop, progress)): (usize, (EventLoop<Message>, Arc<WorkerProgress>))| {
            let metrics = UdpWorkerMetrics::new(progress, &shared.config.load, started);
            let mut worker = UdpWorker::new(shared, metrics, first, step);
            event_loop.context().ready.push_back(OPENER);
            event_loop.run(&mut worker).map_err(Error::system("wait for events"))?;
            Ok(worker.into_metrics())
        };
        let work_items = (1..).zip(self.loops.into_iter().zip(self.progress)).collect();
        let worker_metrics = run_workers(work_items, work, |_| shared.handle.stop())?;
        let mut report = DatagramReport::empty(&shared.config, shared.handle.is_stopped());
        for metrics in worker_metrics {
            metrics.add_to(&mut report);
        }
        report.measured.end_intervals();
        Ok(report)
    }
}

impl Shared {
    /// Target of socket `number`, and its addresses.
    fn target_of(&self, number: usize) -> (&Endpoint, &[SocketAddr]) {
        let index = (number - 1) % self.targets.len();
        (&self.config.targets[index], &self.targets[index])
    }

    /// Counts a socket that was opened or has failed. After the last one, notifies every worker.
    fn note_attempted(&self) {
        if self.attempted.fetch_add(1, Ordering::Relaxed) + 1 == self.config.sockets {
            self.handle.send(Message::AllAttempted(self.config.load.begin_after(Instant::now())));
        }
    }

    /// Counts a socket that is closed or was never open. After the last one, notifies every worker.
    fn note_ended(&self) {
        if self.ended.fetch_add(1, Ordering::Relaxed) + 1 == self.config.sockets {
            self.handle.send(Message::AllEnded);
        }
    }

    /// Whether no socket is left on any worker, or the run was stopped.
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed) == self.config.sockets || self.handle.is_stopped()
    }
}
