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
mod message;
mod observer;
mod panic_hook;
mod process;
mod resolver;
#[cfg_attr(not(feature = "systemd"), path = "service_manager_disabled.rs")]
mod service_manager;
mod shared;
mod summary;
mod tls_accept;
mod tls_reload;
mod token;
mod udp;
mod watchdog;
mod worker;

pub use crate::event_loop::SignalClaim;
pub use admission::Refusal;
pub use config::{AtLimit, ServerConfig};
pub use handover::ChildProgram;
pub use message::ServerHandle;
pub use panic_hook::limit_panic_reports;
pub use summary::{DatagramSummary, DropReason, OutgoingSummary, Summary};
pub use udp::{DatagramConfig, MakeResponder};

use crate::buffer::MemoryAccount;
use crate::error::Error;
use crate::event_loop::{EventLoop, SignalSet, catch_signals, run_workers};
use crate::service::{Context, Service};
use crate::socket::{Address, BoundDatagrams, BoundListener, Inherited, TlsAcceptor, raise_descriptor_limit};
use crate::units::format_count;
use acceptor::Purpose;
use admission::Admission;
use counters::Counters;
use handover::Handover;
use malformed::MalformedCount;
use message::Message;
use process::Process;
use resolver::Resolver;
use service_manager::ServiceManager;
use shared::{Shared, WorkerGuard};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Instant;
use tls_reload::ReloadableTls;
use worker::{Job, MakeService, Worker};

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
pub struct Server<'a, S> {
    loops: Vec<EventLoop<Message>>,
    bound: Vec<BoundListener>,
    metrics: Vec<BoundListener>,
    datagrams: Vec<BoundDatagrams>,
    shared: Arc<Shared>,
    start_worker: StartWorker<'a, S>,
}

/// Makes the factory of a worker, on the worker's thread.
type StartWorker<'a, S> = Box<dyn Fn(usize) -> MakeService<'a, S> + Send + Sync + 'a>;

impl<'a, S: Service + 'a> Server<'a, S> {
    /// Listens as configured. `make_service` makes the service of each connection, after its TLS handshake; if it panics,
    /// that connection is closed, as when the service panics. Raises the soft limit on descriptors to the hard one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for an invalid configuration. [`Error::Resolve`], [`Error::Listen`], [`Error::Descriptors`] and
    /// [`Error::System`] when the system does not allow it.
    pub fn bind<F>(config: ServerConfig, make_service: F) -> Result<Self, Error>
    where
        F: Fn(&mut Context<'_>) -> S + Send + Sync + 'a,
    {
        Self::inherit(config, Inherited::default(), make_service)
    }

    /// As [`bind`](Self::bind), for services that share state within a worker. `start_worker` is called once on the
    /// thread of each worker, with its number from 0, and returns what makes the services of that worker. They share the
    /// state without a lock, for example in an `Rc<RefCell<…>>`.
    ///
    /// ```
    /// use multiconn::{Context, Endpoint, Server, ServerConfig};
    /// use multiconn::service::OneShot;
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// // Each client gets the number of clients of its worker so far.
    /// let server = Server::bind_per_worker(ServerConfig::at(Endpoint::tcp("127.0.0.1", 0)), |_worker| {
    ///     let count = Rc::new(Cell::new(0));
    ///     move |_: &mut Context<'_>| {
    ///         count.set(count.get() + 1);
    ///         let line = format!("{}\n", count.get());
    ///         OneShot::new(move || line.clone())
    ///     }
    /// })?;
    /// # server.handle().drain();
    /// # server.run()?;
    /// # Ok::<(), multiconn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_per_worker<M, F>(config: ServerConfig, start_worker: M) -> Result<Self, Error>
    where
        M: Fn(usize) -> F + Send + Sync + 'a,
        F: FnMut(&mut Context<'_>) -> S + 'a,
    {
        Self::inherit_per_worker(config, Inherited::default(), start_worker)
    }

    /// As [`bind`](Self::bind), but uses `inherited` sockets where there are any.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); [`Error::Listen`] also when an inherited socket cannot be used.
    pub fn inherit<F>(config: ServerConfig, inherited: Inherited, make_service: F) -> Result<Self, Error>
    where
        F: Fn(&mut Context<'_>) -> S + Send + Sync + 'a,
    {
        let make_service = Arc::new(make_service);
        Self::inherit_per_worker(config, inherited, move |_| {
            let make_service = Arc::clone(&make_service);
            move |context: &mut Context<'_>| make_service(context)
        })
    }

    /// As [`bind_per_worker`](Self::bind_per_worker), but uses `inherited` sockets where there are any.
    ///
    /// # Errors
    ///
    /// As [`inherit`](Self::inherit).
    pub fn inherit_per_worker<M, F>(config: ServerConfig, inherited: Inherited, start_worker: M) -> Result<Self, Error>
    where
        M: Fn(usize) -> F + Send + Sync + 'a,
        F: FnMut(&mut Context<'_>) -> S + 'a,
    {
        Self::listen(config, inherited, Box::new(move |worker| Box::new(start_worker(worker))))
    }

    fn listen(config: ServerConfig, mut inherited: Inherited, start_worker: StartWorker<'a, S>) -> Result<Self, Error> {
        let descriptors = raise_descriptor_limit().map(|limit| limit.soft);
        let max_connections = config.check(descriptors)?;
        let mut loops = Vec::with_capacity(config.workers);
        for _ in 0..config.workers {
            let event_loop = EventLoop::spinning(config.spin).map_err(Error::system("create an event loop"))?;
            let event_loop = event_loop.busy_polling(config.busy_poll);
            loops.push(event_loop.map_err(Error::system("busy-poll network cards"))?);
        }
        if config.handle_signals {
            loops[0].watch_signals(SIGNALS).map_err(Error::system("handle signals"))?;
        }
        let tls = config.tls.as_ref().map(TlsAcceptor::new).transpose()?;
        let tls = tls.map(|acceptor| Arc::new(ReloadableTls::new(acceptor)));
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
                "a backlog of {asked} is cut to {granted} by net.core.somaxconn; raise that, or give a smaller backlog"
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
            last_number: AtomicU64::new(0),
            malformed: MalformedCount::default(),
            running: AtomicUsize::new(loops.len()),
            starting: AtomicUsize::new(loops.len()),
            handle,
            counters: loops.iter().map(|_| Counters::default()).collect(),
            datagram_ports,
            process: Process::new(descriptors),
            handover: Handover::new(config.child_program.clone(), endpoints, parent),
            service_manager: ServiceManager::new(config.notify),
            resolver: Resolver::new(),
            config,
        });
        Ok(Self { loops, bound, metrics, datagrams, shared, start_worker })
    }

    /// The addresses on which the server listens, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<&Address> {
        self.bound.iter().map(|bound| &bound.endpoint.address).collect()
    }

    /// The addresses that serve the admin pages.
    #[must_use]
    pub fn metrics_addresses(&self) -> Vec<&Address> {
        self.metrics.iter().map(|bound| &bound.endpoint.address).collect()
    }

    /// The addresses on which datagrams are answered.
    #[must_use]
    pub fn datagram_addresses(&self) -> Vec<&Address> {
        self.datagrams.iter().map(|bound| &bound.endpoint.address).collect()
    }

    /// The TLS configuration in use; none for plain text.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.shared.tls.as_ref().map(|tls| &tls.acceptor)
    }

    /// A handle to shut down the server from another thread.
    #[must_use]
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
        // There are as many listeners as workers, or more if more were inherited.
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
        let (shared, start_worker) = (&self.shared, &self.start_worker);
        watchdog::start(shared).map_err(Error::system("start the watchdog's thread"))?;
        let work = |(number, mut job): (usize, Job)| {
            let _guard = WorkerGuard(shared);
            Worker::new(shared, start_worker(number), number, &mut job)?.run(&mut job.event_loop)
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
        summary.upstreams = shared.config.upstreams.as_ref().map_or_else(Vec::new, |all| all.counts(Instant::now()));
        summary.elapsed = started.elapsed();
        Ok(summary)
    }
}
