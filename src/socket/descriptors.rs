//! The limit on open file descriptors (getrlimit(2), `RLIMIT_NOFILE`).

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use std::sync::Once;

/// How many descriptors the process may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The soft limit, which is in force.
    pub soft: u64,
    /// The hard limit, to which an unprivileged process can raise the soft one.
    pub hard: u64,
}

/// Raises the soft limit to the hard one, if the system allows it, and returns the limits now in force. Returns `None`
/// when they are unknown: a sandbox can refuse getrlimit(2).
///
/// The soft limit is small (often 1,024) only for the sake of select(2), which this crate does not use.
#[must_use]
pub fn raise_descriptor_limit() -> Option<DescriptorLimit> {
    static WARNING: Once = Once::new();
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limit
        .map(|(soft, hard)| (wide(soft), wide(hard)))
        .inspect_err(|error| {
            WARNING.call_once(|| log::warn!("the limit on open descriptors is unknown: getrlimit: {}", error.desc()));
        })
        .ok()?;
    if soft == hard {
        return Some(DescriptorLimit { soft, hard });
    }
    match limit.and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard)) {
        Ok(()) => Some(DescriptorLimit { soft: hard, hard }),
        Err(error) => {
            log::warn!("cannot raise the limit on open descriptors: {}", error.desc());
            Some(DescriptorLimit { soft, hard })
        }
    }
}

/// A limit as the system's type holds it, signed on FreeBSD. An unlimited value is the largest number.
#[allow(clippy::allow_attributes, clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
fn wide(limit: rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}
