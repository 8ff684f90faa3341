//! Source tree checks: import order, import circles and purity of modules, lengths of files and functions, and the
//! module table in `src/lib.rs`.
//!
//! Each check maps sources to violations. It runs once over the tree and once over a small bad example, so that a check
//! that cannot fail is noticed. No check writes, or reads outside the crate's directory.

#![allow(clippy::unwrap_used)]

mod circles;
mod headers;
mod lengths;
mod lexer;
mod options;
mod order;
mod outputs;
mod picture;
mod planted;
mod purity;
mod source;
mod words;

use std::fmt;

use source::Source;

/// A violated rule, shown as `path:line: what`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl Violation {
    /// `line` counts from 1.
    pub(crate) fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

#[test]
fn modules_import_only_lower_modules() {
    expect_none(order::check);
}

#[test]
fn files_do_not_import_in_circles() {
    expect_none(circles::check);
}

#[test]
fn pure_modules_are_pure() {
    expect_none(purity::check);
}

#[test]
fn wall_clock_is_read_in_one_file() {
    expect_none(purity::check_wall_clock);
}

#[test]
fn standard_streams_are_written_in_one_file() {
    expect_none(outputs::check);
}

#[test]
fn options_are_named_in_the_command_lines() {
    expect_none(options::check);
}

#[test]
fn files_and_functions_are_short() {
    expect_none(lengths::check);
}

#[test]
fn every_file_has_a_header() {
    expect_none(headers::check);
}

#[test]
fn no_forbidden_words_remain() {
    expect_none(words::check);
}

#[test]
fn module_table_is_complete() {
    expect_none(picture::check);
}

fn expect_none(check: fn(&[Source]) -> Vec<Violation>) {
    let sources = source::tree();
    // An empty walk would pass every check.
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"));
    let violations = check(&sources);
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

/// The violations that `check` reports for a tree of (path, text) pairs, one line each; for the bad examples.
pub(crate) fn messages(check: fn(&[Source]) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources).iter().map(ToString::to_string).collect()
}
