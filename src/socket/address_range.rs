//! Canonical form of address ranges, for comparison with addresses.

use ipnet::{IpNet, Ipv4Net};

/// The prefix length that all IPv4-mapped addresses share (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX_LEN: u8 = 96;

/// The IPv4 range that an IPv4-mapped range (`::ffff:10.0.0.0/104`) stands for; every other range unchanged. Peer
/// addresses are compared in this form, so a mapped range would contain none of them.
///
/// None for a mapped range with a prefix shorter than 96, which would contain IPv6 addresses as well.
#[must_use]
pub fn canonical_range(range: IpNet) -> Option<IpNet> {
    let IpNet::V6(v6) = range else { return Some(range) };
    let Some(address) = v6.addr().to_ipv4_mapped() else { return Some(range) };
    let prefix_len = v6.prefix_len().checked_sub(MAPPED_PREFIX_LEN)?;
    Ipv4Net::new(address, prefix_len).ok().map(IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::canonical_range;
    use ipnet::{IpNet, Ipv4Net};
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_mapped_range_is_the_ipv4_range_that_it_stands_for() {
        for (range, canonical) in [
            ("::ffff:127.0.0.0/104", Some("127.0.0.0/8")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:10.0.0.1/128", Some("10.0.0.1/32")),
            ("::ffff:10.0.0.1/104", Some("10.0.0.1/8")),
            ("::ffff:0:0/95", None),
            ("10.0.0.1/8", Some("10.0.0.1/8")),
            ("::/0", Some("::/0")),
            ("::fffe:0:0/96", Some("::fffe:0:0/96")),
            ("2001:db8::/32", Some("2001:db8::/32")),
        ] {
            let range = range.parse().expect("a range");
            assert_eq!(canonical_range(range).map(|range| range.to_string()).as_deref(), canonical, "{range}");
        }
    }

    proptest! {
        #[test]
        fn a_mapped_range_contains_what_its_ipv4_range_contains(net: u32, length in 0_u8..=32, address: u32) {
            let v4 = Ipv4Net::new(Ipv4Addr::from_bits(net), length).expect("a length up to 32");
            let mapped = format!("::ffff:{}/{}", v4.addr(), length + 96).parse().expect("a range");
            prop_assert_eq!(canonical_range(mapped), Some(IpNet::V4(v4)));
            // Most random addresses are outside the range; one with the same prefix is inside.
            let near = if length == 0 { address } else { net ^ address.checked_shr(length.into()).unwrap_or(0) };
            for bits in [address, near] {
                let ip = Ipv4Addr::from_bits(bits);
                let is_in = canonical_range(mapped).is_some_and(|range| range.contains(&IpAddr::V4(ip)));
                prop_assert_eq!(is_in, v4.contains(&ip));
            }
        }
    }
}
