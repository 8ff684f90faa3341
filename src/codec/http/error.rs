//! Errors of an HTTP message.

use crate::units::format_count;
use thiserror::Error;

/// Reason why the bytes of a peer are no HTTP/1.1 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The head is malformed.
    #[error("the head is malformed: {0}")]
    Head(&'static str),
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// The head is too long.
    #[error("the head is longer than {} bytes", format_count((*.max_bytes).into()))]
    HeadTooLarge {
        /// Maximum size of a head in bytes.
        max_bytes: u32,
    },
    /// The head has too many fields.
    #[error("the head has too many fields")]
    TooManyFields,
    /// A request of HTTP/1.1 does not have exactly one Host field (RFC 9112, section 3.2).
    #[error("a request needs exactly one Host field, such as Host: localhost")]
    Host,
    /// A Content-Length is not a number, or there are several that differ.
    #[error("Content-Length is not one number of bytes")]
    ContentLength,
    /// A request has both a Content-Length and a Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding are given")]
    TwoLengths,
    /// A transfer coding is not supported, or not in a valid order.
    #[error("the transfer coding is not supported; only chunked is")]
    TransferCoding,
    /// A chunk is malformed, or its size or extension is too long.
    #[error("a chunk of the body is malformed")]
    Chunk,
    /// The trailer section is malformed or too long.
    #[error("the trailer section is malformed or too long")]
    Trailer,
    /// The input ended within the message.
    #[error("the input ended within the message")]
    Truncated,
}

impl HttpError {
    /// The status with which a server refuses such a request (RFC 9110, section 15, and RFC 6585).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge { .. } | Self::TooManyFields => 431,
            Self::TransferCoding => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}

impl From<httparse::Error> for HttpError {
    fn from(error: httparse::Error) -> Self {
        use httparse::Error;
        match error {
            Error::HeaderName => Self::Head("invalid field name"),
            Error::HeaderValue => Self::Head("invalid field value"),
            Error::NewLine => Self::Head("invalid line end"),
            Error::Status => Self::Head("invalid status"),
            Error::Token => Self::Head("invalid first line"),
            Error::TooManyHeaders => Self::TooManyFields,
            Error::Version => Self::Version,
        }
    }
}
