//! What a client is asked to do.

use super::expect::{Expect, framed};
use super::load_config::{LoadConfig, MOST_PER_SECOND};
use crate::buffer::BLOCK_BYTES;
use crate::codec::Framing;
use crate::error::Error;
use crate::results::ReplyCheck;
use crate::service::search::Request;
use crate::socket::{Address, Endpoint, SocketOptions, SourceAddresses, TlsClientOptions};
use crate::units::{format_count, format_counted};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The two messages of the tutorial's client.
pub(super) const TUTORIAL_MESSAGES: [&str; 2] = ["Message 1 from client.", "Message 2 from client."];

/// How many connects are in progress at a time. A listener's backlog holds 4,096; an eighth of that leaves room for
/// others and still fills any path with a round trip below 100 ms at 5,000 connections a second.
const MAX_CONNECTING: usize = 512;

/// How long a connect may take. Covers three lost SYNs (1 + 2 + 4 seconds, RFC 6298).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before a connect is tried again for the first time.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The descriptors kept back for everything that is not a connection.
const RESERVED: usize = 32;

/// The descriptors each worker needs: the poll, its copy for registering, the waker.
const RESERVED_PER_WORKER: usize = 4;

/// The configuration of a [`Client`](super::Client).
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where to connect: the connections go to these places in turn. All addresses of a name are tried.
    pub targets: Vec<Endpoint>,
    /// The addresses that the connections come from, in turn. Default: the system chooses.
    pub sources: SourceAddresses,
    /// How many connections to open. Default: 1.
    pub connections: usize,
    /// The messages each connection sends, one after the other, from the first again when more are wanted. Default: the
    /// two of the tutorial.
    pub messages: Vec<Vec<u8>>,
    /// What to ask a server of the message protocol: sent instead of `messages`, in the same way. Each must be answered,
    /// and rightly: a value of the tutorial's table with the table's text, a binary request with its first ten bytes,
    /// any other value always in the same way. Default: nothing.
    pub requests: Vec<Request>,
    /// How many messages each connection sends. Default: each of `messages` once.
    pub messages_per_connection: Option<u64>,
    /// Send messages of this size in bytes instead of `messages`. Their bytes depend on the connection and the place in its
    /// stream, so that whatever a server changes, loses, repeats or swaps is found. Default: no.
    pub size: Option<usize>,
    /// When messages are sent, and for how long. Default: as soon as the answers are there, until all were sent once.
    pub load: LoadConfig,
    /// How messages and answers are told apart in the stream. Default: not at all.
    pub framing: Option<Framing>,
    /// What is expected to come back. Default: the echo of what was sent.
    pub expect: Expect,
    /// How long each answer is, in bytes, where [any](Expect::Any) is expected; instead of a frame. It may be larger than the
    /// buffer. Default: not known.
    pub reply_size: Option<usize>,
    /// The most bytes that wait in each direction of a connection, in bytes. An answer in a frame has to fit. Default:
    /// 64 KiB.
    pub buffer_bytes: usize,
    /// How many messages of a connection may be unanswered at a time. Default: all; in a closed loop that has a duration, 1.
    pub pipeline: Option<u64>,
    /// Once every connection was tried, keep them open for this long. Default: until every one has finished its exchange or
    /// failed. With [`LoadConfig::reconnect_every`] each closes when it is done.
    pub hold: Option<Duration>,
    /// How many connects may be in progress at a time. Default: 512.
    pub max_connecting: usize,
    /// How many connects are begun per second, evenly, over all workers; what `max_connecting` kept back is made up for. The
    /// further addresses of a name are tried at once. Default: as many as may be in progress.
    pub connect_rate: Option<f64>,
    /// How long a connect may take, for each address. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// How long a reply may take, from when the message was sent to its last byte, and how long a server may accept no bytes.
    /// Default: 10 seconds.
    pub reply_timeout: Duration,
    /// How many times a connect is tried again that was refused, timed out, or found no free local port. Default: 0.
    pub retries: u32,
    /// How long to wait before a connect is tried again; twice as long before each further time, 30 seconds at most, of
    /// which a random part of up to one half is left out, so that not all come back at once. Default: 100 ms.
    pub retry_delay: Duration,
    /// How many workers, each one loop on one thread; no more than connections are used. Default: 1.
    pub workers: usize,
    /// How long each worker polls before it sleeps, which takes a whole CPU and saves the time of waking up. Default: 0.
    pub spin: Duration,
    /// TLS on every connection, as one of these for each target says, or one for all; its handshake is part of the connect,
    /// and bounded by `connect_timeout`. Default: plain text.
    pub tls: Vec<TlsClientOptions>,
    /// The options of the sockets.
    pub socket: SocketOptions,
    /// Whether SIGINT, SIGTERM and SIGHUP end the run with a report of what was done so far; SIGUSR1 and SIGUSR2 are logged
    /// and ignored. SIGINT and SIGHUP are left alone where the process was started with them ignored. After the run the
    /// default actions hold again. Default: no.
    pub handle_signals: bool,
    /// Descriptors that others in the same process need, such as a server. Default: 0.
    pub other_descriptors: usize,
}

impl ClientConfig {
    /// The defaults: one connection to `target`.
    #[must_use]
    pub fn to(target: Endpoint) -> Self {
        Self::to_all(vec![target])
    }

    /// The defaults: one connection, and each further one to the next of `targets`.
    #[must_use]
    pub fn to_all(targets: Vec<Endpoint>) -> Self {
        Self {
            targets,
            sources: SourceAddresses::default(),
            connections: 1,
            messages: TUTORIAL_MESSAGES.iter().map(|text| text.as_bytes().to_vec()).collect(),
            requests: Vec::new(),
            messages_per_connection: None,
            size: None,
            load: LoadConfig::default(),
            framing: None,
            expect: Expect::Echo,
            reply_size: None,
            buffer_bytes: BLOCK_BYTES,
            pipeline: None,
            hold: None,
            max_connecting: MAX_CONNECTING,
            connect_rate: None,
            connect_timeout: CONNECT_TIMEOUT,
            reply_timeout: REPLY_TIMEOUT,
            retries: 0,
            retry_delay: RETRY_DELAY,
            workers: 1,
            spin: Duration::ZERO,
            tls: Vec::new(),
            socket: SocketOptions::default(),
            handle_signals: false,
            other_descriptors: 0,
        }
    }

    /// The addresses of each target that can be reached from the sources.
    pub(super) fn resolve(&self) -> Result<Vec<Vec<Address>>, Error> {
        self.sources.check()?;
        let reachable = |target: &Endpoint| {
            let mut addresses = target.resolve()?;
            if addresses.iter().any(is_for_many) {
                let text =
                    format!("{target} belongs to many machines, which TCP cannot connect to; give --udp as well");
                return Err(Error::Usage(text));
            }
            addresses.retain(|address| self.sources.reach(address));
            if addresses.is_empty() {
                let problem = match target {
                    Endpoint::Unix(_) => {
                        "is a Unix socket, and those have no addresses to come from; leave out --source"
                    }
                    Endpoint::Tcp { .. } => {
                        "cannot be reached from the addresses of --source: one side is IPv4, the other IPv6; give a source \
                         of the same kind, such as 127.0.0.1 or ::1"
                    }
                };
                return Err(Error::Usage(format!("{target} {problem}")));
            }
            Ok(addresses)
        };
        self.targets.iter().map(reachable).collect()
    }

    /// What goes out, message by message. Requests say that they will not be the only ones if that is so, or if the
    /// connection is to be held: then the server keeps it.
    pub(super) fn take_messages(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        if self.requests.is_empty() {
            return framed(self);
        }
        let keeps_alive = self.most_messages(self.requests.len()) > 1 || self.hold.is_some() || self.keeps_open();
        Ok(self.requests.iter().map(|request| request.message(keeps_alive)).collect())
    }

    /// Whether connections that have finished their exchange stay open until all others have.
    pub(super) fn keeps_open(&self) -> bool {
        self.connections > 1 && self.load.reconnect_every.is_none()
    }

    /// How many messages one connection can have, where `given` ones are sent in turn.
    fn most_messages(&self, given: usize) -> u64 {
        let endless = self.load.duration.map(|_| u64::MAX);
        let total = self.messages_per_connection.or(endless).unwrap_or(given as u64);
        total.min(self.load.reconnect_every.unwrap_or(u64::MAX))
    }

    /// Whether the work can be done when `descriptors` may be open; none is not known, and not checked.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for work that can never be done, [`Error::Descriptors`] when there are too few.
    pub(super) fn check(&self, descriptors: Option<u64>) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if self.targets.is_empty() {
            return refuse("there is no place to connect to; give one such as 127.0.0.1:65432");
        }
        if self.targets.iter().any(|target| matches!(target, Endpoint::Tcp { host, .. } if host.is_empty())) {
            return refuse("\"\" is no host to connect to; give an address or a name such as 127.0.0.1");
        }
        if self.connections == 0 {
            return refuse("0 connections do nothing; give 1 or more");
        }
        if self.workers == 0 || self.max_connecting == 0 {
            return refuse("0 workers, or 0 connects at a time, do nothing; give 1 or more");
        }
        if self.connect_timeout.is_zero() || self.reply_timeout.is_zero() {
            return refuse(
                "a timeout of 0 gives up at once; give more, such as --connect-timeout 10s --reply-timeout 10s",
            );
        }
        if self.connect_rate.is_some_and(|rate| !(rate > 0.0 && rate <= MOST_PER_SECOND)) {
            return refuse(
                "a rate of connects is a number per second above 0 and up to 100M; give one such as --connect-rate 5k",
            );
        }
        self.socket.check()?;
        if self.pipeline == Some(0) {
            return refuse("a pipeline of 0 messages sends nothing; give 1 or more");
        }
        self.load.check()?;
        if self.hold.is_some() && self.load.reconnect_every.is_some() {
            return refuse(
                "a connection that makes room for another one cannot be held; give --hold or --reconnect-every",
            );
        }
        if self.expect == Expect::ReadOnly && (self.load.rate.is_some() || self.load.reconnect_every.is_some()) {
            return refuse(
                "--messages 0 sends nothing, at no rate and on no further connection; leave out --rate and --reconnect-every",
            );
        }
        if self.size == Some(0) {
            return refuse("an empty message cannot be told apart in an echo; give at least 1 byte, such as --size 64");
        }
        self.check_framing()?;
        // Whatever numbers were typed, their sum is no small one.
        let per_worker = self.workers.saturating_mul(RESERVED_PER_WORKER);
        let others = self.other_descriptors.saturating_add(RESERVED).saturating_add(per_worker);
        let needed = self.connections.saturating_add(others) as u64;
        if let Some(available) = descriptors.filter(|available| needed > *available) {
            let counted = |count: usize, noun| format_counted(count as u64, noun);
            let workers = (self.workers > 1).then(|| format!(" and {}", counted(self.workers, "worker")));
            let wanted = counted(self.connections, "connection") + &workers.unwrap_or_default();
            return Err(Error::Descriptors { wanted, needed, available });
        }
        Ok(())
    }

    /// What will be known of the replies.
    pub(super) fn reply_check(&self) -> ReplyCheck {
        match self.expect {
            Expect::Echo => ReplyCheck::Compared,
            Expect::Any if self.framing.is_none() && self.reply_size.is_none() => ReplyCheck::Unframed,
            Expect::Any => ReplyCheck::Counted,
            Expect::Nothing | Expect::ReadOnly => ReplyCheck::NotExpected,
        }
    }

    fn check_framing(&self) -> Result<(), Error> {
        if self.reply_size == Some(0) || self.reply_size.is_some() && self.expect != Expect::Any {
            let text = "--reply-size is the size of replies that are counted and not compared, from 1 byte up; give it with \
                        --expect any, such as --expect any --reply-size 300kB";
            return Err(Error::Usage(text.to_owned()));
        }
        if self.buffer_bytes == 0 {
            return Err(Error::Usage("a buffer of 0 bytes holds nothing; give more, such as 64KiB".to_owned()));
        }
        if u32::try_from(self.buffer_bytes).is_err() {
            let text = "a buffer holds up to 4 GiB; give less, such as --buffer-limit 64KiB";
            return Err(Error::Usage(text.to_owned()));
        }
        if !self.requests.is_empty() && (self.framing.is_some() || self.expect != Expect::Echo) {
            let text = "requests of the message protocol have frames and answers of their own; give no others";
            return Err(Error::Usage(text.to_owned()));
        }
        let Some(framing) = self.framing else { return Ok(()) };
        let messages = self.most_messages(self.messages.len());
        if framing == Framing::UntilEnd && messages != 1 {
            let messages = if messages == u64::MAX { "any number of".to_owned() } else { format_count(messages) };
            return Err(Error::Usage(format!(
                "{messages} messages on one connection cannot all end with it, as the framing {framing} asks; \
                 give one message, or one that counts (--messages 1), or a connection for each (--reconnect-every 1)"
            )));
        }
        if self.expect == Expect::Any && self.reply_size.is_none() && framing != Framing::UntilEnd {
            framing.check(self.buffer_bytes).map_err(|error| Error::Usage(format!("{error}; see --buffer-limit")))?;
        }
        Ok(())
    }
}

/// Whether an address is a multicast group or the limited broadcast address.
fn is_for_many(address: &Address) -> bool {
    matches!(address, Address::Ip(address) if address.ip().is_multicast() || address.ip() == Ipv4Addr::BROADCAST)
}
