//! Results to stdout, complaints to stderr. A reader that went away is no reason to fail.

use std::fmt::Display;
use std::io::Write;

/// A line, or several, of results.
pub(super) fn say(text: impl Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// One sentence about what went wrong.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}
