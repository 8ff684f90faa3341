//! Simulated servers. Time is in seconds, rates in messages per second.

use crate::random::mix;
use crate::results::SliceCounts;

/// A server with a load, of which a search sees slices.
pub(super) trait Server {
    /// Nothing is sent for `seconds`, and what was in flight is dropped.
    fn pause(&mut self, seconds: f64);

    /// `rate` is sent for `seconds`. Returns the share of messages that took longer than the limit, and the median.
    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64);

    /// The counts of a slice of whole seconds.
    fn slice(&mut self, rate: f64, seconds: u64) -> SliceCounts {
        let (over, median) = self.load(rate, seconds as f64);
        let due = rate * seconds as f64;
        let over = (due * over).round() as u64;
        SliceCounts {
            seconds,
            due: due.round() as u64,
            missed: 0,
            over: vec![over],
            over_floor: vec![over],
            median_ns: (median * 1e9) as u64,
        }
    }
}

/// Random numbers from 0 to 1, exclusive of 0.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5eed))
    }

    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((mix(self.0) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// A fluid queue: work arrives evenly, and is served at a capacity. The delay is what a message waits.
#[derive(Default)]
struct Fluid {
    delay: f64,
}

impl Fluid {
    /// Serves for `seconds`. Returns the time in which the delay was above `limit`.
    fn serve(&mut self, rate: f64, capacity: f64, limit: f64, seconds: f64) -> f64 {
        let slope = rate / capacity - 1.0;
        let begin = self.delay;
        self.delay = (begin + slope * seconds).max(0.0);
        if slope.abs() < 1e-12 {
            return if begin >= limit { seconds } else { 0.0 };
        }
        let crossing = ((limit - begin) / slope).clamp(0.0, seconds);
        match (begin >= limit, slope > 0.0) {
            (true, true) => seconds,
            (true, false) => crossing,
            (false, true) if begin + slope * seconds > limit => seconds - crossing,
            (false, _) => 0.0,
        }
    }
}

/// Serves up to a capacity; the queue above it grows without bounds.
pub(super) struct HardLimit {
    pub(super) capacity: f64,
    pub(super) limit: f64,
    fluid: Fluid,
}

impl HardLimit {
    pub(super) fn new(capacity: f64, limit: f64) -> Self {
        Self { capacity, limit, fluid: Fluid::default() }
    }
}

impl Server for HardLimit {
    fn pause(&mut self, _seconds: f64) {
        self.fluid.delay = 0.0;
    }

    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
        let over = self.fluid.serve(rate, self.capacity, self.limit, seconds);
        (over / seconds, 1e-4 + self.fluid.delay)
    }
}

/// A hard limit that stops for a fixed time, at a random instant of 5 % of the seconds.
pub(super) struct Stalling {
    server: HardLimit,
    stall: f64,
    random: Random,
}

impl Stalling {
    pub(super) const SHARE: f64 = 0.05;

    pub(super) fn new(capacity: f64, limit: f64, stall: f64, seed: u64) -> Self {
        Self { server: HardLimit::new(capacity, limit), stall, random: Random::new(seed) }
    }

    /// The highest rate that holds for a share of `allowed`: a stall delays messages by more than the limit until the
    /// queue has shrunk, which takes the stall less the limit, divided by the free capacity.
    pub(super) fn truth(capacity: f64, limit: f64, stall: f64, allowed: f64) -> f64 {
        let free = Self::SHARE * (stall - limit).max(0.0) / allowed;
        capacity * (1.0 - free)
    }
}

impl Server for Stalling {
    fn pause(&mut self, seconds: f64) {
        self.server.pause(seconds);
    }

    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
        let HardLimit { capacity, limit, .. } = self.server;
        let (mut over, mut left) = (0.0, seconds);
        while left > 0.0 {
            let second = left.min(1.0);
            left -= second;
            let at = self.random.next() * second;
            over += self.server.fluid.serve(rate, capacity, limit, at);
            if self.random.next() < Self::SHARE {
                self.server.fluid.delay += self.stall;
            }
            over += self.server.fluid.serve(rate, capacity, limit, second - at);
        }
        (over / seconds, 1e-4 + self.server.fluid.delay)
    }
}

/// Exponential service times and Poisson arrivals, message by message.
pub(super) struct MM1 {
    capacity: f64,
    limit: f64,
    wait: f64,
    random: Random,
}

impl MM1 {
    pub(super) fn new(capacity: f64, limit: f64, seed: u64) -> Self {
        Self { capacity, limit, wait: 0.0, random: Random::new(seed) }
    }

    /// The response time is distributed exponentially with the free capacity as its rate.
    pub(super) fn truth(capacity: f64, limit: f64, allowed: f64) -> f64 {
        capacity + allowed.ln() / limit
    }
}

impl Server for MM1 {
    fn pause(&mut self, _seconds: f64) {
        self.wait = 0.0;
    }

    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
        let (mut over, mut all, mut sum, mut time) = (0_u64, 0_u64, 0.0, 0.0);
        while time < seconds {
            let service = -self.random.next().ln() / self.capacity;
            let gap = -self.random.next().ln() / rate;
            let response = self.wait + service;
            self.wait = (response - gap).max(0.0);
            time += gap;
            over += u64::from(response >= self.limit);
            all += 1;
            sum += response;
        }
        // The mean is as good for a trend, and needs no sorting.
        (over as f64 / all as f64, sum / all as f64)
    }
}

/// A hard limit that changes with time, and never ends.
pub(super) struct Drifting {
    pub(super) server: HardLimit,
    /// Change per second, as a share.
    pub(super) drift: f64,
}

impl Drifting {
    pub(super) fn new(capacity: f64, limit: f64, drift: f64) -> Self {
        Self { server: HardLimit::new(capacity, limit), drift }
    }

    fn advance(&mut self, seconds: f64) {
        self.server.capacity *= 1.0 + self.drift * seconds;
    }
}

impl Server for Drifting {
    fn pause(&mut self, seconds: f64) {
        self.advance(seconds);
        self.server.pause(seconds);
    }

    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
        self.advance(seconds);
        self.server.load(rate, seconds)
    }
}

/// A hard limit that falls by a fifth after an overload, until the server was idle for some time.
pub(super) struct Hysteresis {
    server: HardLimit,
    capacity: f64,
    idle: f64,
}

impl Hysteresis {
    pub(super) const DEGRADED: f64 = 0.8;

    /// `idle` is the time that ends the degradation; infinite for never.
    pub(super) fn new(capacity: f64, limit: f64, idle: f64) -> Self {
        Self { server: HardLimit::new(capacity, limit), capacity, idle }
    }
}

impl Server for Hysteresis {
    fn pause(&mut self, seconds: f64) {
        self.server.pause(seconds);
        if seconds >= self.idle {
            self.server.capacity = self.capacity;
        }
    }

    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
        let result = self.server.load(rate, seconds);
        if self.server.fluid.delay > self.server.limit * 10.0 {
            self.server.capacity = self.capacity * Self::DEGRADED;
        }
        result
    }
}

/// A client that cannot send more than a rate, with the server behind it.
pub(super) struct LimitingClient<S> {
    pub(super) server: S,
    pub(super) max_rate: f64,
    /// Above this rate its own delays make messages exceed the limit, which the floor shows.
    pub(super) late_rate: f64,
}

impl<S: Server> Server for LimitingClient<S> {
    fn pause(&mut self, seconds: f64) {
        self.server.pause(seconds);
    }

    fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
        self.server.load(rate.min(self.max_rate), seconds)
    }

    fn slice(&mut self, rate: f64, seconds: u64) -> SliceCounts {
        let mut counts = self.server.slice(rate.min(self.max_rate), seconds);
        let due = (rate * seconds as f64) as u64;
        counts.missed = due - counts.due.min(due);
        counts.due = due;
        if rate > self.late_rate {
            counts.over[0] = due / 10;
        }
        counts.over[0] += counts.missed;
        counts
    }
}
