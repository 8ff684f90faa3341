//! What a seed determines: configuration, faults, and what each peer does.

use super::handover_plan::HandoverPlan;
use super::proxy_header::{Header, Meaning};
use super::services::Kind;
use super::upstream::PREAMBLE_BYTES;
use super::{GRACE, MILLISECOND, Nanos, SECOND};
use crate::server::config::{AtLimit, ServerConfig};
use crate::simulated_kernel::{Conduct, Faults, Rng};
use crate::socket::Endpoint;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Longest stream of most peers.
const STREAM_BYTES: u64 = 600;

/// One of so many worlds has TLS, because it takes longer.
const TLS_WORLDS: u64 = 32;

/// Handovers follow from a generator of their own, so that the other worlds are the same as without them.
const HANDOVERS: u64 = 1 << 63;

/// Distinguishes the generator that decides whether another thread answers.
const POSTED: u64 = 1 << 62;

/// Distinguishes the generator that decides whether the old process of a handover dies.
const DEATHS: u64 = 1 << 58;

/// Distinguishes the generator that decides about TLS to upstreams.
const UPSTREAM_TLS: u64 = 1 << 57;

/// One of so many worlds with a proxy has TLS to its upstreams.
const UPSTREAM_TLS_WORLDS: u64 = 8;

/// What is no TLS, or no valid one: an HTTP request, a damaged and an endless ClientHello, data before the handshake, a
/// record that is too long.
pub(super) const FOREIGN: [&[u8]; 6] = [
    b"",
    b"GET / HTTP/1.1\r\n\r\n",
    &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
    &[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xfc],
    &[23, 3, 3, 0, 1, 7],
    &[22, 3, 1, 0xff, 0xff],
];

/// A world.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: ServerConfig,
    pub(super) faults: Faults,
    pub(super) has_tls: bool,
    pub(super) service: Kind,
    pub(super) backlog: usize,
    pub(super) peers: Vec<PeerPlan>,
    /// Upstreams may break off their connections.
    pub(super) upstreams_break: bool,
    /// TLS to upstreams, in some worlds: for each of the two, whether the proxy expects another name than its certificate has.
    pub(super) upstream_tls: Option<[bool; 2]>,
    /// Options of the connections to upstreams.
    pub(super) connect_timeout: Duration,
    /// When the faults end, and every peer finishes.
    pub(super) quiet_at: Nanos,
    /// When the server is told to end.
    pub(super) end_at: Nanos,
    pub(super) ending: Ending,
    /// In some worlds.
    pub(super) handovers: Vec<HandoverPlan>,
    /// It is told to end by a signal. Without handovers it is not.
    pub(super) ends_by_signal: bool,
}

/// How the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Drain,
    Stop,
}

/// What a peer does with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsConduct {
    Proper,
    /// Ends without close_notify.
    Truncates,
    /// Sends so many bytes, of the handshake or a little more, and then does what it does at its end.
    CutAt(usize),
    /// Damages a record after so many bytes of its stream.
    Damages(usize),
    /// Sends something else than TLS.
    Foreign,
}

/// How a peer speaks TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct TlsPlan {
    /// TLS 1.3, and not 1.2.
    pub(super) is_newest: bool,
    pub(super) conduct: TlsConduct,
    /// A peer reads as late in the handshake as after it. An upstream whose handshake is cut, or foreign, stays silent.
    pub(super) stalls: bool,
    pub(super) updates_keys: bool,
}

/// What a peer does.
#[derive(Debug)]
pub(super) struct PeerPlan {
    /// Its address is one of a few.
    pub(super) host: u8,
    /// The listener to which the system assigns it. Each worker has one.
    pub(super) listener: usize,
    pub(super) begins: Nanos,
    pub(super) header: Header,
    /// None if the server has no TLS.
    pub(super) tls: Option<TlsPlan>,
    pub(super) stream: Vec<u8>,
    /// What it sends: its header and its stream.
    pub(super) wire: Vec<u8>,
    pub(super) conduct: Conduct,
    /// Room of the two receive buffers: of the server, and of the peer.
    pub(super) rooms: [usize; 2],
    /// Longest part that is sent or read at once.
    pub(super) part: usize,
    /// Longest pause between two parts.
    pub(super) pause: Nanos,
    /// It reads nothing before this instant.
    pub(super) reads_from: Nanos,
}

impl Plan {
    /// The plan of a seed, and the generator of what is not planned.
    pub(super) fn of(seed: u64) -> (Self, Rng) {
        let mut rng = Rng::new(seed);
        let mut plan = Self::new(&mut rng);
        plan.add_handovers(&mut Rng::new(seed ^ HANDOVERS));
        let mut deaths = Rng::new(seed ^ DEATHS);
        if deaths.one_in(4) {
            plan.handovers.iter_mut().for_each(|handover| handover.add_death(&mut deaths));
        }
        if plan.service == Kind::Echo && Rng::new(seed ^ POSTED).one_in(3) {
            plan.service = Kind::Posted;
        }
        plan.add_upstream_tls(&mut Rng::new(seed ^ UPSTREAM_TLS));
        (plan, rng)
    }

    fn add_handovers(&mut self, rng: &mut Rng) {
        if rng.one_in(4) {
            self.config.handover_timeout = Duration::from_millis(rng.pick(&[20, 1000, 5000]));
            self.handovers = (0..=rng.index(3)).map(|_| HandoverPlan::new(rng, self)).collect();
            self.ends_by_signal = rng.one_in(2);
            self.handovers.iter_mut().for_each(|handover| handover.add_signal(rng));
        }
    }

    fn add_upstream_tls(&mut self, rng: &mut Rng) {
        if self.service != Kind::Proxy || !rng.one_in(UPSTREAM_TLS_WORLDS) || cfg!(not(feature = "tls")) {
            return;
        }
        self.upstream_tls = Some([(); 2].map(|()| self.upstreams_break && rng.one_in(6)));
        if self.limits_memory() {
            self.config.memory_limit = rng.pick(&[13_000, 30_000]);
        }
    }

    fn new(rng: &mut Rng) -> Self {
        let service = rng.pick(&Kind::ALL);
        let has_tls = rng.one_in(TLS_WORLDS) && cfg!(feature = "tls");
        let quiet_at = rng.pick(&[20 * MILLISECOND, 500 * MILLISECOND, 5 * SECOND, 30 * SECOND]);
        // A handshake takes three crossings.
        let quiet_at = if has_tls { quiet_at.max(5 * SECOND) } else { quiet_at };
        let count = 1 + rng.index(6);
        let ends_early = rng.one_in(3);
        let end_at = if ends_early { rng.below(quiet_at) } else { quiet_at + GRACE };
        let mut config = config(rng);
        if has_tls && config.memory_limit < usize::MAX {
            // A session of TLS counts as 10 KiB.
            config.memory_limit = rng.pick(&[13_000, 30_000]);
        }
        let expects_headers = config.proxy_protocol;
        let workers = config.workers;
        let mut plan = Self {
            config,
            faults: faults(rng, quiet_at),
            has_tls,
            service,
            backlog: rng.pick(&[1, 3, 100]),
            peers: (0..count)
                .map(|number| {
                    let listener = rng.index(workers);
                    let mut peer = peer(rng, quiet_at, expects_headers.then_some(number));
                    if has_tls {
                        peer.speak_tls(rng);
                    }
                    PeerPlan { listener, ..peer }
                })
                .collect(),
            upstreams_break: rng.one_in(2),
            upstream_tls: None,
            connect_timeout: Duration::from_millis(rng.pick(&[100, 1000, 8000])),
            quiet_at,
            end_at,
            ending: if ends_early && rng.one_in(4) { Ending::Stop } else { Ending::Drain },
            handovers: Vec::new(),
            ends_by_signal: false,
        };
        plan.config.socket.backlog = u32::try_from(plan.backlog).unwrap_or(u32::MAX);
        plan
    }

    /// Whether connects, or sending their preambles, can fail.
    pub(super) fn connects_fail(&self) -> bool {
        let faults = &self.faults;
        let is_faulty = faults.connect_errors || faults.register_errors || faults.descriptors.is_some();
        self.service == Kind::Proxy && (is_faulty || self.upstreams_break)
    }

    /// Whether a connect, and each byte of its preamble, can take longer than the connect timeout. Each of two upstreams
    /// gets half of it.
    pub(super) fn connects_are_slow(&self) -> bool {
        let faults = &self.faults;
        let crossings = 2 + 2 * PREAMBLE_BYTES as u64;
        let longest = Duration::from_nanos(crossings * faults.longest_delay.max(MILLISECOND) + faults.longest_jump);
        self.service == Kind::Proxy && 2 * longest > self.connect_timeout
    }

    /// The address that the service of a peer must see; none if it must have no service.
    pub(super) fn client(&self, number: usize) -> Option<SocketAddr> {
        let socket = self.socket_address(number);
        let client = match self.peers[number].header.meaning {
            Meaning::Client(client) => client,
            Meaning::Socket => socket,
            Meaning::Invalid(_) => return None,
        };
        let is_in = |ranges: &[IpNet], ip: IpAddr| ranges.iter().any(|range| range.contains(&ip));
        let (config, ip) = (&self.config, client.ip());
        let is_trusted = !config.proxy_protocol || is_in(&config.proxy_from, socket.ip());
        (is_trusted && (config.allow.is_empty() || is_in(&config.allow, ip))).then_some(client)
    }

    /// The address of the socket of a peer.
    pub(super) fn socket_address(&self, number: usize) -> SocketAddr {
        let port = u16::try_from(number).unwrap_or(u16::MAX);
        SocketAddr::from((Ipv4Addr::new(198, 51, 100, self.peers[number].host), port))
    }

    /// Whether memory is limited.
    pub(super) fn limits_memory(&self) -> bool {
        self.config.memory_limit < usize::MAX
    }
}

impl TlsPlan {
    /// How the next connection to an upstream speaks TLS.
    pub(super) fn of_upstream(rng: &mut Rng, breaks: bool) -> Self {
        let conduct = match rng.below(8) {
            0 if breaks => TlsConduct::Truncates,
            1 if breaks => TlsConduct::CutAt(rng.index(1000)),
            2 if breaks => TlsConduct::Damages(rng.index(100)),
            3 if breaks => TlsConduct::Foreign,
            _ => TlsConduct::Proper,
        };
        Self { is_newest: !rng.one_in(4), conduct, stalls: rng.one_in(2), updates_keys: rng.one_in(3) }
    }
}

impl PeerPlan {
    /// Lets the peer speak TLS, or something else to a server that expects TLS.
    fn speak_tls(&mut self, rng: &mut Rng) {
        let conduct = match rng.below(8) {
            0 => TlsConduct::Truncates,
            1 => TlsConduct::CutAt(rng.index(400)),
            2 => TlsConduct::Damages(rng.index(self.stream.len() + 1)),
            3 => TlsConduct::Foreign,
            _ => TlsConduct::Proper,
        };
        self.tls =
            Some(TlsPlan { is_newest: !rng.one_in(4), conduct, stalls: rng.one_in(3), updates_keys: rng.one_in(3) });
        // A handshake takes about 2 KiB.
        let smallest = rng.pick(&[64, 1000]);
        self.rooms = self.rooms.map(|room| room.max(smallest));
        self.part = self.part.max(10);
        if conduct == TlsConduct::Foreign {
            let text = rng.pick(&FOREIGN);
            self.wire = [&self.header.bytes[..], text, &self.stream].concat();
            if self.conduct == Conduct::Converses {
                self.conduct = Conduct::Orderly;
            }
        }
    }

    /// Whether it sends something else than TLS to a server that expects it.
    pub(super) fn is_foreign(&self) -> bool {
        self.tls.is_some_and(|tls| tls.conduct == TlsConduct::Foreign)
    }

    /// How many bytes of the stream are in the first `count` that it sends.
    pub(super) fn stream_bytes(&self, count: usize) -> usize {
        count.saturating_sub(self.header.bytes.len())
    }
}

fn config(rng: &mut Rng) -> ServerConfig {
    let mut config = ServerConfig::at(Endpoint::tcp("192.0.2.1", 7));
    config.workers = if rng.one_in(3) { 2 } else { 1 };
    let timeout = |rng: &mut Rng| {
        let seconds = rng.pick(&[None, None, Some(1), Some(4), Some(60)]);
        seconds.map(Duration::from_secs)
    };
    config.limits.buffer_bytes = rng.pick(&[40, 41, 64, 200, 1000, 64 * 1024]);
    config.limits.turn_bytes = rng.pick(&[1, 10, 50, 64, 128 * 1024]);
    config.limits.idle = timeout(rng);
    config.limits.first_byte = timeout(rng);
    config.limits.write = timeout(rng);
    config.limits.lifetime = timeout(rng);
    config.limits.handshake = timeout(rng);
    config.limits.linger = Duration::from_millis(rng.pick(&[0, 50, 1000, 5000]));
    config.max_connections = rng.pick(&[None, None, Some(1), Some(2)]);
    config.max_per_address = rng.pick(&[None, None, None, Some(1)]);
    config.at_limit = rng.pick(&[AtLimit::Wait, AtLimit::Refuse]);
    config.memory_limit = rng.pick(&[usize::MAX, usize::MAX, usize::MAX, 200]);
    config.max_outgoing = rng.pick(&[None, None, None, Some(1)]);
    config.drain_timeout = Duration::from_millis(rng.pick(&[0, 100, 2000, 30_000]));
    let has_headers = rng.one_in(4) && cfg!(feature = "proxy-protocol");
    config.proxy_protocol = has_headers;
    let range = |text: &str| text.parse::<IpNet>().expect("a range");
    let [is_open, is_trusting] = [rng.one_in(6), rng.one_in(6)].map(|is_rare| !is_rare);
    config.allow = match (is_open, has_headers) {
        (true, _) => Vec::new(),
        (false, true) => vec![range("203.0.113.0/24")],
        (false, false) => vec![range("198.51.100.1/32")],
    };
    config.proxy_from = vec![range(if is_trusting { "198.51.100.0/24" } else { "198.51.100.1/32" })];
    config
}

/// Each fault occurs in some worlds only.
fn faults(rng: &mut Rng, quiet_at: Nanos) -> Faults {
    Faults {
        longest_delay: rng.pick(&[0, 100_000, 20 * MILLISECOND, SECOND / 2]),
        slow_calls: rng.one_in(2),
        interruptions: rng.one_in(3),
        spurious_events: rng.one_in(3),
        few_events: rng.one_in(2),
        accept_errors: rng.one_in(4),
        descriptors: rng.pick(&[None, None, None, Some(1), Some(2)]),
        connect_errors: rng.one_in(3),
        register_errors: rng.one_in(8),
        longest_jump: rng.pick(&[0, 0, 0, 2 * SECOND, 100 * SECOND]),
        longest_pause: 0,
        jumps_until: quiet_at,
        lost_bytes: rng.one_in(3),
    }
}

/// A peer, with a header of its number if the server expects one.
fn peer(rng: &mut Rng, quiet_at: Nanos, header: Option<usize>) -> PeerPlan {
    // Some streams are long enough to show a turn without a budget. They do not travel in small parts.
    let is_long = rng.one_in(40);
    let longest = if is_long { 5000 } else { rng.pick(&[0, 5, 60, STREAM_BYTES]) };
    let stream = Kind::stream(rng, longest);
    let header = header.map_or_else(Header::none, |number| Header::new(rng, number));
    let wire = [&header.bytes[..], &stream].concat();
    let after = rng.index(wire.len() + 1);
    let mut rooms = [(); 2].map(|()| if is_long { 100_000 } else { rng.pick(&[1, 7, 64, 100_000]) });
    // A header is received as a whole.
    rooms[0] = rooms[0].max(header.bytes.len());
    PeerPlan {
        host: 1 + u8::try_from(rng.below(2)).unwrap_or_default(),
        listener: 0,
        tls: None,
        begins: rng.below(quiet_at),
        conduct: match rng.below(8) {
            0 => Conduct::Resets(after),
            1 => Conduct::Closes(after),
            2 => Conduct::Vanishes(after),
            3 => Conduct::Converses,
            _ => Conduct::Orderly,
        },
        header,
        stream,
        wire,
        rooms,
        part: if is_long { 10_000 } else { rng.pick(&[1, 10, 200, 1000]) },
        pause: rng.pick(&[1, 50_000, 5 * MILLISECOND, 200 * MILLISECOND]),
        reads_from: if rng.one_in(4) { rng.below(2 * quiet_at) } else { 0 },
    }
}
