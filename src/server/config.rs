//! Server configuration.

use super::handover::ChildProgram;
use super::udp::DatagramConfig;
use crate::buffer::BLOCK_BYTES;
use crate::connection::Limits;
use crate::error::Error;
use crate::service::{AdminPages, Upstreams};
use crate::socket::{
    Endpoint, MAX_TLS_BYTES, SocketOptions, TlsAcceptor, TlsServerOptions, check_socket_options, raise_descriptor_limit,
};
use crate::units::{format_count, format_counted, format_size};
use ipnet::IpNet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

/// The default limit on the memory that connections hold: 8,192 connections that are blocked in both directions. A
/// server with a few gibibytes survives that; one with less memory should set a limit.
const MEMORY_LIMIT: usize = 1024 * 1024 * 1024;

/// The default drain timeout. Shorter than the 90 seconds after which service managers kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a new process may take until it accepts. It starts in milliseconds; name resolution or a machine short of
/// memory can take longer. Service managers allow 90 seconds for a reload.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Descriptors reserved for everything that is not a connection: standard streams, a log, and temporary use by name
/// resolution.
const RESERVED: usize = 16;

/// Descriptors that each worker needs besides its listeners: the poll, its duplicate for registering, and the waker.
const RESERVED_PER_WORKER: usize = 4;

/// The maximum number of admin connections. A few monitoring systems and a load balancer ask every few seconds, and an
/// answer takes a fraction of a millisecond.
pub(super) const MAX_ADMIN_CONNECTIONS: usize = 16;

/// Descriptors for the admin pages: a few listeners, and their connections.
const RESERVED_FOR_METRICS: usize = 4 + MAX_ADMIN_CONNECTIONS;

/// Handling of new connections at the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// They wait in the backlog until a connection closes.
    #[default]
    Wait,
    /// They are accepted and closed at once.
    Refuse,
}

/// The configuration of a [`Server`](super::Server).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The endpoints to listen on.
    pub listen: Vec<Endpoint>,
    /// UDP: where and how datagrams are answered. Default: nowhere.
    pub datagrams: Option<DatagramConfig>,
    /// The number of workers, each an event loop on its own thread. Default: one per CPU.
    pub workers: usize,
    /// How long each worker polls before it sleeps. Spinning takes a whole CPU and saves the wake-up latency. Default:
    /// 0.
    pub spin: Duration,
    /// How long the kernel polls the network card of a worker's sockets before the worker sleeps (Linux 6.9,
    /// ioctl_eventpoll(2)). A server on another system ends with an error. Default: 0.
    pub busy_poll: Duration,
    /// The maximum number of open connections. Default: what the descriptor limit allows.
    pub max_connections: Option<usize>,
    /// The maximum number of [outgoing](crate::service::Context::connect) connections, for which descriptors are then
    /// reserved. One above the limit fails. Default: none of their own; each counts against `max_connections`.
    pub max_outgoing: Option<usize>,
    /// Upstreams of a proxy, whose counts `/metrics` and the [summary](super::Summary) show. Default: none.
    pub upstreams: Option<Arc<Upstreams>>,
    /// The maximum number of open connections from one address; a /64 of IPv6 counts as one. Default: no limit.
    pub max_per_address: Option<usize>,
    /// What happens to new connections when `max_connections` are open. Default: they wait.
    pub at_limit: AtLimit,
    /// The address ranges from which connections are accepted. Default: empty, which allows every address.
    pub allow: Vec<IpNet>,
    /// Whether each connection begins with a PROXY protocol header (HAProxy, `proxy-protocol.txt`), version 1 or 2, before
    /// a TLS handshake. The peer of the connection is then the client that the header names, also for `allow` and
    /// `max_per_address`. A header without an address, as in a health check of the proxy, leaves the address of the
    /// socket. Incomplete headers are closed by [`Limits::handshake`]. Needs the Cargo feature `proxy-protocol`.
    /// Default: no.
    pub proxy_protocol: bool,
    /// The address ranges of the proxies, whose headers are trusted; connections from other addresses are refused. Peers
    /// over a Unix socket are always trusted. With `proxy_protocol` at least one range is needed, except on Unix sockets.
    pub proxy_from: Vec<IpNet>,
    /// The limits of each connection.
    pub limits: Limits,
    /// The maximum memory that all connections together may hold between their turns, in bytes: their buffers, the
    /// memory of their services ([`Service::held_bytes`](crate::service::Service::held_bytes)), and TLS. A connection
    /// that would exceed it is closed. Default: 1 GiB.
    pub memory_limit: usize,
    /// How long connections may take to finish when the server drains. Default: 30 seconds.
    pub drain_timeout: Duration,
    /// The socket options.
    pub socket: SocketOptions,
    /// TLS for all connections. When signals are handled, SIGHUP reloads the files. Needs the Cargo feature `tls`.
    /// Default: plain text.
    pub tls: Option<TlsServerOptions>,
    /// Where the server serves its admin pages over HTTP/1.1: `/metrics` in the OpenMetrics text format (OpenMetrics
    /// 1.0.0), `/healthz` and `/readyz`. Connections there do not count against `max_connections`, and are accepted
    /// from every address. Needs the Cargo feature `metrics`. Default: nowhere.
    pub metrics: Option<Endpoint>,
    /// Pages of another part of the process, which the admin listener serves in place of those of the server. The server
    /// then needs nothing else to listen on.
    pub(crate) admin_pages: Option<Arc<dyn AdminPages>>,
    /// How many lines the program's logger has dropped, for `/metrics`. Default: unknown.
    pub dropped_log_lines: Option<fn() -> u64>,
    /// Whether the server handles signals until it ends; afterwards their default actions apply again. SIGINT and
    /// SIGTERM drain it, and stop it when repeated. SIGHUP reloads the TLS files, SIGUSR1 logs the counters, SIGUSR2
    /// starts a handover. A signal that does not apply is logged and has no other effect. SIGINT is left alone if the
    /// process was started with it ignored. Default: no.
    pub handle_signals: bool,
    /// The program that takes over the listening sockets on SIGUSR2, if signals are handled. Default: none, and the
    /// signal is logged.
    pub child_program: Option<ChildProgram>,
    /// How long the new process may take until it accepts. After that it is ended, and this server continues as
    /// before. Default: 30 seconds.
    pub handover_timeout: Duration,
    /// Whether the server notifies the service manager of its state, if `NOTIFY_SOCKET` names one (sd_notify(3)).
    /// Needs the Cargo feature `systemd`. Default: no.
    pub notify: bool,
    /// The verb for sent bytes in the log, such as "Echoing". Default: "Sending".
    pub sending: &'static str,
}

impl ServerConfig {
    /// The defaults, listening at `endpoint`.
    #[must_use]
    pub fn at(endpoint: Endpoint) -> Self {
        Self {
            listen: vec![endpoint],
            datagrams: None,
            workers: available_parallelism().map_or(1, NonZeroUsize::get),
            spin: Duration::ZERO,
            busy_poll: Duration::ZERO,
            max_connections: None,
            max_outgoing: None,
            upstreams: None,
            max_per_address: None,
            at_limit: AtLimit::default(),
            allow: Vec::new(),
            proxy_protocol: false,
            proxy_from: Vec::new(),
            limits: Limits::default(),
            memory_limit: MEMORY_LIMIT,
            drain_timeout: DRAIN_TIMEOUT,
            socket: SocketOptions::default(),
            tls: None,
            metrics: None,
            admin_pages: None,
            dropped_log_lines: None,
            handle_signals: false,
            child_program: None,
            handover_timeout: HANDOVER_TIMEOUT,
            notify: false,
            sending: "Sending",
        }
    }

    /// Checks what [`Server::bind`](super::Server::bind) checks before it opens sockets: the values, the descriptor limit,
    /// which is raised, the TLS files, the names of the addresses, and the socket options.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an invalid value, [`Error::Descriptors`] when there are too few descriptors, [`Error::File`]
    /// for a TLS file that cannot be used, [`Error::Resolve`] for an unknown host, [`Error::System`] when the kernel does
    /// not grant a socket option.
    pub fn validate(&self) -> Result<(), Error> {
        self.check(raise_descriptor_limit().map(|limit| limit.soft))?;
        self.tls.as_ref().map(TlsAcceptor::new).transpose()?;
        for endpoint in self.listen.iter().chain(&self.metrics) {
            endpoint.resolve()?.iter().try_for_each(|address| check_socket_options(address, &self.socket))?;
        }
        if let Some(datagrams) = &self.datagrams {
            datagrams.listen.resolve()?;
        }
        Ok(())
    }

    /// Validates the configuration. Returns how many connections may be open with a limit of `descriptors`; `None` means
    /// that the limit is unknown.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an invalid value, [`Error::Descriptors`] when there are too few descriptors.
    pub(super) fn check(&self, descriptors: Option<u64>) -> Result<usize, Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        if let Some(datagrams) = &self.datagrams {
            datagrams.check()?;
        }
        if self.listen.is_empty() && self.datagrams.is_none() && self.admin_pages.is_none() {
            return refuse(&["listen"], "there is nothing to listen on; give an endpoint such as 127.0.0.1:65432");
        }
        if self.workers == 0 {
            return refuse(&["workers"], "0 workers serve no connection; give 1 or more, such as 2");
        }
        if self.max_connections == Some(0) {
            return refuse(&["max_connections"], "a limit of 0 connections accepts none; give 1 or more, such as 1000");
        }
        if self.max_per_address == Some(0) {
            return refuse(&["max_per_address"], "0 connections per address accept none; give 1 or more, such as 100");
        }
        self.check_proxies()?;
        if self.handover_timeout.is_zero() {
            return refuse(&["handover_timeout"], "a handover takes time; give more than 0, such as 30s");
        }
        if self.metrics.is_some() && cfg!(not(feature = "metrics")) {
            return refuse(&["metrics"], "this build serves no admin pages; enable the Cargo feature `metrics`");
        }
        if self.notify && cfg!(not(feature = "systemd")) {
            return refuse(&["notify"], "this build notifies no service manager; enable the Cargo feature `systemd`");
        }
        self.socket.check()?;
        if self.limits.buffer_bytes == 0 || u32::try_from(self.limits.buffer_bytes).is_err() {
            return refuse(&["limits.buffer_bytes"], "a buffer holds 1 byte to 4 GiB; give a size such as 64KiB");
        }
        self.check_memory()?;
        // The sums saturate, so that huge numbers do not wrap. A listener needs two descriptors during a handover.
        let per_listener = if self.child_program.is_some() { 2 } else { 1 };
        let listeners = self.listen.len() + self.datagrams.as_ref().map_or(0, |datagrams| 1 + datagrams.groups.len());
        let per_worker = self.workers.saturating_mul(RESERVED_PER_WORKER + per_listener * listeners);
        let for_metrics = if self.metrics.is_some() { RESERVED_FOR_METRICS } else { 0 };
        let outgoing = self.max_outgoing.unwrap_or(0);
        let reserved = per_worker.saturating_add(RESERVED + for_metrics).saturating_add(outgoing);
        let descriptors = descriptors.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        let wanted = self.max_connections.unwrap_or(1);
        match descriptors.checked_sub(reserved) {
            Some(available) if available >= wanted => Ok(self.max_connections.unwrap_or(available)),
            _ => Err(Error::Descriptors {
                wanted: format!(
                    "{}{} and {}",
                    format_counted(wanted as u64, "connection"),
                    self.max_outgoing
                        .map_or_else(String::new, |max| format!(", {} outgoing ones", format_count(max as u64))),
                    format_counted(self.workers as u64, "worker")
                ),
                needed: wanted.saturating_add(reserved) as u64,
                available: descriptors as u64,
            }),
        }
    }
}

impl ServerConfig {
    /// The maximum memory of one connection, in bytes: input, output, a pending reply of its service, and TLS. A custom
    /// service may hold more.
    fn connection_bytes(&self) -> usize {
        let buffer = self.limits.buffer_bytes;
        // A buffer that is more than half full keeps its whole pool block.
        let storage = if buffer > BLOCK_BYTES / 2 { buffer.max(BLOCK_BYTES) } else { buffer };
        let tls = if self.tls.is_some() { MAX_TLS_BYTES } else { 0 };
        storage.saturating_mul(2).saturating_add(buffer).saturating_add(tls)
    }

    /// Checks that headers are accepted from known proxies only: the address in a header is trusted.
    fn check_proxies(&self) -> Result<(), Error> {
        if self.proxy_protocol && cfg!(not(feature = "proxy-protocol")) {
            let problem = "this build cannot receive PROXY protocol headers; enable the Cargo feature `proxy-protocol`";
            return Err(Error::config(&["proxy_protocol"], problem));
        }
        let is_tcp = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tcp { .. });
        if self.proxy_protocol && self.proxy_from.is_empty() && self.listen.iter().any(is_tcp) {
            let problem = "any client could forge its address in a PROXY protocol header; give the addresses of the proxies, such as \
                           127.0.0.1 or 10.0.0.0/8";
            return Err(Error::config(&["proxy_from"], problem));
        }
        if !self.proxy_protocol && !self.proxy_from.is_empty() {
            let problem = "addresses of proxies have no effect without PROXY protocol headers; set both";
            return Err(Error::config(&["proxy_protocol", "proxy_from"], problem));
        }
        Ok(())
    }

    /// The memory limit must allow at least one connection.
    fn check_memory(&self) -> Result<(), Error> {
        let least = self.connection_bytes();
        if self.memory_limit >= least {
            return Ok(());
        }
        let [limit, needed] = [self.memory_limit, least].map(|bytes| format_size(bytes as u64));
        let advised = least.div_ceil(1 << 20);
        let problem = format!(
            "a memory limit of {limit} is too small: one connection can hold {needed}; give more, such as {advised}MiB"
        );
        Err(Error::config(&["memory_limit"], problem))
    }
}

#[cfg(test)]
mod tests {
    use super::ServerConfig;
    use crate::socket::Endpoint;

    #[test]
    fn a_memory_limit_allows_one_connection() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.memory_limit = 3 * 64 * 1024;
        assert!(config.check(Some(1000)).is_ok());
        config.memory_limit -= 1;
        let error = config.check(Some(1000)).expect_err("the limit is too small").to_string();
        assert!(error.contains("192 KiB") && error.contains("1MiB (memory_limit)"), "{error}");
        config.limits.buffer_bytes = 1024;
        assert!(config.check(Some(1000)).is_ok());
    }

    #[test]
    fn headers_come_from_known_proxies() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.proxy_protocol = true;
        let error = config.check(Some(1000)).expect_err("any client could send a header").to_string();
        let feature = if cfg!(feature = "proxy-protocol") { "(proxy_from)" } else { "`proxy-protocol`" };
        assert!(error.contains(feature), "{error}");
        config.proxy_from = vec!["10.0.0.0/8".parse().expect("a range")];
        assert_eq!(config.check(Some(1000)).is_ok(), cfg!(feature = "proxy-protocol"));
        config.proxy_protocol = false;
        let error = config.check(Some(1000)).expect_err("the ranges have no effect").to_string();
        assert!(error.contains("(proxy_protocol, proxy_from)"), "{error}");
        config = ServerConfig::at(Endpoint::unix("m.sock"));
        config.proxy_protocol = true;
        assert_eq!(config.check(Some(1000)).is_ok(), cfg!(feature = "proxy-protocol"));
    }

    #[test]
    fn the_descriptor_limit_bounds_the_connections() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        assert_eq!(config.check(Some(64)).ok(), Some(64 - 26));
        config.max_connections = Some(100);
        let error = config.check(Some(64)).expect_err("64 descriptors are too few").to_string();
        assert!(error.contains("126 descriptors") && error.contains("may open 64"), "{error}");
        (config.max_connections, config.max_outgoing) = (None, Some(30));
        assert_eq!(config.check(Some(64)).ok(), Some(64 - 26 - 30), "outgoing connections have their own");
        config.max_outgoing = Some(40);
        let error = config.check(Some(64)).expect_err("64 descriptors are too few").to_string();
        assert!(error.contains("1 connection, 40 outgoing ones and 2 workers"), "{error}");
    }

    #[test]
    fn admin_pages_have_their_own_descriptors_if_the_build_serves_them() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        config.metrics = Some(Endpoint::tcp("127.0.0.1", 0));
        match config.check(Some(64)) {
            Ok(connections) => assert_eq!(connections, 64 - 26 - 20),
            Err(error) => assert!(cfg!(not(feature = "metrics")) && error.to_string().contains("`metrics`"), "{error}"),
        }
    }
}
