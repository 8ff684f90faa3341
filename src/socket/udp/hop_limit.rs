//! Hop limits that end reply loops between servers (TTL in IPv4, RFC 791; hop limit in IPv6, RFC 8200).
//!
//! The hop limit of a reply is the next lower multiple of 16 below that of its request. A datagram that bounces between
//! two servers of this program arrives first with 64 or more, then with at most 48, 32 and 16, and is then not answered
//! any more. Every client request is answered: nearly all systems start with 64, 128 or 255 hops, and no path has 32.

/// The distance between the hop limits of two replies.
const STEP: u8 = 16;

/// The hop limit of a reply to a request that arrived with a higher one.
pub(super) const MAX_REPLY_HOPS: u8 = 3 * STEP;

/// The hop limit of the reply to a datagram that arrived with `received`; none when it must not be answered.
#[must_use]
pub fn reply_hops(received: u8) -> Option<u8> {
    let lower = received.saturating_sub(1) / STEP * STEP;
    (lower > 0).then_some(lower.min(MAX_REPLY_HOPS))
}

#[cfg(test)]
mod tests {
    use super::reply_hops;

    #[test]
    fn a_reply_has_fewer_hops_than_its_request() {
        for received in 1..=255 {
            match reply_hops(received) {
                Some(hops) => assert!(hops < received && (16..=48).contains(&hops), "{received}: {hops}"),
                None => assert!(received <= 16, "{received}"),
            }
        }
    }

    /// A client starts with 64 hops or more. The way back takes as many as the request has used.
    #[test]
    fn a_reply_reaches_a_client_within_31_hops() {
        for distance in 0..=31 {
            assert!(reply_hops(64 - distance).is_some_and(|hops| hops >= distance), "{distance} hops");
        }
    }
}
