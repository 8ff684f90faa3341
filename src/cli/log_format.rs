//! Format of a log line: text, or a JSON object, with time and level.
//!
//! Messages and fields may hold text from a peer. It is escaped in both formats, so that a line is safe on a terminal.
//! The escapes survive JSON parsing.

use crate::escape;
use crate::event_loop::unix_time;
use crate::log_targets::{CLIENT_LOG, SERVER_LOG};
use crate::results::Timestamp;
use clap::ValueEnum;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use std::fmt::{self, Display, Write};
use std::sync::OnceLock;

/// Format of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Time, level, message and key=value fields, except for the lines of -v.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How the log lines of this process are written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineFormat {
    pub(super) format: LogFormat,
    /// stderr is systemd's journal, which adds the time and takes the level as a prefix (sd-daemon(3)).
    pub(super) in_journal: bool,
    /// The tutorial's lines are printed as the tutorial prints them: the message alone.
    pub(super) has_tutorial_form: bool,
}

/// Format of this process, once the log has started.
static FORMAT: OnceLock<LineFormat> = OnceLock::new();

impl LineFormat {
    /// Makes this the format of the process.
    pub(super) fn set(self) {
        let _ = FORMAT.set(self);
    }

    /// Formats a record as one line with a line feed.
    pub(super) fn line(self, record: &Record<'_>) -> String {
        let mut line = if self.in_journal { format!("<{}>", priority(record.level())) } else { String::new() };
        // Writing to a string cannot fail.
        let _ = match self.format {
            LogFormat::Text => self.write_text(&mut line, record),
            LogFormat::Json => write_json(&mut line, record),
        };
        line.push('\n');
        line
    }

    fn write_text(self, line: &mut String, record: &Record<'_>) -> fmt::Result {
        let message = escape::line(record.args());
        if self.has_tutorial_form && [SERVER_LOG, CLIENT_LOG].contains(&record.target()) {
            return write!(line, "{message}");
        }
        if !self.in_journal {
            write!(line, "{} {}: ", now(), level_name(record.level()))?;
        }
        write!(line, "{message}")?;
        record.key_values().visit(&mut TextFields(line)).map_err(|_| fmt::Error)
    }
}

/// Formats a line that belongs to no event of a connection.
pub(super) fn line(level: Level, message: impl Display) -> String {
    let format = FORMAT.get().copied().unwrap_or_default();
    format.line(&Record::builder().level(level).args(format_args!("{message}")).build())
}

/// Formats an error that ends the program: for people `error: …`, as before the log has started, otherwise a log line.
pub(super) fn final_error(message: &str) -> String {
    match FORMAT.get() {
        Some(format) if format.in_journal || format.format == LogFormat::Json => line(Level::Error, message),
        _ => format!("error: {}\n", escape::line(message)),
    }
}

fn write_json(line: &mut String, record: &Record<'_>) -> fmt::Result {
    let (level, message) = (level_name(record.level()), json_text(record.args()));
    write!(line, r#"{{"time":"{}","level":"{level}","message":{message}"#, now())?;
    record.key_values().visit(&mut JsonFields(line)).map_err(|_| fmt::Error)?;
    line.write_char('}')
}

/// Appends the fields of a record as ` key=value`.
struct TextFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for TextFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let Some(value) = field(&value)? else { return Ok(()) };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if text.is_empty() || text.contains([' ', '"', '=', '\\']) {
            // Without the backslash's own escape, a value that ends with one would take the next field into its quotes.
            write!(self.0, " {key}=\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))?;
        } else {
            write!(self.0, " {key}={text}")?;
        }
        Ok(())
    }
}

/// Appends the fields of a record as members of a JSON object.
struct JsonFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for JsonFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        if let Some(value) = field(&value)? {
            write!(self.0, ",{}:{value}", json_text(key))?;
        }
        Ok(())
    }
}

/// The value of a field: numbers stay numbers, all else is escaped text. None for a field without a value, which is left
/// out.
fn field(value: &Value<'_>) -> Result<Option<serde_json::Value>, Error> {
    let mut visitor = FieldVisitor(None);
    value.visit(&mut visitor)?;
    Ok(visitor.0)
}

struct FieldVisitor(Option<serde_json::Value>);

impl VisitValue<'_> for FieldVisitor {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0 = Some(json_text(value));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = Some(value.into());
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.0 = Some(value.into());
        Ok(())
    }
}

/// A JSON string of the escaped text.
fn json_text(text: impl Display) -> serde_json::Value {
    serde_json::Value::String(escape::line(text).to_string())
}

fn now() -> Timestamp {
    Timestamp::after_1970(unix_time())
}

/// The level in both formats, in the words of the program's other messages.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// The level as a priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
