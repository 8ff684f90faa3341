//! Services of a world: what they answer, and whether their calls and the reasons of their ends are right.

use super::plan::Plan;
use super::posted::Posted;
use super::record::{ProcessRecord, Records};
use super::tls_endpoint;
use super::upstream::UPSTREAMS;
use super::{MILLISECOND, Nanos};
use crate::codec::Framing;
use crate::connection::CloseReason;
use crate::service::{
    ConnectOptions, Context, Delayed, Discard, Echo, Framed, Input, Limits, OneShot, Output, Proxy, Replies, Service,
    Unframed, Upstreams, Wait, upper,
};
use crate::simulated_kernel::{Rng, with};
use crate::socket::{Address, Endpoint};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The loop measures activity by the beginning of its rounds. The longest round takes less.
const ROUND: Nanos = 100 * MILLISECOND;

const GREETING: &[u8] = b"greeting";

/// A service under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Echo,
    Delayed,
    Lines,
    Unframed,
    Discard,
    Greeting,
    /// To one of two upstreams, which echo.
    Proxy,
    /// Echoes through another thread.
    Posted,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Echo,
        Self::Echo,
        Self::Delayed,
        Self::Lines,
        Self::Unframed,
        Self::Discard,
        Self::Greeting,
        Self::Proxy,
        Self::Proxy,
    ];

    fn make(self, plan: &Plan, peer: usize, context: &mut Context<'_>) -> Box<dyn Service> {
        let answer = |message: &[u8], replies: &mut Replies<'_>| replies.send_with(|reply| upper(message, reply));
        let buffer_bytes = plan.config.limits.buffer_bytes;
        match self {
            Self::Echo => Box::new(Echo),
            Self::Delayed => Box::new(Delayed::new(Echo, Duration::from_micros(2500))),
            Self::Lines => Box::new(Framed::new(Framing::LINES, buffer_bytes, answer)),
            Self::Unframed => Box::new(Unframed::new(answer)),
            Self::Discard => Box::new(Discard),
            Self::Greeting => Box::new(OneShot::new(|| GREETING)),
            Self::Posted => Box::new(Posted::new(buffer_bytes, context)),
            Self::Proxy => {
                // Each connection has its own, so that the preamble names the peer.
                let upstreams = [0, 1].map(|index| {
                    let host = UPSTREAMS[index].to_string();
                    let mut options = ConnectOptions::to(Endpoint::tcp(host, 80));
                    options.limits = Limits { first_byte: None, ..plan.config.limits.clone() };
                    options.connect_timeout = plan.connect_timeout;
                    options.tls = plan.upstream_tls.map(|is_wrong| tls_endpoint::connector(is_wrong[index]));
                    options.preamble = u16::try_from(peer).unwrap_or(u16::MAX).to_be_bytes().to_vec();
                    options
                });
                Box::new(Proxy::new(context, &Arc::new(Upstreams::new(upstreams))))
            }
        }
    }

    /// A stream of up to `longest` bytes: lines that fit the smallest buffer.
    pub(super) fn stream(rng: &mut Rng, longest: u64) -> Vec<u8> {
        let mut stream = Vec::new();
        let length = rng.index(usize::try_from(longest).unwrap_or_default() + 1);
        let mut line = rng.index(30);
        for position in 0..length {
            let is_end = line == 0 || position + 1 == length;
            stream.push(if is_end { b'\n' } else { b'a' + u8::try_from(position % 26).unwrap_or_default() });
            line = if is_end { rng.index(30) } else { line - 1 };
        }
        stream
    }

    /// The answer to `stream`. It is a prefix of the answer to any longer stream.
    pub(super) fn answer(self, stream: &[u8]) -> Vec<u8> {
        match self {
            Self::Echo | Self::Delayed | Self::Proxy | Self::Posted => stream.to_vec(),
            Self::Lines => {
                let end = stream.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                stream[..end].to_ascii_uppercase()
            }
            Self::Unframed => stream.to_ascii_uppercase(),
            Self::Discard => Vec::new(),
            Self::Greeting => GREETING.to_vec(),
        }
    }
}

/// Whether `limit` has passed at `now`, to a round.
pub(super) fn has_passed(now: Nanos, since: Nanos, limit: Option<Duration>) -> bool {
    limit.is_some_and(|limit| u128::from(now - since + ROUND) >= limit.as_nanos())
}

/// A service whose calls are checked.
pub(super) struct Watched {
    service: Box<dyn Service>,
    plan: Rc<Plan>,
    /// Number of the peer.
    peer: usize,
    records: Records,
    /// When it was last called with new input, and how many bytes it has seen.
    last_input: (Nanos, usize),
    /// Bytes that it has taken.
    taken: usize,
    /// The connection was idle for its limit, before it was called again. What had arrived is still answered.
    was_idle: bool,
}

impl Watched {
    pub(super) fn new(plan: Rc<Plan>, peer: usize, records: Records, context: &mut Context<'_>) -> Self {
        let client = plan.client(peer).map(Address::Ip);
        let mut world = records.borrow_mut();
        let record = &mut world.peers[peer];
        record.was_served = true;
        if let Some(endpoint) = record.endpoint {
            record.opened = with(|kernel| (kernel.now, kernel.other(endpoint).written_bytes));
        }
        if plan.peers[peer].is_foreign() {
            world.violations.push(format!("peer {peer}: served without TLS"));
        }
        if client.as_ref() != Some(context.peer()) {
            world.violations.push(format!("peer {peer}: served as {}, and not as {client:?}", context.peer()));
        }
        drop(world);
        let service = plan.service.make(&plan, peer, context);
        Self { service, plan, peer, records, last_input: (0, 0), taken: 0, was_idle: false }
    }

    /// It is called with `offered` bytes of input.
    fn note_input(&mut self, offered: usize) {
        let read = self.taken + offered;
        let mut world = self.records.borrow_mut();
        let record = &mut world.peers[self.peer];
        record.served = read;
        let opened = record.opened.0;
        let Some(client) = record.endpoint else { return };
        drop(world);
        let [now, moved] = with(|kernel| [kernel.now, kernel.other(client).last_moved]);
        self.was_idle |= has_passed(now, moved.max(self.last_input.0).max(opened), self.plan.config.limits.idle);
        if read > self.last_input.1 {
            self.last_input = (now, read);
        }
    }

    /// Whether nothing but the peer and the end of the server can end a tunnel.
    fn is_calm(&self, process: &ProcessRecord) -> bool {
        let (plan, limits) = (&self.plan, &self.plan.config.limits);
        let handshake = limits.handshake.filter(|_| plan.upstream_tls.is_some());
        let timeouts = [limits.idle, limits.write, limits.lifetime, handshake];
        let is_proxy = plan.service == Kind::Proxy;
        is_proxy
            && !plan.upstreams_break
            && !plan.limits_memory()
            && timeouts == [None; 4]
            && process.ended_at.is_none()
    }

    /// Whether a connection may close for `reason` now.
    fn is_justified(&self, reason: CloseReason) -> bool {
        let (world, limits) = (self.records.borrow(), &self.plan.config.limits);
        let record = &world.peers[self.peer];
        let Some(client) = record.endpoint else { return false };
        with(|kernel| {
            let server = kernel.other(client);
            let opened = server.accepted.unwrap_or(kernel.now);
            let process = world.process_of(server);
            let has_passed = |since: Nanos, limit: Option<Duration>| has_passed(kernel.now, since, limit);
            match reason {
                // An end without close_notify is none.
                CloseReason::PeerClosed if self.plan.has_tls => record.has_ended && !record.has_truncated,
                CloseReason::PeerClosed => record.has_ended || record.closed,
                CloseReason::Truncated => record.has_truncated || self.plan.has_tls && record.broke_off,
                CloseReason::Damaged => record.has_damaged,
                CloseReason::Completed => match self.plan.service {
                    Kind::Greeting => true,
                    // The upstream has ended first, or was idle.
                    Kind::Proxy => !self.is_calm(process),
                    _ => false,
                },
                CloseReason::TunnelFailed => self.plan.service == Kind::Proxy && !self.is_calm(process),
                CloseReason::ConnectRefused | CloseReason::ConnectFailed => self.plan.connects_fail(),
                CloseReason::ConnectTimeout => self.plan.connects_fail() || self.plan.connects_are_slow(),
                CloseReason::OutgoingLimit => {
                    self.plan.config.max_outgoing.or(self.plan.config.max_connections).is_some()
                }
                CloseReason::Reset => record.broke_off || record.closed,
                // Input that is discarded does not count.
                CloseReason::Idle => {
                    let moved = match self.plan.service {
                        // What a handle has accepted is still sent.
                        Kind::Posted => 0,
                        _ if self.plan.has_tls => record.moved_while_open,
                        _ => server.last_moved,
                    };
                    let since = moved.max(self.last_input.0).max(record.opened.0);
                    // A jump of the clock within a round is seen by the next one: activity has the instant at which its round began.
                    let jump = Duration::from_nanos(self.plan.faults.longest_jump);
                    self.was_idle || has_passed(since, limits.idle.map(|idle| idle.saturating_sub(jump)))
                }
                CloseReason::FirstByteTimeout => self.last_input.1 == 0 && has_passed(opened, limits.first_byte),
                CloseReason::WriteTimeout => {
                    // What the service has answered may still wait in the server, because room came with this round.
                    let answer = self.plan.service.answer(&self.plan.peers[self.peer].stream[..record.served]);
                    let is_unwritten = self.plan.has_tls || server.written_bytes < answer.len() as u64;
                    let is_waiting = is_unwritten
                        || server.is_full
                        || server.written_bytes > server.acknowledged_bytes
                        || kernel.unread_bytes(client) > 0;
                    is_waiting && has_passed(server.last_delivered, limits.write)
                }
                CloseReason::Lifetime => has_passed(opened, limits.lifetime),
                CloseReason::Drained => process.ended_at.is_some(),
                CloseReason::Stopped => process.is_stopped,
                CloseReason::DrainCut => {
                    let timeout = Some(self.plan.config.drain_timeout);
                    process.ended_at.is_some_and(|ended_at| has_passed(ended_at, timeout))
                }
                CloseReason::ProtocolError => self.plan.service == Kind::Lines && (record.has_ended || record.closed),
                CloseReason::MemoryLimit => self.plan.limits_memory(),
                _ => false,
            }
        })
    }
}

impl Service for Watched {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if self.records.borrow().peers[self.peer].reason.is_some() {
            self.records.borrow_mut().violations.push(format!("peer {}: served after its end", self.peer));
        }
        self.note_input(input.len());
        let offered = input.len();
        let wait = self.service.serve(input, output, context);
        self.taken += offered - input.len();
        wait
    }

    fn closed(&mut self, reason: CloseReason) {
        let is_justified = self.is_justified(reason);
        let mut world = self.records.borrow_mut();
        let earlier = world.peers[self.peer].reason.replace(reason);
        if earlier.is_some() || !is_justified {
            let record = &world.peers[self.peer];
            let server =
                with(|kernel| format!("at {}: {:?}", kernel.now, record.endpoint.map(|client| kernel.other(client))));
            let record = format!("{record:?} {server}");
            world.violations.push(format!(
                "peer {}: closed for {reason:?} after {earlier:?}, last input {:?}: {record}",
                self.peer, self.last_input
            ));
        }
        drop(world);
        self.service.closed(reason);
    }

    fn is_busy(&self) -> bool {
        self.service.is_busy()
    }

    fn held_bytes(&self) -> usize {
        self.service.held_bytes()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watched").field("peer", &self.peer).finish_non_exhaustive()
    }
}
