//! All output of the programs: results to stdout, errors and log to stderr.
//!
//! Text for people is escaped here (see [`escape`]). A closed pipe is not a failure; a full disk is. After
//! [`start_log_writer`], a separate thread writes stderr, so that a blocked stderr blocks no event loop.

use super::line_queue::LineQueue;
use super::log_format;
use crate::error::in_words;
use crate::escape;
use crate::units::format_counted;
use indicatif::ProgressDrawTarget;
use log::Level;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::PanicHookInfo;
use std::time::Duration;

/// How long the program waits for a blocked stderr before its report, and at its end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Queue of lines for stderr.
static LOG: LineQueue = LineQueue::new();

/// Prints results of one or more lines. Returns whether they were written, or the reader closed the pipe. External text
/// in them must already be escaped as a [line](escape::line), or it could forge another line.
pub(super) fn print(text: impl Display) -> bool {
    write_results(format_args!("{}\n", escape::lines(text)))
}

/// Prints the report at the end of a run, after the log lines of the run: both may go to one terminal or file. Waits at
/// most [`FLUSH_TIMEOUT`] for a blocked stderr.
pub(super) fn print_report(text: impl Display) -> bool {
    LOG.flush(FLUSH_TIMEOUT);
    print(text)
}

/// Prints results of exactly one line.
pub(super) fn print_line(text: impl Display) -> bool {
    print(escape::line(text))
}

/// Writes JSON or HTML to stdout. Both have their own escaping.
pub(super) fn write_document(text: &str) -> bool {
    write_results(text)
}

/// Where JSON is written while a run lasts: stdout.
pub(super) fn document_target() -> Box<dyn Write + Send> {
    Box::new(io::stdout())
}

/// Prints results to stderr, because stdout holds a document. Waits until they are written.
pub(super) fn print_to_stderr(text: impl Display) -> bool {
    let text = format!("{}\n", escape::lines(text));
    LOG.push_and_wait(text.as_bytes()).unwrap_or_else(|| io::stderr().write_all(text.as_bytes()).is_ok())
}

/// Logs an error that ends the program, in one sentence.
pub(super) fn log_error(text: &str) {
    write_log(&log_format::final_error(text));
}

/// Writes a line to the log, without waiting for stderr.
fn write_log(line: &str) {
    // If the log cannot be written, there is no other place to report that.
    let _ = LogTarget.write_all(line.as_bytes());
}

/// Whether stderr is systemd's journal: `JOURNAL_STREAM` has its device and inode (systemd.exec(5)).
pub(super) fn is_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr.and_then(|file| file.metadata()).is_ok_and(|file| journal == format!("{}:{}", file.dev(), file.ino()))
}

/// Writer for a logger. It takes whole lines, already escaped.
pub(super) struct LogTarget;

impl Write for LogTarget {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if LOG.push(lines) { Ok(lines.len()) } else { io::stderr().write(lines) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Number of log lines dropped because stderr was not read fast enough.
pub(super) fn dropped_log_lines() -> u64 {
    LOG.total_dropped()
}

/// Flushes the log when it is dropped, waiting at most [`FLUSH_TIMEOUT`].
#[must_use]
pub(super) struct LogWriter;

impl Drop for LogWriter {
    fn drop(&mut self) {
        LOG.flush(FLUSH_TIMEOUT);
    }
}

/// Starts the thread that writes to stderr. Panics are reported through it, too.
pub(super) fn start_log_writer() -> LogWriter {
    let write = || {
        #[cfg(target_os = "linux")]
        crate::event_loop::keep_standard_streams();
        LOG.write_all(io::stderr(), note_dropped);
    };
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(write);
    LOG.set_writer(thread.is_ok());
    std::panic::set_hook(Box::new(report_panic));
    LogWriter
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    // The text is "panicked at FILE:LINE:COLUMN:", a line feed, and the message.
    let text = panic.to_string().replacen(":\n", ": ", 1);
    let thread = std::thread::current();
    let log = |text: &str| write_log(&log_format::line(Level::Error, text));
    log(&format!("thread {:?} {text}", thread.name().unwrap_or_default()));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(log);
    }
}

/// The note about log lines that were dropped.
fn note_dropped(lines: u64) -> String {
    let lines = format_counted(lines, "log line");
    log_format::line(Level::Warn, format_args!("{lines} dropped: the log was not read fast enough"))
}

/// Where `--stdin` writes received bytes: unchanged to a file or a pipe, escaped to a terminal.
pub(super) fn relay_target() -> Box<dyn Write + Send> {
    let stdout = io::stdout();
    if stdout.is_terminal() { Box::new(escape::TerminalWriter::new(stdout)) } else { Box::new(stdout) }
}

/// Whether stderr is a terminal without cursor control (`TERM=dumb`).
pub(super) fn is_dumb_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    is_dumb && io::stderr().is_terminal()
}

/// Whether stderr is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Where the progress bar is drawn: stderr, if that is a terminal.
pub(super) fn progress_target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr()
}

fn write_results(text: impl Display) -> bool {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            log_error(&format!("cannot write the results to stdout: {}", in_words(&error)));
            false
        }
        _ => true,
    }
}
