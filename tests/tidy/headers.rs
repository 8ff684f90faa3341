//! Every file opens with `//!`: what it is for, and what it must never do.

use crate::source::Source;
use crate::{Violation, complaints};

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    sources
        .iter()
        .filter(|source| !has_header(&source.text))
        .map(|source| Violation::new(source, 1, "opens without `//!` and what the file is for"))
        .collect()
}

fn has_header(text: &str) -> bool {
    let first_line = text.lines().next().unwrap_or("");
    first_line.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty())
}

#[test]
fn a_missing_header_is_reported() {
    let files = [
        ("src/a.rs", "//! Holds a.\n"),
        ("src/b.rs", "// Holds b.\n//! Too late.\n"),
        ("benches/c.rs", ""),
        ("tests/d.rs", "//!\n"),
    ];
    assert_eq!(
        complaints(check, &files),
        [
            "src/b.rs:1: opens without `//!` and what the file is for",
            "benches/c.rs:1: opens without `//!` and what the file is for",
            "tests/d.rs:1: opens without `//!` and what the file is for",
        ]
    );
}
