//! What is known of the replies of a run. Every text that calls a reply answered, right or verified follows from it.

use serde::{Deserialize, Serialize};

/// What is known of the replies of a run, from the most to the least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyCheck {
    /// The content of each was compared with what had to come.
    Compared,
    /// The end of each is known, and they were counted. Files of earlier versions say no more.
    #[default]
    Counted,
    /// Nothing tells where a reply ends: there are reads and bytes, and no count of replies.
    Unframed,
    /// None was expected.
    NotExpected,
}

impl ReplyCheck {
    /// Whether replies were counted, so that there are latencies and a rate of them.
    #[must_use]
    pub fn has_counts(self) -> bool {
        matches!(self, Self::Compared | Self::Counted)
    }

    /// What kind of run it is, where runs are merged.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Compared | Self::Counted => "counted replies",
            Self::Unframed => "replies without a known end",
            Self::NotExpected => "messages without replies",
        }
    }

    /// What is said of a run that went well.
    pub(super) fn verdict(self) -> &'static str {
        match self {
            Self::Compared => "every reply was right",
            Self::Counted => "every message was answered",
            Self::Unframed => "bytes came back on every connection",
            Self::NotExpected => "every message was sent",
        }
    }

    /// What is said of messages and their number, where replies are counted.
    pub(super) fn of_messages(self) -> &'static str {
        if self == Self::Compared { "answered and verified" } else { "answered" }
    }

    /// What is said of bytes and their number.
    pub(super) fn of_bytes(self) -> &'static str {
        if self == Self::Compared { "answered and verified" } else { "received" }
    }
}
