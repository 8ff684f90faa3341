//! Results to stdout, complaints to stderr. A reader that went away is no reason to fail; a full disk is.

use crate::error::in_words;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// A line, or several, of results; whether they were written, as far as anybody wanted to read them.
pub(super) fn say(text: impl Display) -> bool {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("cannot write the results to stdout: {}", in_words(&error)));
            false
        }
        _ => true,
    }
}

/// A line, or several, that belong to the results but must not stand among them.
pub(super) fn say_aside(text: impl Display) -> bool {
    writeln!(std::io::stderr().lock(), "{text}").is_ok()
}

/// One sentence about what went wrong.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}
