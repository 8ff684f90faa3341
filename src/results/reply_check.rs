//! How replies were checked, and the wording in reports that follows from it.

use serde::{Deserialize, Serialize};

/// How the replies of a run were checked, from the strongest check to the weakest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyCheck {
    /// The content of each reply was compared with the expected bytes.
    Compared,
    /// Replies were counted by their framing. Default for files of earlier versions.
    #[default]
    Counted,
    /// The end of a reply is unknown: reads and bytes were counted, but no replies.
    Unframed,
    /// No reply was expected.
    NotExpected,
}

impl ReplyCheck {
    /// Whether replies were counted, so that latencies and a reply rate exist.
    #[must_use]
    pub fn has_counts(self) -> bool {
        matches!(self, Self::Compared | Self::Counted)
    }

    /// The kind of run, for merging.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Compared | Self::Counted => "counted replies",
            Self::Unframed => "replies without a known end",
            Self::NotExpected => "messages without replies",
        }
    }

    /// The verdict on a successful run.
    pub(super) fn verdict(self) -> &'static str {
        match self {
            Self::Compared => "every reply was right",
            Self::Counted => "every message was answered",
            Self::Unframed => "bytes came back on every connection",
            Self::NotExpected => "every message was sent",
        }
    }

    /// The label of the number of messages, if replies are counted.
    pub(super) fn of_messages(self) -> &'static str {
        if self == Self::Compared { "answered and verified" } else { "answered" }
    }

    /// The label of the number of bytes.
    pub(super) fn of_bytes(self) -> &'static str {
        if self == Self::Compared { "answered and verified" } else { "received" }
    }
}
