//! The only place that writes to stdout and stderr: results to stdout, errors and the log to stderr.
//!
//! Everything for people is escaped here (see [`escape`]). A reader that closed the pipe is no failure; a full disk is.

use crate::error::in_words;
use crate::escape;
use indicatif::ProgressDrawTarget;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Writes results of one line or several; whether all that the reader wanted was written. External text in them must be
/// escaped as a [line](escape::line) of its own, or it could forge another one.
pub(super) fn say(text: impl Display) -> bool {
    write_results(format_args!("{}\n", escape::lines(text)))
}

/// Writes results of exactly one line.
pub(super) fn say_line(text: impl Display) -> bool {
    say(escape::line(text))
}

/// Writes JSON or HTML, which have escapes of their own.
pub(super) fn write_document(text: &str) -> bool {
    write_results(text)
}

/// Writes results to stderr, because stdout holds a document.
pub(super) fn say_aside(text: impl Display) -> bool {
    writeln!(io::stderr().lock(), "{}", escape::lines(text)).is_ok()
}

/// Writes one sentence about what went wrong.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {}", escape::line(text));
}

/// Where the bytes of a server go with `--stdin`: as they are to a file or a pipe, escaped to a terminal.
pub(super) fn relay_target() -> Box<dyn Write + Send> {
    let stdout = io::stdout();
    if stdout.is_terminal() { Box::new(escape::TerminalWriter::new(stdout)) } else { Box::new(stdout) }
}

/// Where the progress bar is drawn: stderr, if that is a terminal.
pub(super) fn progress_target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr()
}

fn write_results(text: impl Display) -> bool {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("cannot write the results to stdout: {}", in_words(&error)));
            false
        }
        _ => true,
    }
}
