//! The parts of the event loop without system calls.

#[path = "../../../src/event_loop/key.rs"]
mod key;
#[path = "../../../src/event_loop/slab.rs"]
pub(crate) mod slab;
// Rustfmt would look for its tests, which are not compiled here, in another directory.
#[rustfmt::skip]
#[cfg(not(test))]
#[path = "../../../src/event_loop/wheel.rs"]
pub(crate) mod wheel;

pub(crate) use key::Key;
