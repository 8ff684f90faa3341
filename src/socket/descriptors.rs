//! The limit on open descriptors (getrlimit(2), `RLIMIT_NOFILE`).

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::Once;

/// How many descriptors the process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The limit in force.
    pub soft: u64,
    /// How far a process without privileges can raise it.
    pub hard: u64,
}

/// Raises the soft limit to the hard one, as far as the system lets it, and says what is in force now. None where the system
/// does not tell: a sandbox can refuse getrlimit(2).
///
/// The soft limit is small (often 1,024) only for programs that still use select(2), which ours do not.
#[must_use]
pub fn raise_descriptor_limit() -> Option<DescriptorLimit> {
    static WARNING: Once = Once::new();
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limit
        .inspect_err(|error| {
            WARNING.call_once(|| log::warn!("the limit on open descriptors is unknown: getrlimit: {}", error.desc()));
        })
        .ok()?;
    if soft == hard {
        return Some(DescriptorLimit { soft, hard });
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(DescriptorLimit { soft: hard, hard }),
        Err(error) => {
            log::warn!("cannot raise the limit on open descriptors: {}", error.desc());
            Some(DescriptorLimit { soft, hard })
        }
    }
}
