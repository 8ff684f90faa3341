//! What the service of a connection waits for.

use crate::service::Wait;
use std::time::Instant;

/// A [`Wait`] without its instant, which is kept with the other times of the connection in half the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceWait {
    Input,
    Writable,
    Either,
    Deadline,
    PreciseDeadline,
    Close,
}

/// With an empty output there is all the room that there will ever be: then only input can come. An instant that has passed
/// comes with the next tick: kept to the microsecond, it would come at once, again and again.
#[inline]
pub(super) fn what_can_come(wait: Wait, is_output_empty: bool, now: Instant) -> Wait {
    match wait {
        Wait::Either if is_output_empty => Wait::Input,
        Wait::PreciseDeadline(instant) if instant <= now => Wait::Deadline(instant),
        wait => wait,
    }
}

impl ServiceWait {
    /// Whether room that was freed is news for the service; `was_high` says that the output was well filled.
    #[inline]
    pub(super) fn wants_writable(self, was_high: bool) -> bool {
        match self {
            Self::Writable | Self::Either => true,
            Self::Deadline | Self::PreciseDeadline => was_high,
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
            Wait::Deadline(_) => Self::Deadline,
            Wait::PreciseDeadline(_) => Self::PreciseDeadline,
            Wait::Close | Wait::Abort => Self::Close,
        }
    }
}
