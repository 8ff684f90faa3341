//! UDP client configuration.

use super::in_flight::SocketPlan;
use crate::client::{Expect, LoadConfig};
use crate::error::Error;
use crate::socket::{Endpoint, MAX_DATAGRAM_BYTES, Multicast, SocketOptions};
use crate::units::{format_count, format_counted};
use std::time::Duration;

/// Default reply timeout. Far beyond any round trip; a longer one would delay the messages behind a lost one.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Descriptors reserved for everything that is not a socket, and those each worker needs.
const RESERVED: usize = 32;
const RESERVED_PER_WORKER: usize = 4;

/// Lost messages that are remembered to recognise late replies: over all sockets, and the minimum per socket. A late
/// reply arrives within seconds, which is some ten thousand messages of each socket. A million numbers take some 16 MB.
const REMEMBERED: usize = 1 << 20;
const REMEMBERED_AT_LEAST: usize = 1024;

/// Configuration of a [`DatagramClient`](super::DatagramClient).
#[derive(Debug, Clone)]
pub struct DatagramClientConfig {
    /// Where to send: a host and a port each, assigned to the sockets in turn. A multicast group is recognised by its
    /// address.
    pub targets: Vec<Endpoint>,
    /// Number of sockets. Default: 1.
    pub sockets: usize,
    /// Messages that each socket sends, in order, from the first again when more are wanted. Default: the two of the
    /// tutorial.
    pub messages: Vec<Vec<u8>>,
    /// Message size in bytes: generated messages are sent instead of `messages`. From [`TAG_BYTES`](crate::client::TAG_BYTES)
    /// up each carries its number. Default: none.
    pub size: Option<usize>,
    /// Number of messages per socket. Default: each of `messages` once, or unlimited if the load has a duration.
    pub messages_per_socket: Option<u64>,
    /// When messages are sent, and for how long. Default: the next one after each reply, until all were sent once.
    pub load: LoadConfig,
    /// Maximum number of unanswered messages per socket. Default: 1; unlimited with a rate.
    pub pipeline: Option<u64>,
    /// Expected replies. Default: the echo of each message.
    pub expect: Expect,
    /// Time after which a message without a reply counts as lost. Default: 1 second.
    pub reply_timeout: Duration,
    /// Whether the target is a broadcast address (`SO_BROADCAST`, socket(7)). Default: no.
    pub broadcast: bool,
    /// Interface, TTL and loopback of multicast datagrams.
    pub multicast: Multicast,
    /// Number of workers, each an event loop on a thread of its own; at most one per socket is used. Default: 1.
    pub workers: usize,
    /// How long each worker polls before it sleeps. Polling occupies a whole CPU and saves the wake-up latency.
    /// Default: 0.
    pub spin: Duration,
    /// Socket options; only the kernel's buffer sizes apply to UDP.
    pub socket: SocketOptions,
    /// Whether SIGINT, SIGTERM and SIGHUP end the run with a report of what was done so far; SIGUSR1 and SIGUSR2 are
    /// logged and ignored. SIGINT and SIGHUP stay ignored where the process was started with them ignored. After the
    /// run the default actions are restored. Default: no.
    pub handle_signals: bool,
}

impl DatagramClientConfig {
    /// Default configuration: one socket to `target`.
    #[must_use]
    pub fn to(target: Endpoint) -> Self {
        Self::to_all(vec![target])
    }

    /// Default configuration: one socket to the first of `targets`; further sockets use the targets in turn.
    #[must_use]
    pub fn to_all(targets: Vec<Endpoint>) -> Self {
        let messages = crate::client::config::TUTORIAL_MESSAGES.iter();
        Self {
            targets,
            sockets: 1,
            messages: messages.map(|text| text.as_bytes().to_vec()).collect(),
            size: None,
            messages_per_socket: None,
            load: LoadConfig::default(),
            pipeline: None,
            expect: Expect::default(),
            reply_timeout: REPLY_TIMEOUT,
            broadcast: false,
            multicast: Multicast::default(),
            workers: 1,
            spin: Duration::ZERO,
            socket: SocketOptions::default(),
            handle_signals: false,
        }
    }

    /// Maximum number of messages per socket; the load may end before.
    fn total(&self) -> u64 {
        let each_once = if self.size.is_some() { 1 } else { self.messages.len() as u64 };
        let endless = self.load.duration.map(|_| u64::MAX);
        self.messages_per_socket.or(endless).unwrap_or(each_once)
    }

    /// Total number of messages to send; `None` where a duration ends the run.
    pub(super) fn wanted_messages(&self) -> Option<u64> {
        let all = self.total().saturating_mul(self.sockets as u64);
        self.load.duration.is_none().then_some(all)
    }

    /// Number of workers that have a socket. A worker without one would never send its share of the schedule.
    pub(super) fn busy_workers(&self) -> usize {
        self.workers.min(self.sockets)
    }

    /// Plan of each socket.
    pub(super) fn plan(&self) -> SocketPlan {
        let is_open_loop = self.load.rate.is_some();
        SocketPlan {
            total: self.total(),
            pipeline: self.pipeline.unwrap_or(if is_open_loop { u64::MAX } else { 1 }),
            is_open_loop,
            remembered: (REMEMBERED / self.sockets).max(REMEMBERED_AT_LEAST),
        }
    }

    /// Checks that the work is possible when `descriptors` may be open; with `None` the limit is unknown and not
    /// checked.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for an impossible configuration, [`Error::Descriptors`] when there are too few.
    pub(super) fn check(&self, descriptors: Option<u64>) -> Result<(), Error> {
        let usage_error = |text: &str| Err(Error::Usage(text.to_owned()));
        let has_host_and_port = |target: &Endpoint| matches!(target, Endpoint::Tcp { host, .. } if !host.is_empty());
        if self.targets.is_empty() || !self.targets.iter().all(has_host_and_port) {
            return usage_error("datagrams need a host and a port to go to, such as 127.0.0.1 65432");
        }
        if self.sockets == 0 || self.workers == 0 || self.pipeline == Some(0) {
            return usage_error("0 sockets or workers, or 0 messages at a time, do nothing; give 1 or more");
        }
        if self.messages_per_socket == Some(0) || self.expect == Expect::ReadOnly {
            return usage_error("0 datagrams get no reply; give 1 or more, such as --messages 1");
        }
        if self.reply_timeout.is_zero() {
            return usage_error("a timeout of 0 gives up at once; give more, such as --reply-timeout 1s");
        }
        self.load.check()?;
        if self.load.reconnect_every.is_some() {
            return usage_error("datagrams have no connections to open anew; leave out --reconnect-every");
        }
        let longest = self.size.or_else(|| self.messages.iter().map(Vec::len).max());
        match longest {
            None => return usage_error("there is no message to send; give one such as \"hello\""),
            Some(bytes) if bytes > MAX_DATAGRAM_BYTES => {
                return Err(Error::Usage(format!(
                    "a message of {} does not fit a datagram, which holds {}; give less, such as --size 1KiB",
                    format_counted(bytes as u64, "byte"),
                    format_count(MAX_DATAGRAM_BYTES as u64)
                )));
            }
            Some(_) => {}
        }
        let others = RESERVED.saturating_add(self.busy_workers().saturating_mul(RESERVED_PER_WORKER));
        let needed = self.sockets.saturating_add(others) as u64;
        if let Some(available) = descriptors.filter(|available| needed > *available) {
            let wanted = format_counted(self.sockets as u64, "socket");
            return Err(Error::Descriptors { wanted, needed, available });
        }
        Ok(())
    }
}
