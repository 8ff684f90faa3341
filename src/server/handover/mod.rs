//! Handover: a new process takes over the listening sockets, and this one serves its existing connections.
//!
//! For a while both processes hold the same sockets, so that no new connection is refused and no pending one is reset.
//! The old process accepts until the new one reports that it does. If that does not happen, the old one continues as
//! before.

mod child_program;
mod parent;
mod state;

pub use child_program::ChildProgram;
pub(super) use parent::begin;
#[cfg(all(test, multiconn_simulated))]
pub(super) use parent::conclude;
pub(super) use state::{Handover, ShutdownAction};
