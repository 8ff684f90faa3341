//! The log on stderr: levels and format.

use super::output::{self, LogTarget, LogWriter};
use crate::escape;
use clap::{ArgAction, Args};
use env_logger::Target;
use log::{Level, LevelFilter};
use std::io::Write;

/// Log verbosity options.
#[derive(Debug, Clone, Args)]
pub(super) struct Verbosity {
    /// Log connection events; -vv also logs payloads. Without -v and -q, RUST_LOG sets what is logged, such as debug.
    #[arg(short, long, action = ArgAction::Count,
        help_heading = "Observing")]
    verbose: u8,
    /// Log errors only; print no report of a success.
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Observing")]
    quiet: bool,
}

impl Verbosity {
    /// Whether only errors are logged.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether connection events are logged.
    pub(super) fn logs_connections(&self) -> bool {
        self.verbose > 0
    }

    fn level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::Error,
            (false, 0) => LevelFilter::Info,
            (false, 1) => LevelFilter::Debug,
            (false, _) => LevelFilter::Trace,
        }
    }

    /// Starts the log. It is flushed when the result is dropped. `RUST_LOG` applies without -v and -q, and allows
    /// filters per module.
    pub(super) fn start_log(&self) -> LogWriter {
        let mut builder = env_logger::Builder::new();
        // Either the options or RUST_LOG, never both: `RUST_LOG=debug` names no module, and a module filter would
        // override it.
        let is_given = self.quiet || self.verbose > 0;
        match std::env::var("RUST_LOG") {
            Ok(filters) if !filters.is_empty() && !is_given => builder.parse_filters(&filters),
            _ => builder.filter_level(LevelFilter::Warn).filter_module("multiconn", self.level()),
        };
        // Connection events read like the tutorial's, one line per event. Only warnings and errors are marked.
        builder.format(|out, record| {
            let text = escape::line(record.args());
            match record.level() {
                Level::Error => writeln!(out, "error: {text}"),
                Level::Warn => writeln!(out, "warning: {text}"),
                Level::Info | Level::Debug | Level::Trace => writeln!(out, "{text}"),
            }
        });
        builder.target(Target::Pipe(Box::new(LogTarget))).init();
        output::start_log_writer()
    }
}
