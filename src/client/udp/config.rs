//! What a client for datagrams is asked to do.

use super::in_flight::Plan;
use crate::client::{Expect, LoadConfig};
use crate::error::Error;
use crate::socket::{Endpoint, MAX_DATAGRAM_BYTES, Multicast, SocketOptions};
use crate::units::{format_count, format_counted};
use std::time::Duration;

/// How long a reply may take. Far beyond any round trip; a longer one would hold up the messages behind a lost one.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// The descriptors kept back for everything that is not a socket, and those each worker needs.
const RESERVED: usize = 32;
const RESERVED_PER_WORKER: usize = 4;

/// How many lost messages are remembered, over all sockets, and by each of many: a late reply comes within seconds, of some
/// ten thousand messages each. A million numbers take some 16 MB.
const REMEMBERED: usize = 1 << 20;
const REMEMBERED_AT_LEAST: usize = 1024;

/// The configuration of a [`DatagramClient`](super::DatagramClient).
#[derive(Debug, Clone)]
pub struct DatagramClientConfig {
    /// Where to send: the sockets take these places, a host and a port each, in turn. A multicast group is known by its
    /// address.
    pub targets: Vec<Endpoint>,
    /// How many sockets to send from. Default: 1.
    pub sockets: usize,
    /// The messages each socket sends, one after the other, from the first again when more are wanted. Default: the two
    /// of the tutorial.
    pub messages: Vec<Vec<u8>>,
    /// Send messages of this many bytes instead. From [`TAG_BYTES`](super::TAG_BYTES) up each carries its number.
    /// Default: none.
    pub size: Option<usize>,
    /// How many messages each socket sends. Default: each of `messages` once, or as many as the load's duration has room for.
    pub messages_per_socket: Option<u64>,
    /// When messages are sent, and for how long. Default: as soon as the replies are there, until all were sent once.
    pub load: LoadConfig,
    /// How many messages of a socket may be unanswered at a time. Default: 1; with a rate any number.
    pub pipeline: Option<u64>,
    /// What counts as a reply. Default: the message itself.
    pub expect: Expect,
    /// How long a reply may take before the message counts as lost. Default: 1 second.
    pub reply_timeout: Duration,
    /// Whether the target is the broadcast address of a network (`SO_BROADCAST`, socket(7)). Default: no.
    pub broadcast: bool,
    /// How far what is sent to a group goes.
    pub multicast: Multicast,
    /// How many workers, each one loop on one thread; no more than sockets are used. Default: 1.
    pub workers: usize,
    /// How long each worker polls before it sleeps, which takes a whole CPU and saves the time of waking up. Default: 0.
    pub spin: Duration,
    /// The options of the sockets; only the sizes of the kernel's buffers mean something here.
    pub socket: SocketOptions,
    /// Whether SIGINT, SIGTERM and SIGHUP end the run with a report of what was done so far; SIGUSR1 and SIGUSR2 are logged
    /// and ignored. SIGINT and SIGHUP are left alone where the process was started with them ignored. After the run the
    /// default actions hold again. Default: no.
    pub handle_signals: bool,
}

impl DatagramClientConfig {
    /// The defaults: one socket towards `target`.
    #[must_use]
    pub fn to(target: Endpoint) -> Self {
        Self::to_all(vec![target])
    }

    /// The defaults: one socket, and each further one towards the next of `targets`.
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

    /// How many messages each socket sends, if it comes to that before the end of the load.
    fn total(&self) -> u64 {
        let each_once = if self.size.is_some() { 1 } else { self.messages.len() as u64 };
        let endless = self.load.duration.map(|_| u64::MAX);
        self.messages_per_socket.or(endless).unwrap_or(each_once)
    }

    /// How many messages are to be sent in all; none where time ends the run.
    pub(super) fn wanted_messages(&self) -> Option<u64> {
        let all = self.total().saturating_mul(self.sockets as u64);
        self.load.duration.is_none().then_some(all)
    }

    /// How many workers have something to do. One without a socket would keep its part of the schedule to itself.
    pub(super) fn busy_workers(&self) -> usize {
        self.workers.min(self.sockets)
    }

    /// What each socket has to do.
    pub(super) fn plan(&self) -> Plan {
        let is_paced = self.load.rate.is_some();
        Plan {
            total: self.total(),
            pipeline: self.pipeline.unwrap_or(if is_paced { u64::MAX } else { 1 }),
            is_paced,
            remembered: (REMEMBERED / self.sockets).max(REMEMBERED_AT_LEAST),
        }
    }

    /// Whether the work can be done when `descriptors` may be open; none is not known, and not checked.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for work that can never be done, [`Error::Descriptors`] when there are too few.
    pub(super) fn check(&self, descriptors: Option<u64>) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        let is_place = |target: &Endpoint| matches!(target, Endpoint::Tcp { host, .. } if !host.is_empty());
        if self.targets.is_empty() || !self.targets.iter().all(is_place) {
            return refuse("datagrams need a host and a port to go to, such as 127.0.0.1 65432");
        }
        if self.sockets == 0 || self.workers == 0 || self.pipeline == Some(0) {
            return refuse("0 sockets or workers, or 0 messages at a time, do nothing; give 1 or more");
        }
        if self.messages_per_socket == Some(0) || self.expect == Expect::ReadOnly {
            return refuse("0 datagrams get no reply; give 1 or more, such as --messages 1");
        }
        if self.reply_timeout.is_zero() {
            return refuse("a timeout of 0 gives up at once; give more, such as --reply-timeout 1s");
        }
        self.load.check()?;
        if self.load.reconnect_every.is_some() {
            return refuse("datagrams have no connections to open anew; leave out --reconnect-every");
        }
        let longest = self.size.or_else(|| self.messages.iter().map(Vec::len).max());
        match longest {
            None => return refuse("there is no message to send; give one such as \"hello\""),
            Some(bytes) if bytes > MAX_DATAGRAM_BYTES => {
                return Err(Error::Usage(format!(
                    "a message of {} fits no datagram, which holds {}; give less, such as --size 1KiB",
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
