//! Requests that must not be answered, because the reply could start an endless loop between servers.
//!
//! The source of a datagram is easily forged. One forged datagram can make two servers, or one server and itself,
//! answer each other. Three properties identify such a datagram: its source port is that of a well-known service, its
//! source port is one of this server, or its hop limit is as low as that of a reply from a server of this program.

use crate::socket::reply_hops;

/// The first port that clients use. Lower ports belong to services (system ports, RFC 6335, section 6); no system
/// assigns them to clients, and a NAT keeps a client's port out of them (RFC 4787, REQ-3). Many of these services
/// answer any datagram, some with more than they receive: echo (7), daytime (13), quote of the day (17), chargen (19),
/// time (37), DNS (53), TFTP (69), portmap (111), NTP (123), NetBIOS (137, 138), SNMP (161), CLDAP (389), IKE (500).
/// CVE-2024-2169 describes loops between them. Port 0 cannot be answered at all.
const FIRST_CLIENT_PORT: u16 = 1024;

/// Higher ports that are used for reflection attacks: SSDP (1900), WS-Discovery (3702), mDNS (5353), LLMNR (5355) and
/// memcached (11211). RFC 9308, section 8.1, advises QUIC servers to ignore such ports; this list is that of the quiche
/// library.
const REFLECTING_PORTS: [u16; 5] = [1900, 3702, 5353, 5355, 11_211];

/// Whether a server may listen on `port`, so that it would answer a reply. `own_ports` are those of this server, on any
/// address: the source may be another address of this host, or another host with the same service.
pub(super) fn is_server_port(port: u16, own_ports: &[u16]) -> bool {
    port < FIRST_CLIENT_PORT || REFLECTING_PORTS.contains(&port) || own_ports.contains(&port)
}

/// The hop limit of the reply to a datagram that arrived with `received`, where that is known; an error when it must
/// not be answered.
pub(super) fn hops_of_reply(received: Option<u8>) -> Result<Option<u8>, ()> {
    received.map(|received| reply_hops(received).ok_or(())).transpose()
}

#[cfg(test)]
mod tests {
    use super::is_server_port;

    #[test]
    fn service_ports_and_own_ports_are_not_answered() {
        for port in [0, 7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 1023, 1900, 5353, 11_211, 40_000, 40_001] {
            assert!(is_server_port(port, &[40_000, 40_001]), "{port}");
        }
        for port in [1024, 1901, 32_768, 65_535] {
            assert!(!is_server_port(port, &[40_000, 40_001]), "{port}");
        }
    }
}
