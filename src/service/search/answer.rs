//! Answers of the tutorial's search server: its table and texts.

use super::Response;
use crate::codec::message::{Content, MessageError};
use serde_json::Value;
use std::borrow::Cow;
use thiserror::Error;

/// Lookup table of the tutorial's server.
const TABLE: [(&str, &str); 3] = [
    ("morpheus", "Follow the white rabbit. 🐰"),
    ("ring", "In the caves beneath the Misty Mountains. 💍"),
    ("🐶", "🐾 Playing ball! 🏐"),
];

/// Prefix of an answer to a binary request.
const BINARY_PREFIX: &[u8] = b"First 10 bytes of request: ";

/// Number of bytes of a binary request that the answer repeats.
const ECHOED_BYTES: usize = 10;

/// Error in a search request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// It is not a valid message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its JSON is not an object.
    #[error("the request is {found}; expected an object with an action and a value")]
    NotAnObject {
        /// Kind of the JSON value.
        found: &'static str,
    },
    /// Its action or value has a type that cannot appear in an answer.
    #[error("the request's '{key}' is {found}; expected a string")]
    NotText {
        /// The key: `action` or `value`.
        key: &'static str,
        /// Kind of the JSON value.
        found: &'static str,
    },
}

/// Looks `value` up in the table.
#[must_use]
pub fn look_up(value: &str) -> Option<&'static str> {
    TABLE.iter().find(|(key, _)| *key == value).map(|(_, text)| *text)
}

impl Response {
    /// Answers like the tutorial's server.
    ///
    /// # Errors
    ///
    /// [`SearchError`] when the request is invalid.
    pub fn to(request: &Content<'_>) -> Result<Self, SearchError> {
        match request {
            Content::Json(request) => answer(request).map(Self::Result),
            Content::Binary(request) => {
                let echoed = &request[..request.len().min(ECHOED_BYTES)];
                Ok(Self::Bytes([BINARY_PREFIX, echoed].concat()))
            }
        }
    }
}

fn answer(request: &Value) -> Result<String, SearchError> {
    if !request.is_object() {
        return Err(SearchError::NotAnObject { found: kind(request) });
    }
    let action = python_text(request, "action")?;
    // As in Python, only the string "search" equals it.
    if request["action"] != "search" {
        return Ok(format!("Error: invalid action '{action}'."));
    }
    let value = python_text(request, "value")?;
    let found = request["value"].as_str().and_then(look_up);
    Ok(found.map_or_else(|| format!("No match for '{value}'."), str::to_owned))
}

/// The value of a key as Python formats it in a string. Arrays, objects and fractions are rejected: they cannot be
/// searched for, and they terminate the tutorial's server.
fn python_text<'a>(request: &'a Value, key: &'static str) -> Result<Cow<'a, str>, SearchError> {
    let value = &request[key];
    Ok(match value {
        Value::String(text) => text.into(),
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) if !number.is_f64() => number.to_string().into(),
        _ => return Err(SearchError::NotText { key, found: kind(value) }),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
