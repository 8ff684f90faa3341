//! Shared parts of the benchmarks: pinned child processes, a minimal load, procfs readings and report text. Nothing
//! here knows the measured quantities.

// Each benchmark uses a part of this module.
#![allow(dead_code)]

pub(crate) mod arguments;
pub(crate) mod child;
pub(crate) mod cpus;
pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod procfs;
pub(crate) mod run_setup;
pub(crate) mod tls_configs;
pub(crate) mod traffic;
pub(crate) mod verdicts;

/// Errors are messages for the reader; a benchmark does not recover from them.
pub(crate) type Outcome<T> = Result<T, String>;
