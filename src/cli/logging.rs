//! Log options: what is logged to stderr, and in which format.

use super::log_format::{LineFormat, LogFormat};
use super::output::{self, LogTarget, LogWriter};
use crate::log_targets::{CLIENT_LOG, SERVER_LOG};
use clap::{ArgAction, Args};
use env_filter::ParseError;
use env_logger::{Builder, Target};
use log::LevelFilter;
use std::io::Write;

/// Log options.
#[derive(Debug, Clone, Args)]
pub(super) struct LogOptions {
    /// Log connections and payloads as the tutorial's programs print them; -vv logs all details. Without -v and -q,
    /// RUST_LOG sets what is logged: debug is -vv without payloads.
    #[arg(short, long, action = ArgAction::Count,
        help_heading = "Logging")]
    verbose: u8,
    /// Log errors only; print no report of a success.
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Logging")]
    quiet: bool,
    /// Format of the log.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Logging"
    )]
    log_format: LogFormat,
}

impl LogOptions {
    /// Whether only errors are logged.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether progress lines go to the log even without a terminal.
    pub(super) fn shows_progress(&self) -> bool {
        self.verbose > 0 || self.log_format == LogFormat::Json || log::log_enabled!(log::Level::Debug)
    }

    /// Starts the log. It is flushed when the result is dropped.
    pub(super) fn start_log(&self) -> LogWriter {
        let format = LineFormat {
            format: self.log_format,
            in_journal: output::is_journal(),
            has_tutorial_form: self.verbose == 1,
        };
        format.set();
        let mut builder = Builder::new();
        let filtered = self.filter(&mut builder);
        builder.format(move |out, record| out.write_all(format.line(record).as_bytes()));
        builder.target(Target::Pipe(Box::new(LogTarget))).init();
        let writer = output::start_log_writer();
        if let Err(error) = filtered {
            log::warn!("RUST_LOG is ignored: {error}");
        }
        writer
    }

    /// Sets the levels. Either the options or `RUST_LOG` apply, never both: `RUST_LOG=debug` names no module, and a
    /// module filter would override it. An invalid `RUST_LOG` is an error, and does not apply.
    fn filter(&self, builder: &mut Builder) -> Result<(), ParseError> {
        builder.filter_level(LevelFilter::Warn);
        match (self.quiet, self.verbose) {
            (true, _) => builder.filter_level(LevelFilter::Error),
            (false, 0) => {
                builder.filter_module("multiconn", LevelFilter::Info);
                let filters = std::env::var("RUST_LOG").unwrap_or_default();
                if !filters.is_empty() {
                    // The logger would print the error itself, not as a log line.
                    env_filter::Builder::new().try_parse(&filters)?;
                    *builder = Builder::new();
                    builder.parse_filters(&filters);
                }
                builder
            }
            (false, 1) => {
                builder.filter_module("multiconn", LevelFilter::Info);
                builder.filter_module(SERVER_LOG, LevelFilter::Trace).filter_module(CLIENT_LOG, LevelFilter::Trace)
            }
            (false, _) => builder.filter_module("multiconn", LevelFilter::Trace),
        };
        Ok(())
    }
}
