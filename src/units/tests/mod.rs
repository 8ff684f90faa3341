//! Parsers accept and refuse, formatters print, and the two agree.

#![allow(clippy::unwrap_used)]

mod formatting;
mod parsing;
mod properties;

const KIB: u64 = 1024;
