//! What a server is asked to be.

use super::admin::VISITORS;
use super::{AtLimit, ChildProgram, DatagramConfig};
use crate::buffer::BLOCK_BYTES;
use crate::connection::Limits;
use crate::error::Error;
use crate::socket::{Endpoint, MOST_TLS_BYTES, SocketOptions, TlsServerOptions};
use crate::units::{format_counted, format_size};
use ipnet::IpNet;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

/// How much memory connections may hold: 8,192 of them that are stuck in both directions. A server of a few gibibytes survives
/// that, and one with less memory has a limit to set.
const MEMORY_LIMIT: usize = 1024 * 1024 * 1024;

/// How long a drain may take. Shorter than the 90 seconds after which service managers kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a successor may take until it accepts. It starts in milliseconds; what may take longer is a look-up of names,
/// or a machine that is short of memory. Service managers allow 90 seconds for a reload.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(30);

/// The descriptors kept back for everything that is not a connection: the standard streams, a log, and one moment's
/// lookups.
const RESERVED: usize = 16;

/// The descriptors each worker needs besides its listeners: the poll, its copy for registering, the waker.
const RESERVED_PER_WORKER: usize = 4;

/// The descriptors that a metrics page needs: a few listeners, and those who ask.
const RESERVED_FOR_METRICS: usize = 4 + VISITORS;

/// The configuration of a [`Server`](super::Server).
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: Vec<Endpoint>,
    /// Where datagrams are answered. Default: nowhere.
    pub datagrams: Option<DatagramConfig>,
    /// How many workers, each one loop on one thread. Default: one per CPU.
    pub workers: usize,
    /// How long each worker polls before it sleeps, which takes a whole CPU and saves the time of waking up. Default: 0.
    pub spin: Duration,
    /// The most connections open at a time. Default: what the descriptor limit allows.
    pub max_connections: Option<usize>,
    /// The most connections open at a time from one address; a /64 of IPv6 counts as one. Default: no such limit.
    pub max_per_address: Option<usize>,
    /// What happens to those who come when `max_connections` are open. Default: they wait.
    pub at_limit: AtLimit,
    /// The ranges of addresses that are let in. Default: none, which lets in everybody.
    pub allow: Vec<IpNet>,
    /// What each connection may use.
    pub limits: Limits,
    /// The most memory that all connections together may hold between their turns, in bytes: their buffers, what their services
    /// hold ([`Service::held_bytes`](crate::service::Service::held_bytes)), and TLS. A connection that would hold more is
    /// closed. Default: 1 GiB.
    pub memory_limit: usize,
    /// How long connections may take to finish when the server drains. Default: 30 seconds.
    pub drain_timeout: Duration,
    /// The options of the sockets.
    pub socket: SocketOptions,
    /// TLS for all who are served, with what the server shows and asks for. When signals are handled, SIGHUP has the files
    /// read again. Default: plain text.
    pub tls: Option<TlsServerOptions>,
    /// Where the server tells about itself over HTTP/1.1: `/metrics` in the OpenMetrics text format (OpenMetrics 1.0.0),
    /// `/healthz` and `/readyz`. Those who ask there take no place of the service and are let in from everywhere.
    /// Default: nowhere.
    pub metrics: Option<Endpoint>,
    /// How many lines the program's logger has dropped, for `/metrics`. Default: not known.
    pub dropped_log_lines: Option<fn() -> u64>,
    /// Whether the server handles signals, until it ends; then their default actions hold again. SIGINT and SIGTERM drain
    /// it, and end it when they come again. SIGHUP has the TLS files read again, SIGUSR1 writes the counters to the log,
    /// SIGUSR2 starts the successor; where there is none of that, it is logged and nothing else happens. SIGINT is left
    /// alone where the process was started with it ignored. Default: no.
    pub handle_signals: bool,
    /// What takes over the listening sockets when SIGUSR2 comes, given that signals are handled. Default: nothing does, and
    /// the signal is logged.
    pub child_program: Option<ChildProgram>,
    /// How long the successor may take until it accepts; then it is ended, and this server serves on as before. Default: 30
    /// seconds.
    pub handover_timeout: Duration,
    /// Whether a service manager is told what the server does, if `NOTIFY_SOCKET` names one (sd_notify(3)). Default: no.
    pub notify: bool,
    /// How the log puts what is sent, such as "Echoing". Default: "Sending".
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
            max_connections: None,
            max_per_address: None,
            at_limit: AtLimit::default(),
            allow: Vec::new(),
            limits: Limits::default(),
            memory_limit: MEMORY_LIMIT,
            drain_timeout: DRAIN_TIMEOUT,
            socket: SocketOptions::default(),
            tls: None,
            metrics: None,
            dropped_log_lines: None,
            handle_signals: false,
            child_program: None,
            handover_timeout: HANDOVER_TIMEOUT,
            notify: false,
            sending: "Sending",
        }
    }

    /// How many connections may be open when `descriptors` may be; none is not known, and no limit.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a number that can never work, [`Error::Descriptors`] when there are too few.
    pub(super) fn check(&self, descriptors: Option<u64>) -> Result<usize, Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if let Some(datagrams) = &self.datagrams {
            datagrams.check()?;
        }
        if self.listen.is_empty() && self.datagrams.is_none() {
            return refuse("there is nothing to listen on; give an endpoint such as 127.0.0.1:65432");
        }
        if self.workers == 0 {
            return refuse("0 workers can serve nobody; give 1 or more, such as --workers 2");
        }
        if self.max_connections == Some(0) {
            return refuse("a limit of 0 connections lets nobody in; give 1 or more, such as --max-connections 1000");
        }
        if self.max_per_address == Some(0) {
            return refuse("0 connections per address let nobody in; give 1 or more, such as --max-per-address 100");
        }
        if self.handover_timeout.is_zero() {
            return refuse("a hand-over takes some time; give more than 0, such as --hand-over-timeout 30s");
        }
        self.socket.check()?;
        if self.limits.buffer_bytes == 0 || u32::try_from(self.limits.buffer_bytes).is_err() {
            return refuse("a buffer holds 1 byte to 4 GiB; give a size such as --buffer-limit 64KiB");
        }
        self.check_memory()?;
        // Whatever numbers were typed, their sum is no small one.
        // A listener needs two while it is copied for a successor.
        let per_listener = if self.child_program.is_some() { 2 } else { 1 };
        let listeners = self.listen.len() + self.datagrams.as_ref().map_or(0, |datagrams| 1 + datagrams.groups.len());
        let per_worker = self.workers.saturating_mul(RESERVED_PER_WORKER + per_listener * listeners);
        let for_metrics = if self.metrics.is_some() { RESERVED_FOR_METRICS } else { 0 };
        let reserved = per_worker.saturating_add(RESERVED + for_metrics);
        let descriptors = descriptors.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        let wanted = self.max_connections.unwrap_or(1);
        match descriptors.checked_sub(reserved) {
            Some(available) if available >= wanted => Ok(self.max_connections.unwrap_or(available)),
            _ => Err(Error::Descriptors {
                wanted: format!(
                    "{} and {}",
                    format_counted(wanted as u64, "connection"),
                    format_counted(self.workers as u64, "worker")
                ),
                needed: wanted.saturating_add(reserved) as u64,
                available: descriptors as u64,
            }),
        }
    }
}

impl ServerConfig {
    /// The most memory that one connection can hold, in bytes: input, output, a reply of its service that finds no room, and
    /// TLS. A service of one's own may hold more.
    fn connection_bytes(&self) -> usize {
        let buffer = self.limits.buffer_bytes;
        // A buffer that is more than half full keeps the whole block that it was lent.
        let storage = if buffer > BLOCK_BYTES / 2 { buffer.max(BLOCK_BYTES) } else { buffer };
        let tls = if self.tls.is_some() { MOST_TLS_BYTES } else { 0 };
        storage.saturating_mul(2).saturating_add(buffer).saturating_add(tls)
    }

    /// A connection that is alone must not be closed for the memory limit.
    fn check_memory(&self) -> Result<(), Error> {
        let least = self.connection_bytes();
        if self.memory_limit >= least {
            return Ok(());
        }
        let [limit, needed] = [self.memory_limit, least].map(|bytes| format_size(bytes as u64));
        let advised = least.div_ceil(1 << 20);
        Err(Error::Usage(format!(
            "a memory limit of {limit} is too small: one connection can hold {needed}; give more, such as \
             --memory-limit {advised}MiB"
        )))
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
        assert!(error.contains("192 KiB") && error.contains("--memory-limit 1MiB"), "{error}");
        config.limits.buffer_bytes = 1024;
        assert!(config.check(Some(1000)).is_ok());
    }

    #[test]
    fn the_descriptor_limit_bounds_the_connections() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        assert_eq!(config.check(Some(64)).ok(), Some(64 - 26));
        config.metrics = Some(Endpoint::tcp("127.0.0.1", 0));
        assert_eq!(config.check(Some(64)).ok(), Some(64 - 26 - 20), "a metrics page has its own reserve");
        config.metrics = None;
        config.max_connections = Some(100);
        let error = config.check(Some(64)).expect_err("64 descriptors are too few").to_string();
        assert!(error.contains("126 descriptors") && error.contains("may open 64"), "{error}");
    }
}
