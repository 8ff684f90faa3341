//! Checks a refusal: one sentence that names the input, the right exit status, and nothing else.

use super::Program;

/// Expects that the program exits with `status` and exactly one line on stderr that contains all of `parts`.
#[track_caller]
pub(crate) fn expect_refusal(mut program: Program, status: i32, parts: &[&str]) -> String {
    let exit = program.await_exit();
    assert_eq!(exit.code, Some(status), "{exit:#?}");
    assert!(exit.stdout.is_empty(), "a refusal has no results: {exit:#?}");
    assert_eq!(exit.stderr.len(), 1, "one sentence is enough: {exit:#?}");
    let line = exit.stderr.into_iter().next().expect("there is one line");
    assert!(line.starts_with("error: "), "{line}");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
    for part in ["panicked", "backtrace", "os error"] {
        assert!(!line.contains(part), "{part:?} in {line:?}");
    }
    line
}
