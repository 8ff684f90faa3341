//! Compact form of the `Wait` that a service returned.

use crate::service::Wait;
use std::time::Instant;

/// A [`Wait`] without its instant, which the connection keeps with its other times in half the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceWait {
    Input,
    Writable,
    Either,
    Wake,
    Deadline,
    PreciseDeadline,
    Close,
}

/// Replaces a precise deadline that has passed by a plain one, which expires with the next tick. A precise one would
/// expire at once, again and again.
#[inline]
pub(super) fn normalize_wait(wait: Wait, now: Instant) -> Wait {
    match wait {
        Wait::PreciseDeadline(instant) if instant <= now => Wait::Deadline(instant),
        wait => wait,
    }
}

impl ServiceWait {
    /// Whether free room in the output is a reason to call the service. `was_high` tells whether the output was above
    /// its low watermark.
    #[inline]
    pub(super) fn wants_writable(self, was_high: bool) -> bool {
        match self {
            Self::Writable | Self::Either => true,
            Self::Wake | Self::Deadline | Self::PreciseDeadline => was_high,
            Self::Input | Self::Close => false,
        }
    }
}

impl From<Wait> for ServiceWait {
    #[inline]
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Input => Self::Input,
            Wait::Writable => Self::Writable,
            Wait::Either => Self::Either,
            Wait::Wake => Self::Wake,
            Wait::Deadline(_) => Self::Deadline,
            Wait::PreciseDeadline(_) => Self::PreciseDeadline,
            Wait::Close | Wait::Abort => Self::Close,
        }
    }
}
