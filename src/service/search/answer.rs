//! What the tutorial's server answers: its table, and its words.

use super::Response;
use crate::codec::message::{Content, MessageError};
use serde_json::Value;
use std::borrow::Cow;
use thiserror::Error;

/// The table of the tutorial's server.
const TABLE: [(&str, &str); 3] = [
    ("morpheus", "Follow the white rabbit. 🐰"),
    ("ring", "In the caves beneath the Misty Mountains. 💍"),
    ("🐶", "🐾 Playing ball! 🏐"),
];

/// What a binary answer begins with.
const FIRST_BYTES: &[u8] = b"First 10 bytes of request: ";

/// How much of a binary request is sent back, in bytes.
const SHOWN_BYTES: usize = 10;

/// Why a message is no request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SearchError {
    /// It is not even a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its JSON is something else than an object.
    #[error("the request is {found}; an object with an action and a value is wanted")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// Its action or its value is nothing that could be named in an answer.
    #[error("the request's '{key}' is {found}; a text is wanted")]
    NotText {
        /// Which of the two.
        key: &'static str,
        /// What it is.
        found: &'static str,
    },
}

/// What the table says about `value`.
#[must_use]
pub fn look_up(value: &str) -> Option<&'static str> {
    TABLE.iter().find(|(key, _)| *key == value).map(|(_, text)| *text)
}

impl Response {
    /// What the tutorial's server answers.
    ///
    /// # Errors
    ///
    /// [`SearchError`] when it is no request.
    pub fn to(request: &Content<'_>) -> Result<Self, SearchError> {
        match request {
            Content::Json(request) => answer(request).map(Self::Result),
            Content::Binary(request) => {
                let shown = &request[..request.len().min(SHOWN_BYTES)];
                Ok(Self::Bytes([FIRST_BYTES, shown].concat()))
            }
        }
    }
}

fn answer(request: &Value) -> Result<String, SearchError> {
    if !request.is_object() {
        return Err(SearchError::NotAnObject { found: kind(request) });
    }
    let action = python_text(request, "action")?;
    // In Python the text "search" alone equals it.
    if request["action"] != "search" {
        return Ok(format!("Error: invalid action '{action}'."));
    }
    let value = python_text(request, "value")?;
    let found = request["value"].as_str().and_then(look_up);
    Ok(found.map_or_else(|| format!("No match for '{value}'."), str::to_owned))
}

/// The value of a key as Python puts it into a text. What has parts is refused: it is no value to search for, and ends the
/// tutorial's server.
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
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
