//! Internal modules of the library under test, compiled from their files.

#![allow(dead_code, unused_imports, reason = "the benchmark uses a part of the modules")]
#![allow(unreachable_pub, clippy::pedantic, clippy::unwrap_used, reason = "checked as parts of the library")]

#[path = "../../../src/buffer/mod.rs"]
pub(crate) mod buffer;
pub(crate) mod event_loop;
