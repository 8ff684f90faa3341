//! The parts of the event loop without system calls.

#[path = "../../../src/event_loop/key.rs"]
mod key;
#[path = "../../../src/event_loop/slab.rs"]
pub(crate) mod slab;
#[path = "../../../src/event_loop/wheel.rs"]
pub(crate) mod wheel;

pub(crate) use key::Key;
