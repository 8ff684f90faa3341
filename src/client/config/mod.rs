//! Client configuration.

mod expect;
mod expected_text;
mod http_requests;
mod load;
mod udp;

pub use expect::Expect;
pub(super) use expect::HalfClose;
pub use expected_text::ExpectedText;
pub(super) use expected_text::TextSearch;
pub use load::LoadConfig;
pub use udp::UdpOptions;

use crate::buffer::BLOCK_BYTES;
use crate::codec::Framing;
use crate::error::Error;
use crate::results::{ReplyCheck, Shard, Threshold, TimestampSource};
use crate::service::search::Request;
use crate::socket::{
    Address, Endpoint, MAX_DATAGRAM_BYTES, ProxyVersion, SocketOptions, SourceAddresses, TlsClientOptions,
};
use crate::units::{format_count, format_counted};
use expect::framed;
pub(super) use load::MAX_PER_SECOND;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The two messages of the tutorial's client.
const TUTORIAL_MESSAGES: [&str; 2] = ["Message 1 from client.", "Message 2 from client."];

/// Default number of connects in progress. A listener's backlog holds 4,096; an eighth of that leaves room for other
/// clients. It still fills any path with a round trip below 100 ms at 5,000 connections per second.
const MAX_CONNECTING: usize = 512;

/// Default connect timeout. Covers three lost SYNs (1 + 2 + 4 seconds, RFC 6298).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Default reply timeout.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Default reply timeout over UDP. Far beyond any round trip; a longer one would delay the messages behind a lost one.
const UDP_REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Default delay before the first retry of a connect.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Descriptors reserved for everything that is not a connection.
const RESERVED: usize = 32;

/// Descriptors per worker: the poll, its duplicate for registering, the waker.
const RESERVED_PER_WORKER: usize = 4;

/// The configuration of a [`Client`](super::Client).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Where to connect: the connections are assigned to these targets in turn. All addresses of a name are tried.
    pub targets: Vec<Endpoint>,
    /// Sends each message as a UDP datagram, from one socket per connection. Default: none, the messages go over TCP, TLS
    /// or Unix sockets.
    pub udp: Option<UdpOptions>,
    /// Source addresses of the connections, used in turn. Default: the system chooses.
    pub sources: SourceAddresses,
    /// Number of connections. Default: 1.
    pub connections: usize,
    /// The part of the load that this client sends. The rest of the configuration is that of the whole load, the same for
    /// every shard; only `workers` are those of this client. Default: the whole load.
    pub shard: Option<Shard>,
    /// Messages that each connection sends, in order, from the first again when more are wanted. Default: the two of
    /// the tutorial.
    pub messages: Vec<Vec<u8>>,
    /// Requests for a server of the message protocol, sent instead of `messages`, in the same way.
    ///
    /// Each must be answered correctly: a value of the tutorial's table with the table's text, a binary request with
    /// its first ten bytes. Any other value must get the same reply every time. Default: none.
    pub requests: Vec<Request>,
    /// Number of messages per connection. Default: each of `messages` once.
    pub messages_per_connection: Option<u64>,
    /// Message size in bytes: generated messages are sent instead of `messages`. Their bytes depend on the connection
    /// and on the position in its stream, so that changed, lost, repeated and swapped bytes are detected. Default:
    /// none. A datagram of at least [`TAG_BYTES`](super::TAG_BYTES) carries its number instead.
    pub size: Option<usize>,
    /// When messages are sent, and for how long. Default: the next one after each reply, until all were sent once.
    pub load: LoadConfig,
    /// Framing of messages and replies in the stream. Default: none.
    pub framing: Option<Framing>,
    /// Expected replies. Default: the echo of each message.
    pub expect: Expect,
    /// What each reply must contain, where [any](Expect::Any) reply or an HTTP response is expected. The end of a reply
    /// must be known: by a framing, the reply size, or as a datagram. Of a frame it is searched for in the payload, of an
    /// HTTP response in the body, without the framing of its chunks. A reply without it is wrong, and its connection goes
    /// on. Default: anything.
    pub expected_text: Option<ExpectedText>,
    /// Size of each reply in bytes, where [any](Expect::Any) reply is expected; used instead of a framing. It may
    /// exceed the buffer. Default: unknown.
    pub reply_size: Option<usize>,
    /// Buffer limit per connection and direction, in bytes. A framed reply has to fit. Default: 64 KiB.
    pub buffer_bytes: usize,
    /// Maximum number of unanswered messages per connection. Default: unlimited; 1 in a closed loop with a duration,
    /// over UDP and for HTTP. Has no effect if [nothing](Expect::Nothing) is expected.
    pub pipeline: Option<u64>,
    /// How long all connections stay open: with a duration from the end of the load, otherwise from when each was opened
    /// or has failed. Default: until the exchange of every connection is complete or has failed. With [`LoadConfig::reconnect_every`] each connection closes as soon as its
    /// exchange is complete.
    pub hold: Option<Duration>,
    /// Maximum number of connects in progress. Default: 512.
    pub max_connecting: usize,
    /// Connects started per second over all workers, evenly spaced. Connects delayed by `max_connecting` are made up
    /// for. The further addresses of a name are tried at once. Default: limited only by `max_connecting`.
    pub connect_rate: Option<f64>,
    /// Connect timeout per address. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// Maximum time from sending a message to the last byte of its reply; a datagram without one counts as timed out. Also
    /// the maximum time for which a server may accept no bytes. Default: 10 seconds; 1 second over UDP.
    pub reply_timeout: Duration,
    /// Number of retries of a connect that was refused, timed out, or found no free local port. Default: 0.
    pub retries: u32,
    /// Delay before the first retry of a connect. It doubles with each further retry, up to 30 seconds. A random part
    /// of up to one half is subtracted, so that retries do not synchronize. Default: 100 ms.
    pub retry_delay: Duration,
    /// Number of workers, each an event loop on a thread of its own; at most one per connection is used. Default: 1.
    pub workers: usize,
    /// How long each worker polls before it sleeps. Polling occupies a whole CPU and saves the wake-up latency.
    /// Default: 0.
    pub spin: Duration,
    /// How long the kernel polls the network card of a worker's sockets before the worker sleeps (Linux 6.9,
    /// ioctl_eventpoll(2)). A client on another system ends with an error. Default: 0.
    pub busy_poll: Duration,
    /// Conditions that end the load: thresholds on each whole second of it. They need a load that begins on all
    /// connections together: with a rate or a duration. Default: none.
    pub stop_if: Vec<Threshold>,
    /// Source of the arrival times of replies. Default: the kernel, where it timestamps them.
    pub timestamps: TimestampSource,
    /// Limits of the response time, for which an open loop counts the messages of each second by the instant they were
    /// due; see [`WorkerProgress::take_due_seconds`](super::WorkerProgress::take_due_seconds). Default: none.
    pub limits: Vec<Duration>,
    /// TLS options: none for plain text, one for all targets, or one per target. The handshake counts as part of the
    /// connect and is limited by `connect_timeout`. Default: plain text.
    pub tls: Vec<TlsClientOptions>,
    /// Sends a PROXY protocol header of this version as the first bytes of each connection, before a TLS handshake. It
    /// names the connection's own address and that of its peer. Needs the Cargo feature `proxy-protocol`. Default: none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Socket options.
    pub socket: SocketOptions,
    /// Whether SIGINT, SIGTERM and SIGHUP end the run with a report of what was done so far; SIGUSR1 and SIGUSR2 are
    /// logged and ignored. SIGINT and SIGHUP stay ignored where the process was started with them ignored. After the
    /// run the default actions are restored. Default: no.
    pub handle_signals: bool,
    /// Descriptors that other parts of the process need, such as a server. Default: 0.
    pub other_descriptors: usize,
}

impl ClientConfig {
    /// Default configuration: one connection to `target`.
    #[must_use]
    pub fn to(target: Endpoint) -> Self {
        Self::to_all(vec![target])
    }

    /// Default configuration: one connection to the first of `targets`; further connections use the targets in turn.
    #[must_use]
    pub fn to_all(targets: Vec<Endpoint>) -> Self {
        Self {
            targets,
            udp: None,
            sources: SourceAddresses::default(),
            connections: 1,
            shard: None,
            messages: TUTORIAL_MESSAGES.iter().map(|text| text.as_bytes().to_vec()).collect(),
            requests: Vec::new(),
            messages_per_connection: None,
            size: None,
            load: LoadConfig::default(),
            framing: None,
            expect: Expect::Echo,
            expected_text: None,
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
            busy_poll: Duration::ZERO,
            stop_if: Vec::new(),
            timestamps: TimestampSource::Kernel,
            limits: Vec::new(),
            tls: Vec::new(),
            proxy_protocol: None,
            socket: SocketOptions::default(),
            handle_signals: false,
            other_descriptors: 0,
        }
    }

    /// Sends the messages over UDP, with the reply timeout of datagrams.
    #[must_use]
    pub fn over_udp(self, options: UdpOptions) -> Self {
        Self { udp: Some(options), reply_timeout: UDP_REPLY_TIMEOUT, ..self }
    }

    /// Resolves each target to the addresses that can be reached from the source addresses.
    pub(in crate::client) fn resolve(&self) -> Result<Vec<Vec<Address>>, Error> {
        self.sources.check()?;
        let reachable = |target: &Endpoint| {
            let mut addresses = target.resolve()?;
            if self.udp.is_none() && addresses.iter().any(is_multicast_or_broadcast) {
                let problem =
                    format!("{target} is a multicast or broadcast address, to which TCP cannot connect; use UDP");
                return Err(Error::config(&["udp"], problem));
            }
            addresses.retain(|address| self.sources.reach(address));
            if addresses.is_empty() {
                let problem = match target {
                    Endpoint::Unix(_) => "is a Unix socket, which has no source address; leave it out",
                    Endpoint::Tcp { .. } => {
                        "cannot be reached from the source addresses: one side is IPv4, the other IPv6; give a source \
                         of the same kind, such as 127.0.0.1 or ::1"
                    }
                };
                return Err(Error::config(&["sources"], format!("{target} {problem}")));
            }
            Ok(addresses)
        };
        self.targets.iter().map(reachable).collect()
    }

    /// The part of the load that this client sends, or all of it.
    pub(super) fn shard(&self) -> Shard {
        self.shard.unwrap_or(Shard::WHOLE)
    }

    /// Number of connections that this client opens.
    pub(crate) fn own_connections(&self) -> usize {
        self.shard().part_of(self.connections)
    }

    /// Share of this client in the connections, and with it in the rate.
    #[allow(clippy::cast_precision_loss, reason = "so few connections are exact in 53 bits")]
    pub(in crate::client) fn share_of_connections(&self) -> f64 {
        self.own_connections() as f64 / self.connections as f64
    }

    /// Takes the messages as sent on the wire. Requests ask the server to keep the connection open if more than one is
    /// sent, or if the connection stays open after its exchange.
    pub(in crate::client) fn take_messages(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        if self.udp.is_some() {
            return Ok(std::mem::take(&mut self.messages));
        }
        if self.requests.is_empty() {
            return framed(self);
        }
        let keeps_alive = self.max_messages(self.requests.len()) > 1 || self.hold.is_some() || self.keeps_open();
        Ok(self.requests.iter().map(|request| request.message(keeps_alive)).collect())
    }

    /// Whether connections stay open after their exchange until all others have completed theirs.
    pub(in crate::client) fn keeps_open(&self) -> bool {
        self.connections > 1 && self.load.reconnect_every.is_none() && self.udp.is_none()
    }

    /// Maximum number of messages of one connection and its replacements together, where `given` messages are sent in
    /// turn. The load may end before.
    pub(super) fn total_messages(&self, given: usize) -> u64 {
        let each_once = if self.size.is_some() { 1 } else { given as u64 };
        let endless = self.load.duration.map(|_| u64::MAX);
        self.messages_per_connection.or(endless).unwrap_or(each_once)
    }

    /// Maximum number of messages of one connection, where `given` messages are sent in turn.
    fn max_messages(&self, given: usize) -> u64 {
        self.total_messages(given).min(self.load.reconnect_every.unwrap_or(u64::MAX))
    }

    /// Checks that the work is possible when `descriptors` may be open; with `None` the limit is unknown and not
    /// checked.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an impossible configuration, [`Error::Descriptors`] when there are too few.
    pub(in crate::client) fn check(&self, descriptors: Option<u64>) -> Result<(), Error> {
        self.check_targets()?;
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        if self.connections == 0 {
            return refuse(&["connections"], "0 connections do nothing; give 1 or more");
        }
        self.check_shard()?;
        if self.workers == 0 {
            return refuse(&["workers"], "0 workers do nothing; give 1 or more");
        }
        if self.max_connecting == 0 {
            return refuse(&["max_connecting"], "0 connects at a time do nothing; give 1 or more");
        }
        if self.connect_timeout.is_zero() {
            return refuse(&["connect_timeout"], "a timeout of 0 gives up at once; give more, such as 10s");
        }
        if self.reply_timeout.is_zero() {
            return refuse(&["reply_timeout"], "a timeout of 0 gives up at once; give more, such as 10s");
        }
        if self.connect_rate.is_some_and(|rate| !(rate > 0.0 && rate <= MAX_PER_SECOND)) {
            let problem = "a rate of connects is a number per second above 0 and up to 100M; give one such as 5k";
            return refuse(&["connect_rate"], problem);
        }
        self.socket.check()?;
        if self.pipeline == Some(0) {
            return refuse(&["pipeline"], "a pipeline of 0 messages sends nothing; give 1 or more");
        }
        self.load.check()?;
        if !self.stop_if.is_empty() && !self.load.has_common_start() {
            let problem = "only a load of a duration or a rate can be stopped; give one, such as 10s";
            return refuse(&["stop_if", "load.duration"], problem);
        }
        self.check_expected_text()?;
        if self.udp.is_some() {
            self.check_datagrams()?;
        } else {
            self.check_exchange()?;
        }
        self.check_descriptors(descriptors)?;
        // A shard opens a part of them.
        if u32::try_from(self.connections).is_err() {
            return refuse(
                &["connections"],
                "connections have numbers of 32 bits; give fewer than 4,294,967,296, such as 10k",
            );
        }
        Ok(())
    }

    fn check_shard(&self) -> Result<(), Error> {
        let Shard { count, .. } = self.shard();
        self.shard().check().map_err(|problem| Error::config(&["shard"], problem))?;
        if self.connections < count {
            let (shards, connections) =
                (format_count(count as u64), format_counted(self.connections as u64, "connection"));
            let problem = format!("{connections} cannot be divided over {shards} shards; give {shards} or more");
            return Err(Error::config(&["shard", "connections"], problem));
        }
        Ok(())
    }

    fn check_targets(&self) -> Result<(), Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        let has_host_and_port = |target: &Endpoint| matches!(target, Endpoint::Tcp { host, .. } if !host.is_empty());
        if self.udp.is_some() && (self.targets.is_empty() || !self.targets.iter().all(has_host_and_port)) {
            return refuse(&["targets"], "datagrams need a host and a port to go to, such as 127.0.0.1 65432");
        }
        if self.targets.is_empty() {
            return refuse(&["targets"], "no target to connect to; give one such as 127.0.0.1:65432");
        }
        if self.targets.iter().any(|target| matches!(target, Endpoint::Tcp { host, .. } if host.is_empty())) {
            return refuse(&["targets"], "\"\" is not a host; give an address or a name such as 127.0.0.1");
        }
        Ok(())
    }

    /// Checks what is specific to connections.
    fn check_exchange(&self) -> Result<(), Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        if self.hold.is_some() && self.load.reconnect_every.is_some() {
            let problem = "a connection that is replaced by another one cannot be held; give only one of the two";
            return refuse(&["hold", "load.reconnect_every"], problem);
        }
        if self.expect == Expect::ReadOnly && (self.load.rate.is_some() || self.load.reconnect_every.is_some()) {
            let problem =
                "a client that only reads sends nothing, at no rate and on no further connection; leave them out";
            return refuse(&["Expect::ReadOnly", "load.rate", "load.reconnect_every"], problem);
        }
        if self.size == Some(0) {
            let problem = "an empty message cannot be told apart in an echo; give at least 1 byte, such as 64";
            return refuse(&["size"], problem);
        }
        self.check_framing()
    }

    /// Checks what is specific to UDP.
    fn check_datagrams(&self) -> Result<(), Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        if self.messages_per_connection == Some(0) || self.expect == Expect::ReadOnly {
            return refuse(&["messages_per_connection"], "0 datagrams get no reply; give 1 or more, such as 1");
        }
        if self.load.reconnect_every.is_some() {
            return refuse(&["load.reconnect_every"], "datagrams have no connections to open anew; leave it out");
        }
        if self.proxy_protocol.is_some() {
            let problem = "a PROXY protocol header needs a stream of bytes; leave it out over UDP";
            return refuse(&["proxy_protocol", "udp"], problem);
        }
        if matches!(self.expect, Expect::Http { .. }) {
            return refuse(&["expect", "udp"], "HTTP/1.1 needs a stream of bytes; leave it out over UDP");
        }
        let is_stream = self.framing.is_some() || self.reply_size.is_some() || !self.tls.is_empty();
        if is_stream || !self.requests.is_empty() {
            let problem = "frames, TLS and the message protocol need a stream of bytes; leave them out over UDP";
            return refuse(&["framing", "reply_size", "tls", "requests"], problem);
        }
        match self.size.or_else(|| self.messages.iter().map(Vec::len).max()) {
            None => refuse(&["messages"], "there is no message to send; give one such as \"hello\""),
            Some(bytes) if bytes > MAX_DATAGRAM_BYTES => {
                let (message, datagram) =
                    (format_counted(bytes as u64, "byte"), format_count(MAX_DATAGRAM_BYTES as u64));
                let problem = format!(
                    "a message of {message} does not fit a datagram, which holds {datagram}; give less, such as 1KiB"
                );
                Err(Error::config(&["messages", "size"], problem))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_descriptors(&self, descriptors: Option<u64>) -> Result<(), Error> {
        // Saturating: the numbers can be of any size.
        let per_worker = self.workers.saturating_mul(RESERVED_PER_WORKER);
        let others = self.other_descriptors.saturating_add(RESERVED).saturating_add(per_worker);
        let connections = self.own_connections();
        let needed = connections.saturating_add(others) as u64;
        if let Some(available) = descriptors.filter(|available| needed > *available) {
            let counted = |count: usize, noun| format_counted(count as u64, noun);
            let workers = (self.workers > 1).then(|| format!(" and {}", counted(self.workers, "worker")));
            let noun = if self.udp.is_some() { "socket" } else { "connection" };
            let wanted = counted(connections, noun) + &workers.unwrap_or_default();
            return Err(Error::Descriptors { wanted, needed, available });
        }
        Ok(())
    }

    /// How replies to messages, or to `requests`, are checked.
    pub(in crate::client) fn reply_check(&self, requests: &[Request]) -> ReplyCheck {
        match self.expect {
            // Only the server defines the reply to another action.
            _ if requests.iter().any(|request| matches!(request, Request::Action { .. })) => ReplyCheck::Counted,
            Expect::Echo if !requests.is_empty() => ReplyCheck::Compared,
            Expect::Echo => ReplyCheck::Echoed,
            Expect::Any | Expect::Http { .. } if self.expected_text.is_some() => ReplyCheck::Matched,
            Expect::Any if self.udp.is_some() || self.framing.is_some() || self.reply_size.is_some() => {
                ReplyCheck::Counted
            }
            Expect::Any => ReplyCheck::Unframed,
            Expect::Http { .. } => ReplyCheck::Counted,
            Expect::Nothing | Expect::ReadOnly => ReplyCheck::NotExpected,
        }
    }

    /// Checks that replies with the expected text can be recognized.
    fn check_expected_text(&self) -> Result<(), Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        let has_end = self.udp.is_some() || self.framing.is_some() || self.reply_size.is_some();
        match self.expect {
            _ if self.expected_text.is_none() => Ok(()),
            Expect::Http { .. } => Ok(()),
            Expect::Any if has_end && self.requests.is_empty() => Ok(()),
            Expect::Any => {
                let problem = "the end of a reply is unknown, so its text is, too; say where a reply ends, by a framing such \
                               as lines or by a size such as 64";
                refuse(&["expected_text", "framing", "reply_size"], problem)
            }
            Expect::Echo | Expect::Nothing | Expect::ReadOnly => {
                let problem = "an expected text takes the place of the comparison with the message, and needs replies; expect any \
                               reply, or an HTTP response";
                refuse(&["expected_text", "expect"], problem)
            }
        }
    }

    fn check_framing(&self) -> Result<(), Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        if self.reply_size == Some(0) || self.reply_size.is_some() && self.expect != Expect::Any {
            let problem = "a reply size is 1 byte or more, and the content of such a reply is not compared; expect any reply, and \
                           give a size such as 300kB";
            return refuse(&["reply_size", "expect"], problem);
        }
        if self.buffer_bytes == 0 {
            return refuse(&["buffer_bytes"], "a buffer of 0 bytes holds nothing; give more, such as 64KiB");
        }
        if u32::try_from(self.buffer_bytes).is_err() {
            return refuse(&["buffer_bytes"], "a buffer holds up to 4 GiB; give less, such as 64KiB");
        }
        if !self.requests.is_empty() && self.expect == Expect::ReadOnly {
            let problem = "a client that only reads sends nothing, and no request either; give only one of the two";
            return refuse(&["Expect::ReadOnly", "requests"], problem);
        }
        if !self.requests.is_empty() && (self.framing.is_some() || self.expect != Expect::Echo) {
            let problem = "requests of the message protocol have frames and replies of their own; give no others";
            return refuse(&["requests", "framing", "expect"], problem);
        }
        if let Expect::Http { status } = self.expect {
            if self.framing.is_some() || self.size.is_some() {
                let problem = "HTTP requests have a framing of their own, and generated bytes are no requests; leave both \
                               out, and give requests as messages";
                return refuse(&["expect", "framing", "size"], problem);
            }
            if status.is_some_and(|status| !(100..600).contains(&status)) {
                return refuse(&["expect"], "a status code is a number from 100 to 599; give one such as 200");
            }
        }
        let Some(framing) = self.framing else { return Ok(()) };
        if self.reply_size.is_some() {
            let problem = "a size of replies and a framing both say where a reply ends; give one of them";
            return refuse(&["reply_size", "framing"], problem);
        }
        let messages = self.max_messages(self.messages.len());
        if framing == Framing::UntilEnd && messages != 1 {
            let messages = if messages == u64::MAX { "any number of".to_owned() } else { format_count(messages) };
            let problem = format!(
                "the framing {framing} ends a connection with its only message, and {messages} messages are asked for; \
                 ask for 1, or reconnect after every message"
            );
            return Err(Error::config(&["framing", "messages_per_connection", "load.reconnect_every"], problem));
        }
        if self.expect == Expect::Any && framing != Framing::UntilEnd {
            framing.check(self.buffer_bytes).map_err(|error| Error::config(&["buffer_bytes"], error.to_string()))?;
        }
        Ok(())
    }
}

/// Whether an address is a multicast group or the limited broadcast address.
fn is_multicast_or_broadcast(address: &Address) -> bool {
    matches!(address, Address::Ip(address) if address.ip().is_multicast() || address.ip() == Ipv4Addr::BROADCAST)
}
