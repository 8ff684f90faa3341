//! Who may come in: address ranges, connections per address, connections in all. Decided before a byte is read.

use super::ServerConfig;
use crate::socket::{Address, canonical_range};
use ipnet::IpNet;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many bits of an IPv6 address tell one peer from another: whoever has one address of a /64 has them all (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

/// What happens to those who come when all places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// They wait in the backlog until somebody leaves.
    #[default]
    Wait,
    /// They are accepted and closed at once.
    Refuse,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// The address is in none of the ranges that are let in.
    NotAllowed,
    /// The address has as many connections as it may have.
    PerAddress,
    /// The server has as many connections as it may have.
    AtLimit,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::NotAllowed, Self::PerAddress, Self::AtLimit];

    /// Why, where it is clear already that somebody was refused.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::NotAllowed => "the address is not allowed",
            Self::PerAddress => "too many connections from the address",
            Self::AtLimit => "too many connections",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "refused: {}", self.why())
    }
}

/// The places of a server, and who has taken them. Touched when a connection comes or goes, never for a message.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    max_per_address: Option<usize>,
    at_limit: AtLimit,
    allow: Vec<IpNet>,
    open: AtomicUsize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    pub(super) fn new(config: &ServerConfig, max_connections: usize) -> Self {
        Self {
            max_connections,
            max_per_address: config.max_per_address,
            at_limit: config.at_limit,
            allow: config.allow.iter().map(|range| canonical_range(*range).unwrap_or(*range)).collect(),
            open: AtomicUsize::new(0),
            per_address: Mutex::default(),
        }
    }

    /// How many connections may be open.
    pub(super) fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Whether nobody else should be accepted for now.
    pub(super) fn is_closed(&self) -> bool {
        self.at_limit == AtLimit::Wait && self.is_full()
    }

    /// Takes a place for `peer`; to be given back by [`leave`](Self::leave).
    pub(super) fn enter(&self, peer: &Address) -> Result<(), Refusal> {
        if self.at_limit == AtLimit::Refuse && self.is_full() {
            return Err(Refusal::AtLimit);
        }
        if let Some(ip) = ip_of(peer) {
            if !self.allows(ip) {
                return Err(Refusal::NotAllowed);
            }
            if let Some(most) = self.max_per_address {
                let mut counts = self.counts();
                let count = counts.entry(origin(ip)).or_default();
                if *count >= most {
                    return Err(Refusal::PerAddress);
                }
                *count += 1;
            }
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the address is in one of the ranges that are let in.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|range| range.contains(&ip))
    }

    /// Gives back the place of `peer`.
    pub(super) fn leave(&self, peer: &Address) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(ip), Some(_)) = (ip_of(peer), self.max_per_address) {
            let mut counts = self.counts();
            if let Some(count) = counts.get_mut(&origin(ip)) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&origin(ip));
                }
            }
        }
    }

    /// Whether all places are taken. Workers that ask at the same moment can each let one in: the limit is exact up to the
    /// number of workers, and the reserve of descriptors covers that.
    fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.max_connections
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // The map is whole between any two statements, whatever panicked meanwhile.
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ip_of(peer: &Address) -> Option<IpAddr> {
    match peer {
        Address::Ip(address) => Some(address.ip().to_canonical()),
        Address::Unix(_) => None,
    }
}

/// What counts as one address.
fn origin(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> (128 - IPV6_PEER_BITS) << (128 - IPV6_PEER_BITS)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Admission, AtLimit, Refusal};
    use crate::server::ServerConfig;
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
        admission.leave(&peer("2001:db8::1"));
        assert_eq!(admission.enter(&peer("2001:db8::2")), Ok(()));
        admission.leave(&peer("2001:db8::2"));
        admission.leave(&peer("2001:db8:0:1::1"));
        assert!(admission.counts().is_empty(), "nobody is remembered who has left");
    }

    #[test]
    fn only_trusted_ranges_are_let_in() {
        let ranges = ["10.0.0.0/8", "::1/128"].map(|range| range.parse().expect("a range"));
        let admission = admission(|config| config.allow = ranges.to_vec());
        assert_eq!(admission.enter(&peer("10.1.2.3")), Ok(()));
        assert_eq!(admission.enter(&peer("::1")), Ok(()));
        assert_eq!(admission.enter(&peer("11.1.2.3")), Err(Refusal::NotAllowed));
        assert_eq!(admission.enter(&Address::Unix("".into())), Ok(()), "a path has its own rights");
    }

    #[test]
    fn mapped_ranges_and_addresses_are_those_of_ipv4() {
        let range = "::ffff:127.0.0.0/104".parse().expect("a range");
        let admission = admission(|config| {
            config.allow = vec![range];
            config.max_per_address = Some(1);
        });
        assert_eq!(admission.enter(&peer("127.0.0.1")), Ok(()));
        assert_eq!(admission.enter(&peer("::ffff:127.0.0.1")), Err(Refusal::PerAddress));
        assert_eq!(admission.enter(&peer("::ffff:127.0.0.2")), Ok(()));
        assert_eq!(admission.enter(&peer("128.0.0.1")), Err(Refusal::NotAllowed));
        admission.leave(&peer("::ffff:127.0.0.1"));
        assert_eq!(admission.enter(&peer("127.0.0.1")), Ok(()));
    }

    #[test]
    fn at_the_limit_they_wait_or_are_refused() {
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
