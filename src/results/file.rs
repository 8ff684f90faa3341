//! A record as the text of a file, and back. What is not a record of this version is refused in words.

use super::{RunResults, bounds};
use crate::escape;
use memchr::memmem;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// What the file says it is. The number changes when an older reader would misunderstand a newer file.
pub const FORMAT: &str = "multiconn-run/1";

/// The `format` field of a record: always [`FORMAT`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format;

/// Why a text is no record. The caller adds the name of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// Not even JSON, or cut off.
    #[error("it is not whole JSON: {0}")]
    NotJson(String),
    /// Something else that is known by how it begins.
    #[error("it is {0}, not a result; give a file that multiconn-client --json wrote")]
    OtherKind(&'static str),
    /// JSON of something else.
    #[error(
        "it is not the record of a run (its \"format\" is not {FORMAT:?}); give a file that multiconn-client --json wrote"
    )]
    Foreign,
    /// A record of another version.
    #[error("its format is {0:?}, and this program reads {FORMAT:?}; use the multiconn-report of the same version")]
    OtherVersion(String),
    /// A record that something is wrong with.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl RunResults {
    /// The record as JSON, on several lines, with a line feed at the end. Characters that a terminal obeys are escaped.
    ///
    /// # Panics
    ///
    /// Never: everything in a record has a form in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("every part of a record has a form in JSON");
        escape::json(&text) + "\n"
    }

    /// Reads what [`RunResults::to_json`] wrote. A byte order mark before it is ignored.
    ///
    /// # Errors
    ///
    /// The text is not JSON, is not a record, is one of another version, or is damaged.
    pub fn from_json(text: &str) -> Result<Self, ResultsError> {
        // Editors of Windows begin a file with a byte order mark (RFC 8259, section 8.1).
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let format =
            format_of(text).map_err(|error| recognize(text.as_bytes()).map_or(error, ResultsError::OtherKind))?;
        match format.as_deref() {
            Some(FORMAT) => {}
            Some(other) if other.starts_with("multiconn-run/") => {
                return Err(ResultsError::OtherVersion(other.to_owned()));
            }
            _ => return Err(ResultsError::Foreign),
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let record: Self = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| ResultsError::Damaged(error.to_string()))?;
        bounds::check(&record).map_err(ResultsError::Damaged)?;
        Ok(record)
    }
}

/// What a file is that is no record, if its beginning shows that.
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
        _ if has("Percentile") && has("TotalCount") => Some("an hgrm file, as --hgrm writes"),
        _ if start.starts_with(b"#[") || has("\"StartTimestamp\"") => Some("an HdrHistogram log, as --hdr-log writes"),
        _ if has(" connection to ") || has(" connections to ") || start.starts_with(b"NOT VALID: ") => {
            Some("the printed report of a run")
        }
        _ => None,
    }
}

/// What a JSON object says its format is; none for any other JSON. Nothing else of it is kept: as a tree of values it would take 32 times its size.
fn format_of(text: &str) -> Result<Option<String>, ResultsError> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        format: Option<&'a RawValue>,
    }
    // The parser would take an array for the fields of an object.
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
        if text == FORMAT { Ok(Self) } else { Err(serde::de::Error::custom(format!("{text:?} is not {FORMAT:?}"))) }
    }
}
