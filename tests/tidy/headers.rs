//! Header check: every file begins with a `//!` line that describes it.

use crate::source::Source;
use crate::{Violation, messages};

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    sources
        .iter()
        .filter(|source| !has_header(&source.text))
        .map(|source| Violation::new(source, 1, "has no `//!` header that describes the file"))
        .collect()
}

fn has_header(text: &str) -> bool {
    let first_line = text.lines().next().unwrap_or("");
    first_line.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty())
}

#[test]
fn missing_header_is_reported() {
    let files = [
        ("src/a.rs", "//! Holds a.\n"),
        ("src/b.rs", "// Holds b.\n//! Too late.\n"),
        ("benches/c.rs", ""),
        ("tests/d.rs", "//!\n"),
    ];
    assert_eq!(
        messages(check, &files),
        [
            "src/b.rs:1: has no `//!` header that describes the file",
            "benches/c.rs:1: has no `//!` header that describes the file",
            "tests/d.rs:1: has no `//!` header that describes the file",
        ]
    );
}
