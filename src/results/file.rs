//! Results as JSON text: writing, reading, and errors for anything else.

use super::{RunResults, bounds};
use crate::escape;
use memchr::memmem;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The `format` field of a result file. The number changes when an older reader would misread a newer file.
pub const FORMAT: &str = "multiconn-run/2";

/// The `format` field of files of the version before, which are still read.
const FORMAT_1: &str = "multiconn-run/1";

/// Causes for which a connection failed because of one wrong reply, by their names in version 1.
const WRONG_REPLIES_1: [&str; 5] = ["mismatch", "wrong_answer", "bad_frame", "cut_frame", "corrupt"];

/// Names of causes in version 1, and those of today.
const CAUSES_OF_1: [(&str, &str); 7] = [
    ("lost", "reply_timeout"),
    ("wrong_answer", "wrong_reply"),
    ("not_kept", "closed_after_reply"),
    ("cut_frame", "incomplete_frame"),
    ("own_end", "local_io"),
    ("tls_misbehaved", "tls_protocol_violation"),
    ("tls_damaged", "tls_corrupted"),
];

/// The `format` field of results: always [`FORMAT`] when written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format;

/// Why a text is not a result file. The caller adds the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// Not JSON, or truncated JSON.
    #[error("it is not whole JSON: {0}")]
    NotJson(String),
    /// Another kind of file, recognized by its beginning.
    #[error("it is {0}, not a result; give the JSON file of a run")]
    OtherKind(&'static str),
    /// JSON, but not a result.
    #[error("it is not a result of a run: its \"format\" is not {FORMAT:?}; give the JSON file of a run")]
    Foreign,
    /// A result in another format version.
    #[error(
        "its format is {0:?}, and this program reads {FORMAT:?} and {FORMAT_1:?}; use the multiconn-report of the same version"
    )]
    OtherVersion(String),
    /// A result with an invalid field.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl RunResults {
    /// The results as indented JSON with a line feed at the end. Terminal control characters are escaped.
    ///
    /// # Panics
    ///
    /// Never: all fields can be represented in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("all fields can be represented in JSON");
        escape::json(&text) + "\n"
    }

    /// Same as [`RunResults::to_json`], in one line, for stdout.
    ///
    /// # Panics
    ///
    /// Never: all fields can be represented in JSON.
    #[must_use]
    pub fn to_json_line(&self) -> String {
        let text = serde_json::to_string(self).expect("all fields can be represented in JSON");
        escape::json(&text) + "\n"
    }

    /// Reads the output of [`RunResults::to_json`]. A byte order mark before it is ignored.
    ///
    /// # Errors
    ///
    /// The text is not JSON, not a result, of another version, or damaged.
    pub fn from_json(text: &str) -> Result<Self, ResultsError> {
        // Windows editors begin a file with a byte order mark (RFC 8259, section 8.1).
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let format =
            format_of(text).map_err(|error| recognize(text.as_bytes()).map_or(error, ResultsError::OtherKind))?;
        match format.as_deref() {
            Some(FORMAT | FORMAT_1) => {}
            Some(other) if other.starts_with("multiconn-run/") => {
                return Err(ResultsError::OtherVersion(other.to_owned()));
            }
            _ => return Err(ResultsError::Foreign),
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let mut results: Self = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| ResultsError::Damaged(error.to_string()))?;
        if format.as_deref() == Some(FORMAT_1) {
            results.upgrade_from_1();
        }
        bounds::check(&results).map_err(ResultsError::Damaged)?;
        Ok(results)
    }

    /// Version 1 counts wrong replies among the lost messages, and names some causes differently. Everything else
    /// differs in the names of fields only.
    fn upgrade_from_1(&mut self) {
        let messages = &mut self.messages;
        let wrong = bounds::total(WRONG_REPLIES_1.iter().filter_map(|cause| self.errors.get(*cause).copied()));
        messages.wrong = wrong.min(messages.lost.saturating_sub(messages.no_connection));
        messages.lost -= messages.wrong;
        let renamed = |cause: String| match cause.strip_prefix("receive_") {
            Some(errno) => format!("not_received_{errno}"),
            None => CAUSES_OF_1.iter().find(|(old, _)| *old == cause).map_or(cause, |(_, new)| (*new).to_owned()),
        };
        for (cause, count) in std::mem::take(&mut self.errors) {
            bounds::add(self.errors.entry(renamed(cause)).or_default(), count);
        }
    }
}

/// Recognizes other kinds of files by their beginning.
#[must_use]
pub fn recognize(bytes: &[u8]) -> Option<&'static str> {
    const MARKUP_BYTES: usize = 14;
    let start = bytes.trim_ascii_start();
    let first_line = start.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let tag = start[..start.len().min(MARKUP_BYTES)].to_ascii_lowercase();
    let has = |part: &str| memmem::find(first_line, part.as_bytes()).is_some();
    match start {
        [] => Some("an empty file"),
        [0x1f, 0x8b, ..] => Some("a gzip file (decompress it with gunzip)"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16 text (convert it with iconv -f UTF-16 -t UTF-8)"),
        [0x7f, b'E', b'L', b'F', ..] => Some("a program"),
        _ if tag.starts_with(b"<!doctype html") || tag.starts_with(b"<html") => Some("HTML"),
        [b'<', ..] => Some("XML"),
        _ if has("-----BEGIN ") && has("PRIVATE KEY") => Some("a PEM private key"),
        _ if has("-----BEGIN CERTIFICATE") => Some("a PEM certificate"),
        _ if has("-----BEGIN ") => Some("a PEM file"),
        _ if has("Percentile") && has("TotalCount") => Some("an hgrm file of percentiles"),
        _ if start.starts_with(b"#[") || has("\"StartTimestamp\"") => Some("an HdrHistogram log"),
        _ if has(" connection to ") || has(" connections to ") || start.starts_with(b"NOT VALID: ") => {
            Some("the printed report of a run")
        }
        _ => None,
    }
}

/// The `format` field of a JSON object; none for other JSON. Nothing else is kept: a tree of JSON values would take 32
/// times the size of the text.
fn format_of(text: &str) -> Result<Option<String>, ResultsError> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        format: Option<&'a RawValue>,
    }
    // The parser would accept an array as the fields of an object.
    if !text.trim_start().starts_with('{') {
        let not_json = |error: serde_json::Error| ResultsError::NotJson(error.to_string());
        return serde_json::from_str::<IgnoredAny>(text).map(|_| None).map_err(not_json);
    }
    match serde_json::from_str::<Head<'_>>(text) {
        Ok(head) => Ok(head.format.and_then(|format| serde_json::from_str(format.get()).ok())),
        Err(error) if error.is_data() => Ok(None),
        Err(error) => Err(ResultsError::NotJson(error.to_string())),
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(FORMAT)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if [FORMAT, FORMAT_1].contains(&text.as_str()) {
            Ok(Self)
        } else {
            Err(serde::de::Error::custom(format!("{text:?} is not {FORMAT:?}")))
        }
    }
}
