//! Synchronization of the code that several threads share: that of std, or of loom, which tries all schedules of a test
//! (`scripts/schedules`).

#[cfg(schedules)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc,
};
#[cfg(not(schedules))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc,
};
