//! Server: workers, each an event loop on its own thread, that accept connections and run a service on each.
//!
//! No client action ends a server, and one peer's fault never affects another. A server ends only on request:
//! [`drain`](ServerHandle::drain) first answers what was received, [`stop`](ServerHandle::stop) does not.

mod acceptor;
mod admin;
mod admission;
mod config;
mod counters;
mod handover;
mod lifecycle;
mod malformed;
mod observer;
mod panic_hook;
mod service_manager;
mod summary;
mod tls_events;
mod tls_reload;
mod token;
mod udp;
mod worker;

pub use admission::{AtLimit, Refusal};
pub use config::ServerConfig;
pub use handover::ChildProgram;
pub use panic_hook::limit_panic_reports;
pub use summary::Summary;
pub use udp::{DatagramConfig, DatagramSummary, Dropped, MakeResponder};

use crate::buffer::MemoryAccount;
use crate::error::Error;
use crate::event_loop::{EventLoop, Key, Sender, SignalClaim, SignalSet, catch_signals, run_workers};
use crate::service::Service;
use crate::socket::{
    Address, BoundDatagrams, BoundListener, DatagramSocket, Inherited, Listener, TlsAcceptor, raise_descriptor_limit,
};
use crate::units::format_count;
use acceptor::Purpose;
use admin::Process;
use admission::Admission;
use counters::Counters;
use handover::Handover;
use malformed::MalformedCount;
use service_manager::ServiceManager;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use tls_reload::TlsReload;
use worker::Worker;

/// The signals that a server handles. All of them are always caught; a signal without an action is logged and ignored.
const SIGNALS: SignalSet = SignalSet { ending: &[SIGINT, SIGTERM], others: &[SIGHUP, SIGUSR1, SIGUSR2] };

/// Catches the signals that a server handles, before the server exists. A program calls this at its start, so that an
/// early signal is handled by a server that is later made with [`handle_signals`](ServerConfig::handle_signals).
/// Signals that arrive after the server has ended are ignored, until the result is dropped.
///
/// # Errors
///
/// [`Error::System`], with those of sigaction(2) and socketpair(2).
pub fn catch_server_signals() -> Result<SignalClaim, Error> {
    catch_signals(SIGNALS).map_err(Error::system("handle signals"))
}

/// Facts about a connection for the factory of its service.
#[derive(Debug)]
pub struct ConnectionInfo<'a> {
    /// The number of the connection, counted from 1 over the whole server.
    pub number: u64,
    /// The peer's address.
    pub peer: &'a Address,
    sender: &'a Sender<Message>,
    key: Key,
}

impl ConnectionInfo<'_> {
    /// A waker for this connection, for other threads or other connections.
    #[must_use]
    pub fn waker(&self) -> ConnectionWaker {
        ConnectionWaker { sender: self.sender.clone(), key: self.key }
    }
}

/// Wakes the service of one connection, from any thread. Does nothing once the connection has ended.
#[derive(Debug, Clone)]
pub struct ConnectionWaker {
    sender: Sender<Message>,
    key: Key,
}

impl ConnectionWaker {
    /// Makes the worker call the service soon.
    pub fn wake(&self) {
        self.sender.send(Message::Wake(self.key));
    }
}

/// Shuts down a running server, from any thread.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    workers: Vec<Sender<Message>>,
}

impl ServerHandle {
    /// Stops accepting, answers what was received, then ends; at the latest after the drain timeout.
    pub fn drain(&self) {
        self.workers.iter().for_each(|worker| worker.send(Message::Drain));
    }

    /// Ends at once and discards unsent output.
    pub fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.send(Message::Stop));
    }
}

/// A message to a worker.
#[derive(Debug)]
enum Message {
    Drain,
    Stop,
    Wake(Key),
    /// Send a duplicate of each listening socket.
    DuplicateListeners(mpsc::Sender<io::Result<OwnedFd>>),
    /// A new process accepts all further connections.
    HandedOver,
    /// Reply, to show that the loop runs.
    Ping(mpsc::Sender<()>),
    /// Another worker has ended.
    Ended,
}

/// State shared by all workers. It is touched when a connection opens or closes, never per message.
#[derive(Debug)]
struct Shared {
    config: ServerConfig,
    admission: Admission,
    /// Memory that all connections hold between their turns.
    memory: MemoryAccount,
    /// None for plain text.
    tls: Option<TlsAcceptor>,
    tls_reload: TlsReload,
    accepted: AtomicU64,
    malformed: MalformedCount,
    /// Workers that have not ended yet.
    running: AtomicUsize,
    /// Workers that do not accept yet.
    starting: AtomicUsize,
    handle: ServerHandle,
    /// The counters of each worker, which only that worker writes.
    counters: Vec<Counters>,
    /// The ports on which datagrams are answered, on any address.
    datagram_ports: Vec<u16>,
    process: Process,
    handover: Handover,
    service_manager: ServiceManager,
}

impl Shared {
    /// Counts a worker as accepting. The last one reports readiness to the old process or else to the service manager.
    fn worker_is_accepting(&self) -> io::Result<()> {
        // The old process notifies the service manager itself: until then it is the main process.
        if self.starting.fetch_sub(1, Ordering::AcqRel) == 1 && !self.handover.release_parent()? {
            self.service_manager.notify_ready();
        }
        Ok(())
    }
}

/// What one worker starts with.
struct Job {
    event_loop: EventLoop<Message>,
    listeners: Vec<(Purpose, Listener)>,
    datagrams: Vec<DatagramSocket>,
}

/// Counts a worker as ended when dropped, and wakes the first worker, which may be waiting for that.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.handle.workers[0].send(Message::Ended);
    }
}

/// A server that listens, but does not serve yet: see [`run`](Self::run).
///
/// ```
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::Echo;
/// use multiconn::socket::Endpoint;
///
/// let server = Server::bind(ServerConfig::at(Endpoint::tcp("127.0.0.1", 0)), |_| Echo)?;
/// let handle = server.handle();
/// handle.drain(); // Usually from another thread.
/// let summary = server.run()?;
/// assert_eq!(summary.accepted, 0);
/// # Ok::<(), multiconn::error::Error>(())
/// ```
pub struct Server<F> {
    loops: Vec<EventLoop<Message>>,
    bound: Vec<BoundListener>,
    metrics: Vec<BoundListener>,
    datagrams: Vec<BoundDatagrams>,
    shared: Arc<Shared>,
    make_service: F,
}

impl<F, S> Server<F>
where
    F: Fn(&ConnectionInfo<'_>) -> S + Sync,
    S: Service,
{
    /// Listens as configured. `make_service` makes the service of each connection; if it panics, that connection is
    /// closed, as when the service panics. Raises the soft limit on descriptors to the hard one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for an invalid configuration. [`Error::Resolve`], [`Error::Listen`], [`Error::Descriptors`] and
    /// [`Error::System`] when the system does not allow it.
    pub fn bind(config: ServerConfig, make_service: F) -> Result<Self, Error> {
        Self::inherit(config, Inherited::default(), make_service)
    }

    /// As [`bind`](Self::bind), but uses `inherited` sockets where there are any.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); [`Error::Listen`] also when an inherited socket cannot be used.
    pub fn inherit(config: ServerConfig, mut inherited: Inherited, make_service: F) -> Result<Self, Error> {
        let descriptors = raise_descriptor_limit().map(|limit| limit.soft);
        let max_connections = config.check(descriptors)?;
        let mut loops = Vec::with_capacity(config.workers);
        for _ in 0..config.workers {
            loops.push(EventLoop::spinning(config.spin).map_err(Error::system("create an event loop"))?);
        }
        if config.handle_signals {
            loops[0].watch_signals(SIGNALS).map_err(Error::system("handle signals"))?;
        }
        let tls = config.tls.clone().map(TlsAcceptor::new).transpose()?;
        let parent = inherited.take_parent();
        let metrics = match &config.metrics {
            Some(endpoint) => inherited.listen_for("metrics", endpoint, &config.socket, 1)?,
            None => Vec::new(),
        };
        let datagrams = match &config.datagrams {
            Some(wanted) => inherited.listen_for_datagrams(
                &wanted.listen,
                &wanted.groups,
                &wanted.multicast,
                &config.socket,
                config.workers,
            )?,
            None => Vec::new(),
        };
        let bound = inherited.listen(&config.listen, &config.socket, config.workers)?;
        if let (Some(granted), false) = (config.socket.cut_backlog(), bound.is_empty()) {
            let [asked, granted] = [config.socket.backlog, granted].map(|count| format_count(count.into()));
            log::warn!(
                "a backlog of {asked} is cut to {granted} by net.core.somaxconn; raise that, or give a smaller --backlog"
            );
        }
        let mut datagram_ports: Vec<u16> = datagrams.iter().filter_map(|bound| bound.endpoint.address.port()).collect();
        datagram_ports.sort_unstable();
        datagram_ports.dedup();
        let endpoints = bound.iter().chain(&metrics).map(|bound| &bound.endpoint);
        let endpoints = endpoints.chain(datagrams.iter().map(|bound| &bound.endpoint)).cloned().collect();
        let handle = ServerHandle { workers: loops.iter().map(EventLoop::sender).collect() };
        let shared = Arc::new(Shared {
            admission: Admission::new(&config, max_connections),
            memory: MemoryAccount::new(config.memory_limit),
            tls,
            tls_reload: TlsReload::default(),
            accepted: AtomicU64::new(0),
            malformed: MalformedCount::default(),
            running: AtomicUsize::new(loops.len()),
            starting: AtomicUsize::new(loops.len()),
            handle,
            counters: loops.iter().map(|_| Counters::default()).collect(),
            datagram_ports,
            process: Process::new(descriptors),
            handover: Handover::new(config.child_program.clone(), endpoints, parent),
            service_manager: ServiceManager::new(config.notify),
            config,
        });
        Ok(Self { loops, bound, metrics, datagrams, shared, make_service })
    }

    /// The addresses on which the server listens, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<&Address> {
        self.bound.iter().map(|bound| &bound.endpoint.address).collect()
    }

    /// The addresses that serve the admin pages.
    pub fn metrics_addresses(&self) -> Vec<&Address> {
        self.metrics.iter().map(|bound| &bound.endpoint.address).collect()
    }

    /// The addresses on which datagrams are answered.
    pub fn datagram_addresses(&self) -> Vec<&Address> {
        self.datagrams.iter().map(|bound| &bound.endpoint.address).collect()
    }

    /// The TLS configuration in use; none for plain text.
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.shared.tls.as_ref()
    }

    /// A handle to shut down the server from another thread.
    pub fn handle(&self) -> ServerHandle {
        self.shared.handle.clone()
    }

    /// Serves until it is shut down, then returns a summary. The first worker runs on the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when a loop or a thread cannot run. [`Error::Panic`] when a worker or the factory of a
    /// responder panicked. The other workers drain first.
    pub fn run(mut self) -> Result<Summary, Error> {
        let started = Instant::now();
        let job = |event_loop| Job { event_loop, listeners: Vec::new(), datagrams: Vec::new() };
        let mut jobs: Vec<_> = self.loops.drain(..).map(job).collect();
        // There are as many sockets as workers, or more if more were inherited.
        let workers = jobs.len();
        for (index, listener) in self.bound.iter_mut().flat_map(|bound| bound.listeners.drain(..).enumerate()) {
            jobs[index % workers].listeners.push((Purpose::Service, listener));
        }
        for (index, socket) in self.datagrams.drain(..).flat_map(|bound| bound.sockets.into_iter().enumerate()) {
            jobs[index % workers].datagrams.push(socket);
        }
        // The first worker serves the admin pages for all workers.
        for listener in self.metrics.iter_mut().flat_map(|bound| bound.listeners.drain(..)) {
            jobs[0].listeners.push((Purpose::Admin, listener));
        }
        let (shared, make_service) = (&self.shared, &self.make_service);
        service_manager::serve_watchdog(shared).map_err(Error::system("start the watchdog's thread"))?;
        let work = |(number, mut job): (usize, Job)| {
            let _running = Running(shared);
            Worker::new(shared, make_service, number, &mut job)?.run(&mut job.event_loop)
        };
        let jobs = jobs.into_iter().enumerate().collect();
        let mut summary = Summary::default();
        let result = run_workers(jobs, work, |error| {
            if shared.config.workers > 1 {
                log::error!("shutting down: {error}");
            }
            shared.handle.drain();
        });
        if result.is_ok() {
            shared.handover.abort();
        }
        let all = self.bound.iter_mut().chain(&mut self.metrics);
        all.for_each(|bound| bound.set_owns_path(shared.handover.owns_paths()));
        for worker in result? {
            summary.add(&worker);
        }
        summary.elapsed = started.elapsed();
        Ok(summary)
    }
}
