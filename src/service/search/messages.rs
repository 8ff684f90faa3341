//! Requests and responses of the tutorial's application pair, as messages.

use crate::codec::message::{Content, Head, Message, MessageError, python_json};
use crate::python_repr::{BytesRepr, JsonRepr};
use serde_json::json;
use std::fmt;

/// Request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Searches for a value.
    Search(String),
    /// Applies another action, which the server defines, to a value.
    Action {
        /// Name of the action.
        action: String,
        /// Value to apply it to.
        value: String,
    },
    /// Sends these bytes.
    Binary(Vec<u8>),
}

impl Request {
    /// Creates the binary request of the tutorial's client: the action `binary` followed by the value.
    #[must_use]
    pub fn binary(value: &str) -> Self {
        Self::Binary(format!("binary{value}").into_bytes())
    }

    /// Creates the request for `action` with `value`: a binary request for `binary`, a JSON request for any other action.
    #[must_use]
    pub fn of(action: &str, value: &str) -> Self {
        match action {
            "search" => Self::Search(value.to_owned()),
            "binary" => Self::binary(value),
            _ => Self::Action { action: action.to_owned(), value: value.to_owned() },
        }
    }

    /// Maximum number of its bytes that a response may repeat, in UTF-8.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Search(value) => value.len(),
            Self::Action { action, value } => action.len().saturating_add(value.len()),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Encodes the request as a message; `keeps_alive` announces further messages in its header.
    #[must_use]
    pub fn message(&self, keeps_alive: bool) -> Vec<u8> {
        let message = match self {
            Self::Search(value) => json_message("search", value, keeps_alive),
            Self::Action { action, value } => json_message(action, value, keeps_alive),
            Self::Binary(bytes) => {
                let content_type = "binary/custom-client-binary-type";
                Head { content_type, content_encoding: "binary", keeps_alive }.message(bytes)
            }
        };
        message.unwrap_or_else(|error| unreachable!("the header is a short one: {error}"))
    }
}

fn json_message(action: &str, value: &str, keeps_alive: bool) -> Result<Vec<u8>, MessageError> {
    let content = python_json(&[("action", json!(action)), ("value", json!(value))]);
    Head { keeps_alive, ..Head::json() }.message(content.as_bytes())
}

/// Response of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Response {
    /// To a search request.
    Result(String),
    /// To a binary request.
    Bytes(Vec<u8>),
}

impl Response {
    /// Encodes the response as a message.
    ///
    /// # Errors
    ///
    /// None for any response: its header is short.
    pub(super) fn message(&self) -> Result<Vec<u8>, MessageError> {
        match self {
            Self::Result(text) => Head::json().message(python_json(&[("result", json!(text))]).as_bytes()),
            Self::Bytes(bytes) => {
                let content_type = "binary/custom-server-binary-type";
                Head { content_type, content_encoding: "binary", keeps_alive: false }.message(bytes)
            }
        }
    }

    /// The content as text: JSON as it is sent, bytes as Python shows them.
    #[must_use]
    pub fn content(&self) -> String {
        match self {
            Self::Result(text) => python_json(&[("result", json!(text))]),
            Self::Bytes(bytes) => BytesRepr(bytes).to_string(),
        }
    }

    /// The result alone: text as is, bytes as Python shows them.
    #[must_use]
    pub fn result(&self) -> String {
        match self {
            Self::Result(text) => text.clone(),
            Self::Bytes(bytes) => BytesRepr(bytes).to_string(),
        }
    }

    /// The content as Python shows it: `{'result': '…'}`, or bytes.
    #[must_use]
    pub fn in_python(&self) -> String {
        match self {
            Self::Result(text) => JsonRepr(&json!({ "result": text })).to_string(),
            Self::Bytes(bytes) => BytesRepr(bytes).to_string(),
        }
    }

    /// Decodes a response from `message`.
    ///
    /// # Errors
    ///
    /// A description of what is wrong with it.
    pub fn read(message: &Message<'_>) -> Result<Self, String> {
        match message.content().map_err(|error| error.to_string())? {
            Content::Json(value) => match value.get("result").and_then(|result| result.as_str()) {
                Some(text) => Ok(Self::Result(text.to_owned())),
                None => Err("the reply is not an object with a string 'result'".to_owned()),
            },
            Content::Binary(bytes) => Ok(Self::Bytes(bytes.to_vec())),
        }
    }
}

/// Formats the response like the tutorial's client.
impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(text) => write!(out, "Got result: {text}"),
            Self::Bytes(bytes) => write!(out, "Got response: {}", BytesRepr(bytes)),
        }
    }
}
