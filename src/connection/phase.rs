//! Phases of a connection.

/// Phase of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The layer below exchanges its handshake; the service is not called.
    Handshaking,
    /// The service is called.
    Open,
    /// Open, but the service writes nothing more: our sending half is shut down once everything was sent.
    OutputEnded,
    /// Open, with our sending half shut down: input is still served.
    OutputShut,
    /// The remaining output is sent; input is discarded.
    Finishing,
    /// Our sending half is shut down; input is discarded until its end or a deadline.
    Lingering,
    /// Nothing is left to do but to close the socket.
    Closed,
    /// As [`Closed`](Self::Closed), but output is lost: the socket is closed by a reset.
    Cut,
}

impl Phase {
    /// Whether the service is called in this phase.
    #[inline]
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::OutputEnded | Self::OutputShut)
    }

    /// Whether the connection is over.
    #[inline]
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::Cut)
    }

    /// Whether bytes of the connection's handle are still sent in this phase, or it is closed by its handle. The handle
    /// accepts no bytes once the output has ended.
    #[inline]
    pub(super) fn takes_sends(self) -> bool {
        self.is_open() || self == Self::Finishing
    }

    /// Whether the service has ended its output, but not the connection.
    #[inline]
    pub(super) fn has_output_ended(self) -> bool {
        matches!(self, Self::OutputEnded | Self::OutputShut)
    }
}
