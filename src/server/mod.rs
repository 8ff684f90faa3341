//! A server: workers, each one loop on one thread, that accept connections and give each a service.
//!
//! A server never ends because of anything a client does, and one peer's fault never touches another. It ends when it
//! is told to: [`drain`](ServerHandle::drain) answers what was received first, [`stop`](ServerHandle::stop) does not.

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
use admin::{Metrics, Process};
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
use udp::Datagrams;
use worker::Worker;

/// What a server handles. Each is caught always; one that has nothing to do here is logged and ignored.
const SIGNALS: SignalSet = SignalSet { ending: &[SIGINT, SIGTERM], others: &[SIGHUP, SIGUSR1, SIGUSR2] };

/// Catches the signals that a server handles from now on, for one that is made later with
/// [`handle_signals`](ServerConfig::handle_signals). A program calls this at its start, so that a signal that comes before
/// the server is there is handled by it. Until the result is dropped, signals that come after the server are ignored.
///
/// # Errors
///
/// [`Error::System`], with those of sigaction(2) and socketpair(2).
pub fn catch_server_signals() -> Result<SignalClaim, Error> {
    catch_signals(SIGNALS).map_err(Error::system("handle signals"))
}

/// What is known of a conversation when its service is made.
#[derive(Debug)]
pub struct ConnectionInfo<'a> {
    /// The number of the connection, counted from 1 over the whole server.
    pub number: u64,
    /// The peer.
    pub peer: &'a Address,
    sender: &'a Sender<Message>,
    key: Key,
}

impl ConnectionInfo<'_> {
    /// A waker for this conversation, for other threads or other conversations.
    #[must_use]
    pub fn waker(&self) -> ConnectionWaker {
        ConnectionWaker { sender: self.sender.clone(), key: self.key }
    }
}

/// Makes the service of one connection be called, from any thread. Of a connection that has ended it does nothing.
#[derive(Debug, Clone)]
pub struct ConnectionWaker {
    sender: Sender<Message>,
    key: Key,
}

impl ConnectionWaker {
    /// Has the service called soon.
    pub fn wake(&self) {
        self.sender.send(Message::Wake(self.key));
    }
}

/// Ends a running server, from any thread.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    workers: Vec<Sender<Message>>,
}

impl ServerHandle {
    /// Stop accepting, answer what was received, then end; at the latest after the drain timeout.
    pub fn drain(&self) {
        self.workers.iter().for_each(|worker| worker.send(Message::Drain));
    }

    /// End at once, whatever is unsent.
    pub fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.send(Message::Stop));
    }
}

/// What a worker can be told.
#[derive(Debug)]
enum Message {
    Drain,
    Stop,
    Wake(Key),
    /// Give a copy of each listening socket.
    DuplicateListeners(mpsc::Sender<io::Result<OwnedFd>>),
    /// A successor lets in whoever comes from now on.
    HandedOver,
    /// Say that you go round.
    Ping(mpsc::Sender<()>),
    /// Another worker has ended.
    Ended,
}

/// What all workers of a server know. It is touched when a connection comes or goes, never for a message.
#[derive(Debug)]
struct Shared {
    config: ServerConfig,
    admission: Admission,
    /// What all connections hold between their turns.
    memory: MemoryAccount,
    /// None for plain text.
    tls: Option<TlsAcceptor>,
    tls_reload: TlsReload,
    accepted: AtomicU64,
    malformed: MalformedCount,
    /// Workers that have not ended yet.
    running: AtomicUsize,
    /// Workers that do not accept yet.
    opening: AtomicUsize,
    handle: ServerHandle,
    /// Those of each worker, which alone writes to them.
    counters: Vec<Counters>,
    /// The ports where datagrams are answered, whatever the address.
    datagram_ports: Vec<u16>,
    process: Process,
    handover: Handover,
    service_manager: ServiceManager,
}

impl Shared {
    /// Counts a worker as accepting; the last one tells those who wait for that.
    fn note_accepting(&self) -> io::Result<()> {
        // A predecessor tells the service manager itself: until then it is the service.
        if self.opening.fetch_sub(1, Ordering::AcqRel) == 1 && !self.handover.release_parent()? {
            self.service_manager.tell_ready();
        }
        Ok(())
    }
}

/// Counts a worker as ended when it goes, in whatever way, and tells the first one, which may be waiting for that.
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
/// handle.drain(); // From another thread, as a rule.
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
    /// Listens as `config` says. `make_service` gives each connection its service; when it panics, that connection is
    /// closed, as when the service does. The soft limit on descriptors is raised to the hard one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a configuration that can never work; [`Error::Resolve`], [`Error::Listen`],
    /// [`Error::Descriptors`] and [`Error::System`] when this machine does not allow it.
    pub fn bind(config: ServerConfig, make_service: F) -> Result<Self, Error> {
        Self::inherit(config, Inherited::default(), make_service)
    }

    /// As [`bind`](Self::bind), but listens on what was `inherited` where there is such.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); [`Error::Listen`] also when what was inherited cannot be listened on.
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
        let mut datagram_ports: Vec<u16> = datagrams.iter().filter_map(|bound| bound.place.address.port()).collect();
        datagram_ports.sort_unstable();
        datagram_ports.dedup();
        let places = bound.iter().chain(&metrics).map(|bound| &bound.place);
        let places = places.chain(datagrams.iter().map(|bound| &bound.place)).cloned().collect();
        let handle = ServerHandle { workers: loops.iter().map(EventLoop::sender).collect() };
        let shared = Arc::new(Shared {
            admission: Admission::new(&config, max_connections),
            memory: MemoryAccount::new(config.memory_limit),
            tls,
            tls_reload: TlsReload::default(),
            accepted: AtomicU64::new(0),
            malformed: MalformedCount::default(),
            running: AtomicUsize::new(loops.len()),
            opening: AtomicUsize::new(loops.len()),
            handle,
            counters: loops.iter().map(|_| Counters::default()).collect(),
            datagram_ports,
            process: Process::new(descriptors),
            handover: Handover::new(config.child_program.clone(), places, parent),
            service_manager: ServiceManager::new(config.notify),
            config,
        });
        Ok(Self { loops, bound, metrics, datagrams, shared, make_service })
    }

    /// The addresses listened on, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<&Address> {
        self.bound.iter().map(|bound| &bound.place.address).collect()
    }

    /// The addresses where the server tells about itself.
    pub fn metrics_addresses(&self) -> Vec<&Address> {
        self.metrics.iter().map(|bound| &bound.place.address).collect()
    }

    /// The addresses where datagrams are answered.
    pub fn datagram_addresses(&self) -> Vec<&Address> {
        self.datagrams.iter().map(|bound| &bound.place.address).collect()
    }

    /// What is shown to those who want TLS; none when plain text is served.
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.shared.tls.as_ref()
    }

    /// Ends the server from another thread.
    pub fn handle(&self) -> ServerHandle {
        self.shared.handle.clone()
    }

    /// Serves until told to end, then says what was done. The first worker runs on the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when a loop or a thread cannot run, [`Error::Panic`] when a worker or what makes a responder
    /// panicked. The other workers drain first.
    pub fn run(mut self) -> Result<Summary, Error> {
        let started = Instant::now();
        let mut acceptors: Vec<Vec<Listener>> = self.loops.iter().map(|_| Vec::new()).collect();
        for bound in &mut self.bound {
            // As many as there are workers, or more when more were inherited.
            for (index, listener) in bound.listeners.drain(..).enumerate() {
                acceptors[index % self.shared.config.workers].push(listener);
            }
        }
        let mut datagrams: Vec<Vec<DatagramSocket>> = acceptors.iter().map(|_| Vec::new()).collect();
        for (index, socket) in self.datagrams.drain(..).flat_map(|bound| bound.sockets.into_iter().enumerate()) {
            datagrams[index % self.shared.config.workers].push(socket);
        }
        let (shared, make_service) = (&self.shared, &self.make_service);
        service_manager::serve_watchdog(shared).map_err(Error::system("start the watchdog's thread"))?;
        // The first worker has the page of them all.
        let mut desk: Vec<Listener> = self.metrics.iter_mut().flat_map(|bound| bound.listeners.drain(..)).collect();
        let is_observed = !desk.is_empty();
        let metrics = |number| is_observed.then(|| Metrics::new(shared, number, std::mem::take(&mut desk)));
        let metrics: Vec<_> = (0..acceptors.len()).map(metrics).collect();
        let work = |((event_loop, (listeners, datagrams)), (number, metrics)): (_, (usize, Option<Metrics>))| {
            let _running = Running(shared);
            let datagrams = Datagrams::new(shared, &shared.counters[number], datagrams)?;
            let worker = Worker::new(shared, make_service, &event_loop, listeners, datagrams, number, metrics);
            worker.run(event_loop)
        };
        let jobs = self
            .loops
            .drain(..)
            .zip(acceptors.into_iter().zip(datagrams))
            .zip(metrics.into_iter().enumerate())
            .collect();
        let mut summary = Summary::default();
        let result = run_workers(jobs, work, |error| {
            if shared.config.workers > 1 {
                log::error!("shutting down: {error}");
            }
            shared.handle.drain();
        });
        if result.is_ok() {
            shared.handover.abandon();
        }
        let all = self.bound.iter_mut().chain(&mut self.metrics);
        all.for_each(|bound| bound.set_path_ours(shared.handover.owns_paths()));
        for worker in result? {
            summary.add(&worker);
        }
        summary.elapsed = started.elapsed();
        Ok(summary)
    }
}
