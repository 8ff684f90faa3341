//! What the benchmarks share: programs pinned to a CPU, a load that costs as little as it can, what Linux tells of a process,
//! and the text a reader gets. Nothing here knows what is measured.

// Each benchmark uses the part it needs.
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

/// Failures are sentences for the reader: nothing in a benchmark recovers from one.
pub(crate) type Outcome<T> = Result<T, String>;
