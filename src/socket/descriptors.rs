//! The limit on open descriptors (getrlimit(2), `RLIMIT_NOFILE`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors the process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The limit in force.
    pub soft: u64,
    /// How far a process without privileges can raise it.
    pub hard: u64,
}

/// Raises the soft limit to the hard one, as far as the system lets it, and says what is in force now.
///
/// The soft limit is small (often 1,024) only for programs that still use select(2), which ours do not.
#[must_use]
pub fn raise_descriptor_limit() -> DescriptorLimit {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::warn!("cannot raise the limit on open descriptors: {error}");
        }
    }
    let now = getrlimit(Resource::Nofile);
    // No limit at all is told as the largest number.
    DescriptorLimit { soft: now.current.unwrap_or(u64::MAX), hard: now.maximum.unwrap_or(u64::MAX) }
}
