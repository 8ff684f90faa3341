//! The source tree keeps its promises: the import order of the rooms, the purity of the middle,
//! the lengths of files and functions, the picture in `src/lib.rs`.
//!
//! Each check is a function from sources to violations, run once over the tree and once over a
//! small bad example, so that a check that cannot fail is noticed. Nothing here may write, nor
//! look outside the crate's directory.

#![allow(clippy::unwrap_used)]

mod headers;
mod lengths;
mod lexer;
mod order;
mod outputs;
mod picture;
mod purity;
mod source;
mod words;

use std::fmt;

use source::Source;

/// One broken rule, shown as `path:line: what`.
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
fn rooms_import_only_what_stands_above_them() {
    expect_none(order::check);
}

#[test]
fn the_pure_rooms_are_pure() {
    expect_none(purity::check);
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    expect_none(purity::check_wall_clock);
}

#[test]
fn one_file_writes_to_the_standard_streams() {
    expect_none(outputs::check);
}

#[test]
fn files_and_functions_are_short() {
    expect_none(lengths::check);
}

#[test]
fn every_file_says_what_it_is_for() {
    expect_none(headers::check);
}

#[test]
fn nothing_is_left_for_later() {
    expect_none(words::check);
}

#[test]
fn the_picture_shows_every_room() {
    expect_none(picture::check);
}

fn expect_none(check: fn(&[Source]) -> Vec<Violation>) {
    let sources = source::tree();
    // A walk that finds nothing would pass every check.
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"));
    let violations = check(&sources);
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

/// What `check` says about a tree of these (path, text) pairs, a line each; for the bad examples.
pub(crate) fn complaints(check: fn(&[Source]) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources).iter().map(ToString::to_string).collect()
}
