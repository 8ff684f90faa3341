//! Address of a peer as a connection keeps it.

use crate::socket::Address;
use std::borrow::Cow;
use std::net::{SocketAddr, SocketAddrV4};

/// Address of a peer, in half the space of an [`Address`] where it is on IPv4. Others are on the heap.
#[derive(Debug)]
pub(super) enum PeerAddress {
    V4(SocketAddrV4),
    Other(Box<Address>),
}

impl PeerAddress {
    #[inline]
    pub(super) fn get(&self) -> Cow<'_, Address> {
        match self {
            Self::V4(address) => Cow::Owned(Address::Ip(SocketAddr::V4(*address))),
            Self::Other(address) => Cow::Borrowed(address),
        }
    }
}

impl From<Address> for PeerAddress {
    fn from(address: Address) -> Self {
        match address {
            Address::Ip(SocketAddr::V4(address)) => Self::V4(address),
            address => Self::Other(Box::new(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PeerAddress;
    use crate::socket::Address;

    #[test]
    fn every_address_is_kept() {
        for text in ["127.0.0.1:7", "[fe80::1%3]:7"] {
            let address = Address::Ip(text.parse().expect("an address"));
            assert_eq!(*PeerAddress::from(address.clone()).get(), address);
        }
        let unix = Address::Unix("/run/m.sock".into());
        assert_eq!(*PeerAddress::from(unix.clone()).get(), unix);
        assert_eq!(size_of::<PeerAddress>() * 2, size_of::<Address>());
    }
}
