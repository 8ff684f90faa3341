//! A record as the text of a file, and back. What is not a record of this version is refused in words.

use super::Record;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What the file says it is. The number changes when an older reader would misunderstand a newer file.
pub const FORMAT: &str = "multiconn-run/1";

/// The `format` field of a record: always [`FORMAT`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format;

/// Why a text is no record. The caller adds the name of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not even JSON, or cut off.
    #[error("it is not whole JSON: {0}")]
    NotJson(String),
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

impl Record {
    /// The record as JSON, on several lines, with a line feed at the end.
    ///
    /// # Panics
    ///
    /// Never: everything in a record has a form in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("every part of a record has a form in JSON");
        text.push('\n');
        text
    }

    /// Reads what [`Record::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// The text is not JSON, is not a record, is one of another version, or is damaged.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        let head: Value = serde_json::from_str(text).map_err(|error| RecordError::NotJson(error.to_string()))?;
        match head.get("format").and_then(Value::as_str) {
            Some(FORMAT) => {}
            Some(other) if other.starts_with("multiconn-run/") => {
                return Err(RecordError::OtherVersion(other.to_owned()));
            }
            _ => return Err(RecordError::Foreign),
        }
        // From the text again, not from `head`: the error then tells the line.
        serde_json::from_str(text).map_err(|error| RecordError::Damaged(error.to_string()))
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
