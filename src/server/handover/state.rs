//! State of the handovers of a server: the one from the old process, and those to a new process.

use super::child_program::ChildProgram;
use crate::socket::{BoundEndpoint, FdSender, ParentProcess};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What to do on SIGINT or SIGTERM, depending on the handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum ShutdownAction {
    /// Drain.
    Drain,
    /// The handover is aborted, and its thread starts the drain afterwards.
    DrainAfterHandover,
    /// A repeated signal: stop at once.
    Stop,
}

/// The handovers of a server: the one from the old process, and those to a new process.
#[derive(Debug)]
pub(in crate::server) struct Handover {
    pub(super) child_program: Option<ChildProgram>,
    pub(super) endpoints: Vec<BoundEndpoint>,
    state: Mutex<HandoverState>,
}

/// Progress of the handovers.
#[derive(Debug)]
pub(super) enum HandoverState {
    /// This process is taking over from an old one.
    TakingOver(ParentProcess),
    Serving,
    InProgress {
        fd_sender: Arc<FdSender>,
        shutdown_requested: bool,
    },
    /// A new process has taken over.
    Done,
}

impl Handover {
    pub(in crate::server) fn new(
        child_program: Option<ChildProgram>,
        endpoints: Vec<BoundEndpoint>,
        parent: Option<ParentProcess>,
    ) -> Self {
        Self {
            child_program,
            endpoints,
            state: Mutex::new(parent.map_or(HandoverState::Serving, HandoverState::TakingOver)),
        }
    }

    /// A handover begins, in a simulation.
    #[cfg(all(test, multiconn_simulated))]
    pub(in crate::server) fn start(&self, fd_sender: Arc<FdSender>) {
        *self.state() = HandoverState::InProgress { fd_sender, shutdown_requested: false };
    }

    /// The process ends before it has taken over, in a simulation.
    #[cfg(all(test, multiconn_simulated))]
    pub(in crate::server) fn close_channel(&self) {
        *self.state() = HandoverState::Serving;
    }

    /// Whether an old process still serves, and this one must not.
    pub(in crate::server) fn is_taking_over(&self) -> bool {
        matches!(*self.state(), HandoverState::TakingOver(_))
    }

    /// Reports that this process accepts. Returns whether an old process received that; one that died leaves the
    /// service to this process. Returns none if this process was told to end before, and leaves the service to the old
    /// one. Workers that drain see under the same lock which of both it was.
    pub(in crate::server) fn release_parent(&self, is_draining: &AtomicBool) -> io::Result<Option<bool>> {
        let mut state = self.state();
        let HandoverState::TakingOver(parent) = &*state else { return Ok(Some(false)) };
        if is_draining.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let was_received = parent.release()?;
        *state = HandoverState::Serving;
        Ok(Some(was_received))
    }

    /// The server has ended normally: a new process that is being started must not serve in its place.
    pub(in crate::server) fn abort(&self) {
        if let HandoverState::InProgress { fd_sender, .. } = &*self.state() {
            fd_sender.abort();
        }
    }

    /// Whether this process removes the paths of its Unix sockets: no old process has them any more, and no new process
    /// has them already.
    pub(in crate::server) fn owns_paths(&self) -> bool {
        !matches!(*self.state(), HandoverState::TakingOver(_) | HandoverState::Done)
    }

    /// The action for SIGINT or SIGTERM. Aborts a handover in progress.
    pub(in crate::server) fn on_shutdown_signal(&self) -> ShutdownAction {
        match &mut *self.state() {
            HandoverState::InProgress { shutdown_requested: true, .. } => ShutdownAction::Stop,
            HandoverState::InProgress { fd_sender, shutdown_requested } => {
                *shutdown_requested = true;
                fd_sender.abort();
                ShutdownAction::DrainAfterHandover
            }
            _ => ShutdownAction::Drain,
        }
    }

    /// Ends a handover. Returns whether a shutdown was requested meanwhile, which the caller must then start.
    pub(super) fn finish(&self, state: HandoverState) -> bool {
        matches!(
            std::mem::replace(&mut *self.state(), state),
            HandoverState::InProgress { shutdown_requested: true, .. }
        )
    }

    pub(super) fn is_aborted(&self) -> bool {
        matches!(*self.state(), HandoverState::InProgress { shutdown_requested: true, .. })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, HandoverState> {
        // The state is consistent between any two statements, even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
