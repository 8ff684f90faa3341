//! The only place that writes to stdout and stderr: results to stdout, errors and the log to stderr.
//!
//! Everything for people is escaped here (see [`escape`]). A reader that closed the pipe is no failure; a full disk is.
//! Once [`start_log_writer`] was called, stderr is written by a thread of its own, so that one that nobody reads blocks no
//! event loop.

use super::line_queue::LineQueue;
use crate::error::in_words;
use crate::escape;
use indicatif::ProgressDrawTarget;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::time::Duration;

/// How long the end of a program waits for a stderr that is not read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The lines for stderr.
static LOG: LineQueue = LineQueue::new();

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

/// Writes results to stderr, because stdout holds a document. Waits until they are written.
pub(super) fn say_aside(text: impl Display) -> bool {
    let text = format!("{}\n", escape::lines(text));
    LOG.push_and_wait(text.as_bytes()).unwrap_or_else(|| io::stderr().write_all(text.as_bytes()).is_ok())
}

/// Logs one sentence about what went wrong.
pub(super) fn complain(text: &str) {
    log_line(format_args!("error: {text}"));
}

/// Logs one line, without waiting for stderr.
pub(super) fn log_line(text: impl Display) {
    // A log that cannot be written has no other place for that.
    let _ = LogTarget.write_all(format!("{}\n", escape::line(text)).as_bytes());
}

/// Where a logger writes whole lines, which must be escaped.
pub(super) struct LogTarget;

impl Write for LogTarget {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if LOG.push(lines) { Ok(lines.len()) } else { io::stderr().write(lines) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many log lines were dropped because stderr was not read fast enough.
pub(super) fn dropped_log_lines() -> u64 {
    LOG.dropped_in_all()
}

/// Writes what is left of the log when it is dropped, as far as stderr is read.
#[must_use]
pub(super) struct LogWriter;

impl Drop for LogWriter {
    fn drop(&mut self) {
        LOG.flush(FLUSH_TIMEOUT);
    }
}

/// Starts the thread that writes to stderr. Panics are reported through it, too.
pub(super) fn start_log_writer() -> LogWriter {
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(|| LOG.write_all(io::stderr()));
    LOG.set_writer(thread.is_ok());
    std::panic::set_hook(Box::new(report_panic));
    LogWriter
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    // "panicked at FILE:LINE:COLUMN:", a line feed, and the message.
    let text = panic.to_string().replacen(":\n", ": ", 1);
    let thread = std::thread::current();
    complain(&format!("thread {:?} {text}", thread.name().unwrap_or_default()));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(log_line);
    }
}

/// Where the bytes of a server go with `--stdin`: as they are to a file or a pipe, escaped to a terminal.
pub(super) fn relay_target() -> Box<dyn Write + Send> {
    let stdout = io::stdout();
    if stdout.is_terminal() { Box::new(escape::TerminalWriter::new(stdout)) } else { Box::new(stdout) }
}

/// Whether stderr is a terminal that only takes lines (`TERM=dumb`).
pub(super) fn is_dumb_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    is_dumb && io::stderr().is_terminal()
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
