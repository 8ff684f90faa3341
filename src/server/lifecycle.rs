//! Lifecycle of a worker: starting, serving, handed over, draining, stopped.

/// The stages in order; a worker never returns to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lifecycle {
    /// The old process of a handover accepts connections. This one does once all of its workers are ready.
    Starting,
    /// New connections are accepted.
    Serving,
    /// A new process accepts connections; existing ones are served as before.
    HandedOver,
    /// No connections are accepted, and existing ones finish.
    Draining,
    /// All connections are closed.
    Stopped,
}
