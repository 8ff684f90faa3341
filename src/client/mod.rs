//! The load client: opens connections, sends messages, checks every byte that comes back, and says how it went. Instead
//! of an echo it can expect the answers of the message protocol.
//!
//! Whatever a server does (refuses, resets, stalls, closes early, answers something else) is a line of the report,
//! counted by cause; the run goes on with the other connections.

mod config;
mod datagram;
mod dialer;
mod recorder;
mod report;
mod runner;
mod secure;
mod workload;

pub use config::ClientConfig;
pub use datagram::{DatagramClient, DatagramClientConfig, DatagramClientHandle, DatagramReport, Expect, TAG_BYTES};
pub use recorder::Progress;
pub use report::{Failure, Mismatch, Report, WrongAnswer};

use crate::error::Error;
use crate::event_loop::{EventLoop, Sender, run_workers};
use crate::service::search::Request;
use crate::socket::{Address, TlsConnector, raise_descriptor_limit};
use recorder::{Recorder, histogram};
use runner::{DIALER, Runner};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Ends a running client, from any thread.
#[derive(Debug, Clone)]
pub struct ClientHandle {
    workers: Vec<Sender<Message>>,
    stopped: Arc<AtomicBool>,
}

impl ClientHandle {
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
    /// Every connection of every worker was opened or has failed.
    AllSettled,
    Stop,
}

/// What all workers of a client know. It is touched when a connection comes or goes, never for a message.
#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    /// Those of the configuration, which can be large: held once, whatever the number of workers.
    messages: Arc<[Vec<u8>]>,
    /// What the messages ask, if they do.
    requests: Arc<[Request]>,
    addresses: Vec<Address>,
    /// None for plain text.
    tls: Option<TlsConnector>,
    settled: AtomicUsize,
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
    progress: Vec<Arc<Progress>>,
    shared: Shared,
}

impl Client {
    /// Looks up the target and makes ready. The soft limit on descriptors is raised to the hard one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for work that can never be done; [`Error::Resolve`], [`Error::Descriptors`] and
    /// [`Error::System`] when this machine does not allow it.
    pub fn new(mut config: ClientConfig) -> Result<Self, Error> {
        config.check(raise_descriptor_limit().soft)?;
        let addresses = config.target.resolve()?;
        let tls = config.tls.as_ref().map(TlsConnector::new).transpose()?;
        let mut loops = Vec::with_capacity(config.workers);
        for _ in 0..config.workers {
            loops.push(EventLoop::new().map_err(Error::system("create an event loop"))?);
        }
        if config.handle_signals {
            loops[0].watch_signals(&[SIGINT, SIGTERM]).map_err(Error::system("handle signals"))?;
        }
        let workers = loops.iter().map(EventLoop::sender).collect();
        let shared = Shared {
            messages: config.take_messages().into(),
            requests: std::mem::take(&mut config.requests).into(),
            addresses,
            tls,
            settled: AtomicUsize::new(0),
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            handle: ClientHandle { workers, stopped: Arc::default() },
            config,
        };
        let progress = loops.iter().map(|_| Arc::default()).collect();
        Ok(Self { loops, progress, shared })
    }

    /// Ends the client from another thread.
    #[must_use]
    pub fn handle(&self) -> ClientHandle {
        self.shared.handle.clone()
    }

    /// What each worker has done so far; may be looked at from another thread while the client runs.
    #[must_use]
    pub fn progress(&self) -> Vec<Arc<Progress>> {
        self.progress.clone()
    }

    /// Does the work, then says how it went. The first worker runs on the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when a loop or a thread cannot run. What servers do is never an error, but part of the report.
    ///
    /// # Panics
    ///
    /// When a worker panicked.
    pub fn run(self) -> Result<Report, Error> {
        let started = Instant::now();
        let (shared, step) = (&self.shared, self.loops.len());
        let work = |(first, (mut event_loop, progress)): (usize, (EventLoop<Message>, Arc<Progress>))| {
            let mut runner = Runner::new(shared, Recorder::new(progress), first, step);
            event_loop.agenda().ready.push_back(DIALER);
            event_loop.run(&mut runner).map_err(Error::system("wait for events"))?;
            Ok(runner.into_recorder())
        };
        let jobs = (1..).zip(self.loops.into_iter().zip(self.progress)).collect();
        let recorders = run_workers(jobs, work, || shared.handle.stop())?;
        let mut report = self.shared.empty_report(started.elapsed());
        for recorder in recorders {
            recorder.add_to(&mut report);
        }
        Ok(report)
    }
}

impl Shared {
    /// One more connection is open.
    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
    }

    /// One connection fewer is open.
    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// One more connection was opened or has failed; after the last one, every worker learns it.
    fn settle(&self) {
        if self.settled.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            self.handle.send(|| Message::AllSettled);
        }
    }

    fn empty_report(&self, elapsed: Duration) -> Report {
        Report {
            target: self.config.target.to_string(),
            wanted: self.config.connections,
            opened: 0,
            most_open: self.most_open.load(Ordering::Relaxed),
            verified: 0,
            failed: BTreeMap::new(),
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
            round_trip: histogram(),
            interrupted: self.handle.stopped.load(Ordering::Relaxed),
        }
    }
}
