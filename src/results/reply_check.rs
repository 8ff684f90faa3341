//! How replies were checked, and the wording in reports that follows from it.

use serde::{Deserialize, Serialize};

/// How the replies of a run were checked, from the strongest check to the weakest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReplyCheck {
    /// Each reply was compared with its message, byte for byte.
    #[serde(rename = "echoed")]
    Echoed,
    /// The content of each reply was compared with the expected one.
    #[serde(rename = "compared")]
    Compared,
    /// Each reply contained the expected text.
    #[serde(rename = "matched")]
    Matched,
    /// Replies were counted by their framing. Default for files of earlier versions.
    #[default]
    #[serde(rename = "counted")]
    Counted,
    /// The end of a reply is unknown: reads and bytes were counted, but no replies.
    #[serde(rename = "unframed")]
    Unframed,
    /// No reply was expected.
    #[serde(rename = "not_expected")]
    NotExpected,
}

/// Words of a report.
pub(super) struct Words {
    /// The verdict on a successful run.
    pub(super) verdict: &'static str,
    /// What happened to the messages that were answered, if replies are counted.
    pub(super) messages: &'static str,
    /// The same for their bytes.
    pub(super) bytes: &'static str,
}

impl ReplyCheck {
    /// Whether replies were counted, so that latencies and a reply rate exist.
    #[must_use]
    pub fn has_counts(self) -> bool {
        matches!(self, Self::Echoed | Self::Compared | Self::Matched | Self::Counted)
    }

    /// Whether the content of replies was compared.
    pub(super) fn is_compared(self) -> bool {
        matches!(self, Self::Echoed | Self::Compared)
    }

    /// The kind of run, for merging.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Echoed | Self::Compared | Self::Matched | Self::Counted => "counted replies",
            Self::Unframed => "replies without a known end",
            Self::NotExpected => "messages without replies",
        }
    }

    /// The words of a full report.
    pub(super) fn words(self) -> Words {
        let [verdict, messages, bytes] = match self {
            Self::Echoed | Self::Compared => {
                ["every reply was correct", "answered and verified", "answered and verified"]
            }
            Self::Matched => ["every reply contained the expected text", "answered as expected", "received"],
            Self::Counted => ["every message was answered", "answered", "received"],
            Self::Unframed => ["bytes came back on every connection", "answered", "received"],
            Self::NotExpected => ["every message was sent", "answered", "received"],
        };
        Words { verdict, messages, bytes }
    }

    /// The words of a brief report, on datagrams or on connections.
    pub(super) fn brief_words(self, is_datagram: bool) -> Words {
        let [verdict, messages, bytes] = match self {
            Self::Echoed if is_datagram => {
                ["every datagram came back as it was sent", "echoed and verified", "echoed and verified"]
            }
            Self::Echoed => ["every byte came back as it was sent", "echoed and verified", "echoed and verified"],
            Self::Compared => ["every reply was correct", "answered and verified", "received and verified"],
            Self::Counted if is_datagram => ["every datagram was answered", "answered", "received"],
            Self::NotExpected if is_datagram => ["every datagram was sent", "answered", "received"],
            Self::NotExpected => ["everything was sent, and the server closed in order", "answered", "received"],
            Self::Matched | Self::Counted | Self::Unframed => return self.words(),
        };
        Words { verdict, messages, bytes }
    }
}
