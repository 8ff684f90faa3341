//! How far a conversation has come.

/// The part of its life that a conversation is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// What comes in and goes out belongs to the layer below.
    Handshaking,
    Open,
    /// Open, but to be finished as soon as nothing is in flight.
    Draining,
    /// Open, but the service will write nothing more: our half is to be shut as soon as everything was sent.
    Ending,
    /// Open, with our half shut: input is served on.
    Listening,
    Finishing,
    Lingering,
    Closed,
}

impl Phase {
    /// Whether the service is served.
    #[inline]
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Draining | Self::Ending | Self::Listening)
    }

    /// Whether the service has ended its output, but not the conversation.
    #[inline]
    pub(super) fn says_no_more(self) -> bool {
        matches!(self, Self::Ending | Self::Listening)
    }
}
