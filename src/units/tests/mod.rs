//! What the parsers accept and refuse, what the formatters print, and that the two agree.

#![allow(clippy::unwrap_used)]

mod formatting;
mod parsing;
mod properties;

const KIB: u64 = 1024;
