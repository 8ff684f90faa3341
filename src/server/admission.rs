//! Admission control: address ranges, connections per address, total connections. Decided before a byte is read, or with the
//! PROXY protocol before a byte after the header.

use super::config::{AtLimit, ServerConfig};
use crate::socket::{Address, canonical_range};
use ipnet::IpNet;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many bits of an IPv6 address identify a peer: a host with one address of a /64 can use them all (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// The address is in none of the allowed ranges.
    NotAllowed,
    /// The address has its maximum number of connections.
    PerAddress,
    /// The server has its maximum number of connections.
    AtLimit,
    /// A PROXY protocol header is required, and the address is not that of a trusted proxy.
    UntrustedProxy,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotAllowed, Self::PerAddress, Self::AtLimit, Self::UntrustedProxy];

    /// The reason, without "refused".
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::NotAllowed => "the address is not allowed",
            Self::PerAddress => "too many connections from the address",
            Self::AtLimit => "too many connections",
            Self::UntrustedProxy => "the peer is not a trusted proxy",
        }
    }

    /// Stable name for scripts and metrics, such as `not_allowed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::PerAddress => "per_address",
            Self::AtLimit => "at_limit",
            Self::UntrustedProxy => "untrusted_proxy",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "refused: {}", self.why())
    }
}

/// Connection limits and the counts they apply to. Touched when a connection opens or closes, never per message.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    max_per_address: Option<usize>,
    at_limit: AtLimit,
    allow: Vec<IpNet>,
    /// The ranges of trusted proxies, if PROXY protocol headers are required.
    proxies: Option<Vec<IpNet>>,
    /// Connections that count against `max_connections`.
    open: AtomicUsize,
    max_outgoing: Option<usize>,
    /// Outgoing connections, if they have a limit of their own.
    outgoing: AtomicUsize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    pub(super) fn new(config: &ServerConfig, max_connections: usize) -> Self {
        Self {
            max_connections,
            max_per_address: config.max_per_address,
            at_limit: config.at_limit,
            allow: canonical(&config.allow),
            proxies: config.proxy_protocol.then(|| canonical(&config.proxy_from)),
            open: AtomicUsize::new(0),
            max_outgoing: config.max_outgoing,
            outgoing: AtomicUsize::new(0),
            per_address: Mutex::default(),
        }
    }

    /// The maximum number of open connections.
    pub(super) fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Whether accepting should pause because the limit is reached.
    pub(super) fn is_closed(&self) -> bool {
        self.at_limit == AtLimit::Wait && self.is_full()
    }

    /// Counts a connection of `peer`, or refuses it. [`leave`](Self::leave) undoes it. Behind a proxy the connection is then
    /// still to be [admitted](Self::admit).
    pub(super) fn enter(&self, peer: &Address) -> Result<(), Refusal> {
        if self.at_limit == AtLimit::Refuse && self.is_full() {
            return Err(Refusal::AtLimit);
        }
        match (&self.proxies, ip_of(peer)) {
            (None, _) => self.admit(peer)?,
            (Some(ranges), Some(ip)) if !contain(ranges, ip) => return Err(Refusal::UntrustedProxy),
            (Some(_), _) => {}
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a connection for the address of its client, or refuses it.
    pub(super) fn admit(&self, client: &Address) -> Result<(), Refusal> {
        let Some(ip) = ip_of(client) else { return Ok(()) };
        if !self.allows(ip) {
            return Err(Refusal::NotAllowed);
        }
        if let Some(max) = self.max_per_address {
            let mut counts = self.counts();
            let count = counts.entry(origin(ip)).or_default();
            if *count >= max {
                return Err(Refusal::PerAddress);
            }
            *count += 1;
        }
        Ok(())
    }

    /// Whether the address is in one of the allowed ranges.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        self.allow.is_empty() || contain(&self.allow, ip)
    }

    /// Counts a connection as closed, also for the address of its client if it was admitted.
    pub(super) fn leave(&self, admitted: Option<&Address>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(ip), Some(_)) = (admitted.and_then(ip_of), self.max_per_address) {
            let mut counts = self.counts();
            if let Some(count) = counts.get_mut(&origin(ip)) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&origin(ip));
                }
            }
        }
    }

    /// Connections that count for an address.
    #[cfg(all(test, multiconn_simulated))]
    pub(super) fn counted_by_address(&self) -> usize {
        self.counts().values().sum()
    }

    /// Counts an outgoing connection, unless the limit is reached. [`leave_outgoing`](Self::leave_outgoing) undoes it.
    pub(super) fn enter_outgoing(&self) -> bool {
        let (count, max) = self.outgoing();
        let next = |open| (open < max).then_some(open + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Counts an outgoing connection as closed.
    pub(super) fn leave_outgoing(&self) {
        self.outgoing().0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The count of outgoing connections, and its limit.
    fn outgoing(&self) -> (&AtomicUsize, usize) {
        match self.max_outgoing {
            Some(max) => (&self.outgoing, max),
            None => (&self.open, self.max_connections),
        }
    }

    /// Whether the connection limit is reached. Workers that check at the same moment can each admit one more: the
    /// limit is exact up to the number of workers, and the descriptor reserve covers that.
    fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.max_connections
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // The map is consistent between any two statements, even after a panic.
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical(ranges: &[IpNet]) -> Vec<IpNet> {
    ranges.iter().map(|range| canonical_range(*range).unwrap_or(*range)).collect()
}

fn contain(ranges: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ranges.iter().any(|range| range.contains(&ip))
}

fn ip_of(peer: &Address) -> Option<IpAddr> {
    match peer {
        Address::Ip(address) => Some(address.ip().to_canonical()),
        Address::Unix(_) => None,
    }
}

/// The unit that counts as one address: an IPv4 address, or a /64 of IPv6.
fn origin(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> (128 - IPV6_PEER_BITS) << (128 - IPV6_PEER_BITS)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Admission, AtLimit, Refusal, ServerConfig};
    use crate::socket::{Address, Endpoint};

    fn peer(ip: &str) -> Address {
        Address::Ip((ip.parse::<std::net::IpAddr>().expect("an address"), 1000).into())
    }

    fn admission(change: impl Fn(&mut ServerConfig)) -> Admission {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        change(&mut config);
        Admission::new(&config, 3)
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let admission = admission(|config| config.max_per_address = Some(1));
        assert_eq!(admission.enter(&peer("2001:db8::1")), Ok(()));
        assert_eq!(admission.enter(&peer("2001:db8::2:3:4:5")), Err(Refusal::PerAddress));
        assert_eq!(admission.enter(&peer("2001:db8:0:1::1")), Ok(()));
        admission.leave(Some(&peer("2001:db8::1")));
        assert_eq!(admission.enter(&peer("2001:db8::2")), Ok(()));
        admission.leave(Some(&peer("2001:db8::2")));
        admission.leave(Some(&peer("2001:db8:0:1::1")));
        assert!(admission.counts().is_empty(), "closed connections leave no entry");
    }

    #[test]
    fn only_allowed_ranges_are_admitted() {
        let ranges = ["10.0.0.0/8", "::1/128"].map(|range| range.parse().expect("a range"));
        let admission = admission(|config| config.allow = ranges.to_vec());
        assert_eq!(admission.enter(&peer("10.1.2.3")), Ok(()));
        assert_eq!(admission.enter(&peer("::1")), Ok(()));
        assert_eq!(admission.enter(&peer("11.1.2.3")), Err(Refusal::NotAllowed));
        assert_eq!(admission.enter(&Address::Unix("".into())), Ok(()), "a path has its own permissions");
    }

    #[test]
    fn mapped_ranges_and_addresses_are_treated_as_ipv4() {
        let range = "::ffff:127.0.0.0/104".parse().expect("a range");
        let admission = admission(|config| {
            config.allow = vec![range];
            config.max_per_address = Some(1);
        });
        assert_eq!(admission.enter(&peer("127.0.0.1")), Ok(()));
        assert_eq!(admission.enter(&peer("::ffff:127.0.0.1")), Err(Refusal::PerAddress));
        assert_eq!(admission.enter(&peer("::ffff:127.0.0.2")), Ok(()));
        assert_eq!(admission.enter(&peer("128.0.0.1")), Err(Refusal::NotAllowed));
        admission.leave(Some(&peer("::ffff:127.0.0.1")));
        assert_eq!(admission.enter(&peer("127.0.0.1")), Ok(()));
    }

    #[test]
    fn outgoing_connections_count_as_connections_unless_they_have_a_limit() {
        let shared = admission(|_| ());
        assert_eq!(shared.enter(&peer("127.0.0.1")), Ok(()));
        assert!(shared.enter_outgoing() && shared.enter_outgoing());
        assert!(!shared.enter_outgoing() && shared.is_closed());
        shared.leave_outgoing();
        assert!(!shared.is_closed() && shared.enter_outgoing());
        let own = admission(|config| config.max_outgoing = Some(1));
        assert!(own.enter_outgoing() && !own.enter_outgoing());
        for _ in 0..3 {
            assert!(!own.is_closed());
            assert_eq!(own.enter(&peer("127.0.0.1")), Ok(()));
        }
        own.leave_outgoing();
        assert!(own.is_closed() && own.enter_outgoing());
    }

    #[test]
    fn behind_a_proxy_the_address_of_the_client_counts() {
        let range = "10.0.0.0/8".parse().expect("a range");
        let admission = admission(|config| {
            config.proxy_protocol = true;
            config.proxy_from = vec![range];
            config.allow = vec!["192.0.2.0/24".parse().expect("a range")];
            config.max_per_address = Some(1);
        });
        assert_eq!(admission.enter(&peer("192.0.2.1")), Err(Refusal::UntrustedProxy));
        for proxy in [peer("10.0.0.1"), peer("::ffff:10.0.0.1"), Address::Unix("".into())] {
            assert_eq!(admission.enter(&proxy), Ok(()));
        }
        assert_eq!(admission.admit(&peer("10.0.0.1")), Err(Refusal::NotAllowed));
        assert_eq!(admission.admit(&peer("192.0.2.1")), Ok(()));
        assert_eq!(admission.admit(&peer("192.0.2.1")), Err(Refusal::PerAddress));
        assert!(admission.is_closed());
        admission.leave(None);
        assert_eq!(admission.admit(&peer("192.0.2.1")), Err(Refusal::PerAddress));
        admission.leave(Some(&peer("192.0.2.1")));
        assert_eq!(admission.admit(&peer("192.0.2.1")), Ok(()));
    }

    #[test]
    fn connections_at_the_limit_wait_or_are_refused() {
        for (at_limit, is_closed, answer) in
            [(AtLimit::Wait, true, Ok(())), (AtLimit::Refuse, false, Err(Refusal::AtLimit))]
        {
            let admission = admission(|config| config.at_limit = at_limit);
            for _ in 0..3 {
                assert!(!admission.is_closed());
                assert_eq!(admission.enter(&peer("127.0.0.1")), Ok(()));
            }
            assert_eq!((admission.is_closed(), admission.enter(&peer("127.0.0.1"))), (is_closed, answer));
        }
    }
}
