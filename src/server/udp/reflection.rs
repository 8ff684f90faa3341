//! Requests that must not be answered, because another server would answer the answer, and so on without end.
//!
//! The source of a datagram is easily forged, so that one forged datagram can have two servers, or one server and itself, answer
//! each other. Three things tell such a datagram: it comes from a port where servers are, it comes from a port of this server,
//! or it has few hops left, as a reply of a server of this kind has.

use crate::socket::reply_hops;

/// Ports below this one are those of services (system ports, RFC 6335, section 6); no system gives them to clients, and a NAT
/// keeps a client's port out of them (RFC 4787, REQ-3). Many of these services answer anything, and some answer with more
/// than they get: echo (7), daytime (13), quote of the day (17), chargen (19), time (37), DNS (53), TFTP (69), portmap (111),
/// NTP (123), NetBIOS (137, 138), SNMP (161), CLDAP (389), IKE (500). Loops of these are CVE-2024-2169, and port 0 can not
/// be answered at all.
const FIRST_CLIENT_PORT: u16 = 1024;

/// Ports above those from which attacks are reflected: SSDP (1900), WS-Discovery (3702), mDNS (5353), LLMNR (5355) and memcached
/// (11211). RFC 9308, section 8.1, has servers of QUIC ignore such ports; this list is the one of the quiche library.
const REFLECTING_PORTS: [u16; 5] = [1900, 3702, 5353, 5355, 11_211];

/// Whether a reply to what came from `port` would be answered in turn; `own_ports` are those of this server, whatever the
/// address: it may be another one of this host, or that of another host with the same service.
pub(super) fn is_answered_by_servers(port: u16, own_ports: &[u16]) -> bool {
    port < FIRST_CLIENT_PORT || REFLECTING_PORTS.contains(&port) || own_ports.contains(&port)
}

/// The hop limit of the reply to a datagram that arrived with `received`, where that is known; an error when no reply must go
/// out.
pub(super) fn hops_of_reply(received: Option<u8>) -> Result<Option<u8>, ()> {
    received.map(|received| reply_hops(received).ok_or(())).transpose()
}

#[cfg(test)]
mod tests {
    use super::is_answered_by_servers;

    #[test]
    fn ports_of_services_and_own_ones_are_not_answered() {
        for port in [0, 7, 13, 17, 19, 37, 53, 69, 123, 161, 389, 1023, 1900, 5353, 11_211, 40_000, 40_001] {
            assert!(is_answered_by_servers(port, &[40_000, 40_001]), "{port}");
        }
        for port in [1024, 1901, 32_768, 65_535] {
            assert!(!is_answered_by_servers(port, &[40_000, 40_001]), "{port}");
        }
    }
}
