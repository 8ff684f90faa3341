//! The log on stderr: how much of it, and how it looks.

use super::output::{self, LogTarget, LogWriter};
use crate::escape;
use clap::{ArgAction, Args};
use env_logger::Target;
use log::{Level, LevelFilter};
use std::io::Write;

/// How much is told.
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
    /// Whether nothing but errors is wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether the log speaks of every connection.
    pub(super) fn speaks(&self) -> bool {
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

    /// Starts the log; it is complete when the result is dropped. `RUST_LOG` is the default of -v and -q, in more detail.
    pub(super) fn start_log(&self) -> LogWriter {
        let mut builder = env_logger::Builder::new();
        // Not both: `RUST_LOG=debug` says nothing of a module, and a filter of a module would win over it.
        let is_given = self.quiet || self.verbose > 0;
        match std::env::var("RUST_LOG") {
            Ok(filters) if !filters.is_empty() && !is_given => builder.parse_filters(&filters),
            _ => builder.filter_level(LevelFilter::Warn).filter_module("multiconn", self.level()),
        };
        // The story reads like the tutorial's, a line per event; only what needs attention is marked.
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
