//! How far a worker is on its way to the end.

/// The stages, of which a worker never goes back to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lifecycle {
    /// Whoever comes is let in.
    Serving,
    /// A successor lets in whoever comes; who is here is served as before.
    HandedOver,
    /// Nobody is let in, and who is here comes to an end.
    Draining,
    /// Everybody is gone.
    Stopped,
}
