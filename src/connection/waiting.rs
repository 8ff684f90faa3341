//! What the service of a connection waits for.

use crate::service::Wait;
use std::time::Instant;

/// A [`Wait`] without its instant, which is kept with the other times of the connection in half the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Input,
    Room,
    InputOrRoom,
    Until,
    At,
    Nothing,
}

/// With an empty output there is all the room that there will ever be: then only input can come. An instant that has passed
/// comes with the next tick: kept to the microsecond, it would come at once, again and again.
#[inline]
pub(super) fn what_can_come(wait: Wait, is_output_empty: bool, now: Instant) -> Wait {
    match wait {
        Wait::InputOrRoom if is_output_empty => Wait::Input,
        Wait::At(instant) if instant <= now => Wait::Until(instant),
        wait => wait,
    }
}

impl Waiting {
    /// Whether room that was freed is news for the service; `was_high` says that the output was well filled.
    #[inline]
    pub(super) fn wants_room(self, was_high: bool) -> bool {
        match self {
            Self::Room | Self::InputOrRoom => true,
            Self::Until | Self::At => was_high,
            Self::Input | Self::Nothing => false,
        }
    }
}

impl From<Wait> for Waiting {
    #[inline]
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Input => Self::Input,
            Wait::Room => Self::Room,
            Wait::InputOrRoom => Self::InputOrRoom,
            Wait::Until(_) => Self::Until,
            Wait::At(_) => Self::At,
            Wait::Nothing | Wait::Refuse => Self::Nothing,
        }
    }
}
