//! Source addresses of outgoing connections, for machines where one address has too few ports.

use super::{Address, canonical_range, sys};
use crate::error::{Error, in_words};
use ipnet::IpNet;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ranges of this machine's own addresses, used in turn as source addresses. The first and last address of an IPv4
/// network are left out, because no host has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceAddresses(pub Vec<IpNet>);

impl SourceAddresses {
    /// Whether there are no ranges, so that the system chooses the source address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that the machine has the first address of each range.
    ///
    /// # Errors
    ///
    /// [`Error::Source`] when it does not.
    pub fn check(&self) -> Result<(), Error> {
        self.ranges().try_for_each(|range| {
            let source = first_and_count(range).0;
            let socket = Socket::new(Domain::for_address((source, 0).into()), Type::STREAM, None);
            socket.and_then(|socket| bind_source(&socket, source)).map_err(|error| Error::Source {
                range: range.to_string(),
                reason: format!("{source}: {}", in_words(&error)),
                source: error,
            })
        })
    }

    /// The ranges in canonical form.
    fn ranges(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().map(|range| canonical_range(*range).unwrap_or(*range))
    }

    /// Whether one of the addresses can be the source of a connection to `address`.
    #[must_use]
    pub fn reach(&self, address: &Address) -> bool {
        self.is_empty() || self.nth(address, 0).is_some()
    }

    /// The source address of connection `number` to `address`. The addresses are used in turn; the first follows the
    /// last.
    #[must_use]
    pub fn nth(&self, address: &Address, number: u64) -> Option<IpAddr> {
        let Address::Ip(target) = address else { return None };
        let is_ipv4 = target.ip().to_canonical().is_ipv4();
        let ranges = || self.ranges().filter(|range| range.addr().is_ipv4() == is_ipv4).map(first_and_count);
        let total = ranges().fold(0_u128, |sum, (_, count)| sum.saturating_add(count));
        let mut number = u128::from(number).checked_rem(total)?;
        for (first, count) in ranges() {
            if number < count {
                return Some(after(first, number));
            }
            number -= count;
        }
        None
    }
}

/// The first usable address of a range, and the number of usable addresses.
fn first_and_count(range: IpNet) -> (IpAddr, u128) {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let count = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    // A range of two addresses is a point-to-point link, which uses both (RFC 3021).
    if range.addr().is_ipv4() && bits > 1 { (after(range.network(), 1), count - 2) } else { (range.network(), count) }
}

fn after(first: IpAddr, count: u128) -> IpAddr {
    match first {
        // `count` is within a range, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(count as u32)).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(count)).into(),
    }
}

/// Binds a socket to a source address. So each pair of addresses can use all ports, where connect(2) chooses the port.
pub(super) fn bind_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    sys::choose_port_later(socket)?;
    socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))
}

#[cfg(test)]
mod tests {
    use super::SourceAddresses;
    use crate::socket::Address;

    fn sources(ranges: &[&str]) -> SourceAddresses {
        SourceAddresses(ranges.iter().map(|range| range.parse().expect("a range")).collect())
    }

    fn turns(sources: &SourceAddresses, target: &str, count: u64) -> Vec<String> {
        let target = Address::Ip(target.parse().expect("an address"));
        (0..count).filter_map(|number| sources.nth(&target, number)).map(|source| source.to_string()).collect()
    }

    #[test]
    fn addresses_of_all_ranges_are_used_in_turn() {
        let sources = sources(&["10.0.0.6/30", "fd00::/127", "10.1.0.1/32", "::ffff:10.2.0.0/127"]);
        let v4 = ["10.0.0.5", "10.0.0.6", "10.1.0.1", "10.2.0.0", "10.2.0.1", "10.0.0.5"];
        assert_eq!(turns(&sources, "127.0.0.1:1", 6), v4);
        assert_eq!(turns(&sources, "[::1]:1", 3), ["fd00::", "fd00::1", "fd00::"]);
        assert_eq!(sources.nth(&Address::Unix("m.sock".into()), 0), None);
    }

    #[test]
    fn the_largest_ranges_are_counted_correctly() {
        assert_eq!(turns(&sources(&["::/0", "::/0"]), "[::1]:1", 2), ["::", "::1"]);
        let all = sources(&["0.0.0.0/0"]);
        let target = Address::Ip("127.0.0.1:1".parse().expect("an address"));
        assert_eq!(all.nth(&target, (1 << 32) - 3).map(|last| last.to_string()).as_deref(), Some("255.255.255.254"));
        assert!(turns(&all, "[::1]:1", 1).is_empty() && !all.reach(&Address::Ip("[::1]:1".parse().expect("one"))));
    }

    #[test]
    fn a_foreign_address_is_named_in_the_error() {
        sources(&["127.0.0.0/29"]).check().expect("ours");
        let error = sources(&["127.0.0.1/32", "192.0.2.0/24"]).check().expect_err("for documentation").to_string();
        assert!(
            error.contains("192.0.2.0/24") && error.contains("192.0.2.1") && error.contains("127.0.0.1"),
            "{error}"
        );
    }
}
