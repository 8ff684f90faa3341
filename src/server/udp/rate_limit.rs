//! Rate limit of replies per source address and port.
//!
//! Each worker has one [`RateLimit`]: a table of token buckets of fixed size, however many sources are forged. A bucket
//! is kept as one number, the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371). It lies in the
//! future by as much as the source has used of its budget; a time in the past means a full bucket.

use crate::units::nanos;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// The number of sets of buckets. With four buckets of 16 bytes each, the table takes 64 KiB and stays in the cache.
const SETS: usize = 1 << 10;

/// A set fills one cache line.
const BUCKETS_PER_SET: usize = 4;

const SECOND_NANOS: u64 = 1_000_000_000;

/// The maximum interval between two replies, a day, so that sums cannot overflow.
const MAX_INTERVAL_NANOS: f64 = 86_400e9;

/// The token bucket of one source.
#[derive(Debug, Default, Clone, Copy)]
struct Bucket {
    /// The hash of the source.
    tag: u64,
    /// When the bucket will be full again, in nanoseconds since the table was created.
    full_at: u64,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(align(64))]
struct Set([Bucket; BUCKETS_PER_SET]);

/// The bucket of a source that may get a reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permit {
    set: usize,
    bucket: usize,
    tag: u64,
}

/// Token buckets by source address and port, each with capacity for the replies of one second, and for at least one
/// reply.
///
/// A source uses its bucket in the set that its hash selects, or replaces a full one, which holds no information. If
/// four other sources in the set have used some of their budget, it shares the fullest bucket: both together then get
/// the rate. The hash is keyed, so a peer cannot choose whose bucket it shares.
#[derive(Debug)]
pub(super) struct RateLimit {
    start: Instant,
    interval: u64,
    /// The maximum distance of `full_at` into the future after a reply.
    depth: u64,
    /// The time of this batch, in nanoseconds since `start`.
    now: u64,
    hash: RandomState,
    sets: Vec<Set>,
}

impl RateLimit {
    /// Allows `rate` replies per second to each source.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 1 and a day")]
    pub(super) fn new(rate: f64, start: Instant) -> Self {
        let interval = (1e9 / rate).clamp(1.0, MAX_INTERVAL_NANOS) as u64;
        let depth = interval.max(SECOND_NANOS);
        Self { start, interval, depth, now: 0, hash: RandomState::new(), sets: vec![Set::default(); SETS] }
    }

    /// Sets the time for the following calls.
    pub(super) fn begin_batch(&mut self, now: Instant) {
        self.now = nanos(now.saturating_duration_since(self.start));
    }

    /// A permit for one reply to `peer`, unless its budget is spent.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    pub(super) fn permit(&self, peer: SocketAddr) -> Option<Permit> {
        let tag = self.tag(peer);
        let set = usize::from(tag as u16) % SETS;
        let buckets = &self.sets[set].0;
        let own = buckets.iter().position(|bucket| bucket.tag == tag);
        let bucket = own.unwrap_or_else(|| fullest(buckets));
        let is_within = buckets[bucket].full_at.max(self.now) + self.interval <= self.now + self.depth;
        is_within.then_some(Permit { set, bucket, tag })
    }

    /// Charges a reply to the bucket of `permit`.
    #[inline]
    pub(super) fn charge(&mut self, permit: Permit) {
        let bucket = &mut self.sets[permit.set].0[permit.bucket];
        *bucket = Bucket { tag: permit.tag, full_at: bucket.full_at.max(self.now) + self.interval };
    }

    #[inline]
    fn tag(&self, peer: SocketAddr) -> u64 {
        let mut hasher = self.hash.build_hasher();
        match peer.ip() {
            IpAddr::V4(ip) => hasher.write_u64(u64::from(u32::from(ip)) << 16 | u64::from(peer.port())),
            IpAddr::V6(ip) => {
                hasher.write_u128(ip.into());
                hasher.write_u16(peer.port());
            }
        }
        hasher.finish()
    }
}

/// The bucket with the most tokens left.
fn fullest(buckets: &[Bucket; BUCKETS_PER_SET]) -> usize {
    (0..BUCKETS_PER_SET).min_by_key(|&index| buckets[index].full_at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS_PER_SET, RateLimit, SETS};
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    struct Fixture {
        limit: RateLimit,
        start: Instant,
    }

    impl Fixture {
        fn new(rate: f64) -> Self {
            let start = Instant::now();
            Self { limit: RateLimit::new(rate, start), start }
        }

        /// How many of `count` simultaneous requests of `peer` are answered, `after` the start.
        fn answered(&mut self, peer: SocketAddr, count: usize, after: Duration) -> usize {
            self.limit.begin_batch(self.start + after);
            let answer = |_: &usize| self.limit.permit(peer).map(|permit| self.limit.charge(permit)).is_some();
            (0..count).filter(answer).count()
        }
    }

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::from((
            std::net::Ipv4Addr::from(0x0a00_0000 + number / 1000),
            40_000 + u16::try_from(number % 1000).unwrap_or_default(),
        ))
    }

    #[test]
    fn a_source_gets_its_rate_with_bursts_of_one_second() {
        let mut fixture = Fixture::new(100.0);
        let seconds = Duration::from_secs_f64;
        assert_eq!(fixture.answered(peer(0), 1000, seconds(1.0)), 100);
        assert_eq!(fixture.answered(peer(0), 1000, seconds(1.5)), 50);
        assert_eq!(fixture.answered(peer(1), 1000, seconds(1.5)), 100, "another port is another source");
        assert_eq!(fixture.answered(peer(0), 1000, seconds(100.0)), 100, "nothing is saved up");
        let v6 = "[2001:db8::1]:40000".parse().expect("an address");
        assert_eq!(fixture.answered(v6, 1000, seconds(100.0)), 100);
    }

    #[test]
    fn very_low_and_very_high_rates_work() {
        let mut slow = Fixture::new(0.5);
        let answered = [1.0, 2.0, 2.9, 3.0].map(|after| slow.answered(peer(0), 5, Duration::from_secs_f64(after)));
        assert_eq!(answered, [1, 0, 0, 1]);
        assert_eq!(Fixture::new(f64::MIN_POSITIVE).answered(peer(0), 5, Duration::from_secs(1)), 1);
        assert_eq!(Fixture::new(f64::MAX).answered(peer(0), 100_000, Duration::from_secs(1)), 100_000);
    }

    /// A flood of other sources does not refill the bucket of a source that has spent its budget.
    #[test]
    fn a_flood_of_other_sources_refills_no_bucket() {
        let mut fixture = Fixture::new(1000.0);
        let after = Duration::from_secs(1);
        assert_eq!(fixture.answered(peer(0), 2000, after), 1000);
        // One request each, a millisecond apart for every set: each bucket is full again before the next request.
        for number in 1..20_000 {
            assert_eq!(fixture.answered(peer(number), 1, after + Duration::from_micros(number.into())), 1, "{number}");
        }
        let later = fixture.answered(peer(0), 2000, after + Duration::from_millis(20));
        assert!(later <= 20, "the flood gave {later} back");
    }

    /// Sources beyond the table's size share buckets: the total stays bounded.
    #[test]
    fn the_table_bounds_all_sources_together() {
        let mut fixture = Fixture::new(10.0);
        let after = Duration::from_secs(1);
        let sources = u32::try_from(10 * SETS * BUCKETS_PER_SET).expect("a few thousand");
        let all: usize = (0..sources).map(|number| fixture.answered(peer(number), 10, after)).sum();
        assert!(all <= 10 * SETS * BUCKETS_PER_SET, "{all}");
    }
}
