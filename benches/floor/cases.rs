//! Benchmark cases and their targets.

use crate::common::arguments::Options;
use crate::common::traffic::{Pattern, Traffic};
use crate::kind::Kind;

/// Descriptors of a program besides its connections, with a margin.
const SPARE_DESCRIPTORS: u64 = 64;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) traffic: Traffic,
    pub(crate) target: Target,
}

/// Target relative to the bare loop, which does the minimum. Relative to tokio every case has the same target: to be
/// faster. With TLS there is no bare loop, and only that target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Speed { min_rate_ratio: f64, max_cpu_ratio: Option<f64> },
    Memory { max_bytes_each: f64 },
}

impl Case {
    pub(crate) fn descriptors_needed(&self, options: &Options) -> u64 {
        options.capped(self.traffic.connections) as u64 + SPARE_DESCRIPTORS
    }

    /// The servers to compare.
    pub(crate) fn kinds(&self) -> &'static [Kind] {
        if self.traffic.tls { &Kind::ALL[1..] } else { &Kind::ALL }
    }

    /// The unit of the rate.
    pub(crate) fn unit(&self) -> &'static str {
        if matches!(self.traffic.pattern, Pattern::Churn | Pattern::ResumedChurn) {
            "connections/s"
        } else {
            "messages/s"
        }
    }
}

pub(crate) const ALL: [Case; 15] = [
    Case {
        name: "64 conns, 64 B, 1 in flight",
        traffic: Traffic::steady(64, 64, 1),
        target: Target::Speed { min_rate_ratio: 0.98, max_cpu_ratio: Some(1.02) },
    },
    Case { name: "1,000 conns, 64 B, 1 in flight", traffic: Traffic::steady(1_000, 64, 1), target: rate(0.98) },
    Case { name: "10,000 conns, 64 B, 1 in flight", traffic: Traffic::steady(10_000, 64, 1), target: rate(0.98) },
    Case { name: "64 conns, 64 B, 32 in flight", traffic: Traffic::steady(64, 64, 32), target: rate(0.98) },
    Case { name: "64 conns, 16 KiB, 1 in flight", traffic: Traffic::steady(64, 16 << 10, 1), target: rate(0.98) },
    Case { name: "8 conns, 256 KiB, 1 in flight", traffic: Traffic::steady(8, 256 << 10, 1), target: rate(0.98) },
    Case {
        name: "connect, one 64 B echo, close, 32 at a time",
        traffic: Traffic { pattern: Pattern::Churn, ..Traffic::steady(32, 64, 1) },
        target: rate(0.95),
    },
    Case {
        name: "15,000 idle connections",
        traffic: Traffic { pattern: Pattern::Silent, ..Traffic::steady(15_000, 64, 1) },
        target: Target::Memory { max_bytes_each: 170.0 },
    },
    Case {
        name: "15,000 idle connections after an echo each",
        traffic: Traffic { pattern: Pattern::SilentAfterOne, ..Traffic::steady(15_000, 64, 1) },
        target: Target::Memory { max_bytes_each: 170.0 },
    },
    Case {
        name: "TLS, 64 conns, 64 B, 1 in flight",
        traffic: Traffic { tls: true, ..Traffic::steady(64, 64, 1) },
        target: rate(0.0),
    },
    Case {
        name: "TLS, 64 conns, 16 KiB, 1 in flight",
        traffic: Traffic { tls: true, ..Traffic::steady(64, 16 << 10, 1) },
        target: rate(0.0),
    },
    Case {
        name: "TLS, 8 conns, 256 KiB, 1 in flight",
        traffic: Traffic { tls: true, ..Traffic::steady(8, 256 << 10, 1) },
        target: rate(0.0),
    },
    Case {
        name: "TLS, full handshake, one 64 B echo, close",
        traffic: Traffic { tls: true, pattern: Pattern::Churn, ..Traffic::steady(32, 64, 1) },
        target: rate(0.0),
    },
    Case {
        name: "TLS, resumed, one 64 B echo, close",
        traffic: Traffic { tls: true, pattern: Pattern::ResumedChurn, ..Traffic::steady(32, 64, 1) },
        target: rate(0.0),
    },
    Case {
        name: "TLS, 2,000 idle connections after an echo each",
        traffic: Traffic { tls: true, pattern: Pattern::SilentAfterOne, ..Traffic::steady(2_000, 64, 1) },
        target: Target::Memory { max_bytes_each: f64::INFINITY },
    },
];

const fn rate(min_rate_ratio: f64) -> Target {
    Target::Speed { min_rate_ratio, max_cpu_ratio: None }
}
