//! Responses of an HTTP service.

use crate::units::format_http_date;
use std::io::Write;

/// Response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code (RFC 9110, section 15).
    pub status: u16,
    /// The media type of the body (RFC 9110, section 8.3).
    pub content_type: &'static str,
    /// Further header fields, besides those that the service adds: Date, Content-Type, Content-Length, Cache-Control
    /// and Connection.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Creates a response with this body.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, fields: Vec::new(), body: body.into() }
    }

    /// Creates a response of one line of plain text.
    #[must_use]
    pub fn text(status: u16, line: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{line}\n"))
    }

    /// Adds a header field. Line ends and other control characters in the value become spaces.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.replace(|character: char| character.is_control(), " ")));
        self
    }

    /// Appends the response as sent. `closes` says that the connection closes after it, `is_head` that the body is left
    /// out. The statuses 204 and 304 have no body (RFC 9112, section 6.3), and 204 has no length (RFC 9110, section 8.6).
    pub(super) fn encode(&self, unix_seconds: u64, is_head: bool, closes: bool, out: &mut Vec<u8>) {
        let Self { status, content_type, fields, body } = self;
        let (phrase, date) = (reason_phrase(*status), format_http_date(unix_seconds));
        // Writing to a vector cannot fail.
        let _ = write!(out, "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\nContent-Type: {content_type}\r\n");
        if *status != 204 {
            let _ = write!(out, "Content-Length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"Cache-Control: no-store\r\n");
        for (name, value) in fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        out.extend_from_slice(if closes { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        if !is_head && !matches!(status, 204 | 304) {
            out.extend_from_slice(body);
        }
    }
}

/// Reason phrases of common status codes (RFC 9110, section 15, and RFC 6585). Others have none, which is allowed.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
