//! The requests and the answers of the application pair, as messages.

use crate::codec::message::{Content, Head, Message, MessageError, python_json};
use crate::python_repr::{BytesRepr, JsonRepr};
use serde_json::json;
use std::fmt;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Search for a value.
    Search(String),
    /// Do something else with a value, which is a matter of the server.
    Action {
        /// What to do.
        action: String,
        /// With which value.
        value: String,
    },
    /// Send these bytes.
    Binary(Vec<u8>),
}

impl Request {
    /// The binary request of the tutorial's client: the action, which is its name, followed by the value.
    #[must_use]
    pub fn binary(value: &str) -> Self {
        Self::Binary(format!("binary{value}").into_bytes())
    }

    /// The request for `action` with `value`: `binary` is a binary one, and any other action goes out in JSON.
    #[must_use]
    pub fn of(action: &str, value: &str) -> Self {
        match action {
            "search" => Self::Search(value.to_owned()),
            "binary" => Self::binary(value),
            _ => Self::Action { action: action.to_owned(), value: value.to_owned() },
        }
    }

    /// The most bytes of it that an answer may repeat, in UTF-8.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Search(value) => value.len(),
            Self::Action { action, value } => action.len().saturating_add(value.len()),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// The message of it; `keeps_alive` says in its header that more will follow.
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

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Response {
    /// To a search.
    Result(String),
    /// To a binary request.
    Bytes(Vec<u8>),
}

impl Response {
    /// The message of it.
    ///
    /// # Errors
    ///
    /// None that a response can have: its header is a short one.
    pub(super) fn message(&self) -> Result<Vec<u8>, MessageError> {
        match self {
            Self::Result(text) => Head::json().message(python_json(&[("result", json!(text))]).as_bytes()),
            Self::Bytes(bytes) => {
                let content_type = "binary/custom-server-binary-type";
                Head { content_type, content_encoding: "binary", keeps_alive: false }.message(bytes)
            }
        }
    }

    /// The content, for people: JSON as it is sent, bytes as Python shows them.
    #[must_use]
    pub fn content(&self) -> String {
        match self {
            Self::Result(text) => python_json(&[("result", json!(text))]),
            Self::Bytes(bytes) => BytesRepr(bytes).to_string(),
        }
    }

    /// The result alone: the text as it is, bytes as Python shows them.
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

    /// The answer that came as `message`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn read(message: &Message<'_>) -> Result<Self, String> {
        match message.content().map_err(|error| error.to_string())? {
            Content::Json(value) => match value.get("result").and_then(|result| result.as_str()) {
                Some(text) => Ok(Self::Result(text.to_owned())),
                None => Err("the answer is no object with a text as its 'result'".to_owned()),
            },
            Content::Binary(bytes) => Ok(Self::Bytes(bytes.to_vec())),
        }
    }
}

/// In the words of the tutorial's client.
impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(text) => write!(out, "Got result: {text}"),
            Self::Bytes(bytes) => write!(out, "Got response: {}", BytesRepr(bytes)),
        }
    }
}
