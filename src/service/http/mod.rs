//! Minimal HTTP/1.1 service: GET and HEAD of generated pages, for monitoring systems and load balancers.
//!
//! It is deliberately small. Requests have a bounded size. A request with a body closes the connection, because the
//! start of the next request would be a guess. One request is answered per call, so that a peer that sends many at once
//! waits for its turn like every other connection.

#[cfg(test)]
mod tests;

use super::{Context, Input, Output, Service, Wait};
use httparse::{EMPTY_HEADER, Header, Status};
use std::time::Instant;

/// Maximum size of a request in bytes: the usual limit of web servers for one line of it.
const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// Maximum number of header fields in a request.
const MAX_HEADERS: usize = 64;

/// Response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code (RFC 9110, section 15).
    pub status: u16,
    /// The media type of the body (RFC 9110, section 8.3).
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl HttpResponse {
    /// Creates a response of one line of plain text.
    #[must_use]
    pub fn text(status: u16, line: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{line}\n") }
    }
}

/// Routes of an HTTP service.
pub trait Routes {
    /// Returns the response for `path`, which begins with a slash and has no query.
    fn page(&mut self, path: &str, now: Instant) -> HttpResponse;

    /// Returns the current wall-clock time for the `Date` field (RFC 9110, section 6.6.1).
    fn date(&mut self) -> String;
}

/// Serves the pages of a [`Routes`] to one peer.
#[derive(Debug)]
pub struct HttpService<P> {
    routes: P,
    /// The encoded response. It may be larger than the output has room for, and is then written in parts.
    answer: Vec<u8>,
    written: usize,
    /// The connection closes after this response.
    closes: bool,
    /// When the last request was complete, or when its response was written.
    waiting_since: Option<Instant>,
}

impl<P: Routes> HttpService<P> {
    /// Creates a service with these routes.
    pub fn new(routes: P) -> Self {
        Self { routes, answer: Vec::new(), written: 0, closes: false, waiting_since: None }
    }

    /// Since when the connection waits for a complete request or for room for the response; `None` since it opened.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Whether a received request is not answered completely.
    pub fn is_answering(&self) -> bool {
        self.written < self.answer.len()
    }

    fn respond(&mut self, request: &Request<'_>, now: Instant) {
        let answer = match request.method {
            "GET" | "HEAD" => self.routes.page(request.path, now),
            _ => HttpResponse::text(405, "only GET and HEAD are supported"),
        };
        self.set_answer(&answer, request.method == "HEAD", request.closes);
    }

    fn set_answer(&mut self, answer: &HttpResponse, is_head: bool, closes: bool) {
        let HttpResponse { status, content_type, body } = answer;
        let (phrase, date, length) = (reason_phrase(*status), self.routes.date(), body.len());
        // Required by RFC 9110, section 15.5.6.
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let close = if closes { "Connection: close\r\n" } else { "" };
        let mut text = format!(
            "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\n{allow}{close}\r\n"
        );
        if !is_head {
            text.push_str(body);
        }
        (self.answer, self.written, self.closes) = (text.into_bytes(), 0, closes);
    }

    /// Writes as much as there is room for. Returns what to wait for, or `None` when the next request can be handled.
    fn write(&mut self, output: &mut Output<'_>) -> Option<Wait> {
        self.written += output.write(&self.answer[self.written..]);
        if self.is_answering() {
            return Some(Wait::Writable);
        }
        // A kept-alive connection holds no heap.
        (self.answer, self.written) = (Vec::new(), 0);
        self.closes.then_some(Wait::Close)
    }
}

impl<P: Routes> Service for HttpService<P> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        let was_answering = self.is_answering();
        if let Some(wait) = self.write(output) {
            return wait;
        }
        if was_answering {
            self.waiting_since = Some(now);
        }
        if input.is_empty() {
            return Wait::Input;
        }
        match parse(input.bytes()) {
            Parsed::Incomplete => return Wait::Input,
            Parsed::Invalid(answer) => self.set_answer(&answer, false, true),
            Parsed::Complete(request, length) => {
                self.respond(&request, now);
                input.consume(length);
            }
        }
        self.waiting_since = Some(now);
        let next = if input.is_empty() { Wait::Input } else { Wait::Deadline(now) };
        self.write(output).unwrap_or(next)
    }

    fn held_bytes(&self) -> usize {
        self.answer.capacity()
    }
}

/// The relevant parts of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    /// Whether the connection closes after the response.
    closes: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    Incomplete,
    /// A request and its length in bytes.
    Complete(Request<'a>, usize),
    Invalid(HttpResponse),
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Partial) if bytes.len() < MAX_REQUEST_BYTES => return Parsed::Incomplete,
        Ok(Status::Complete(length)) if length <= MAX_REQUEST_BYTES => length,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Invalid(HttpResponse::text(431, "the request is too large"));
        }
        Err(_) => return Parsed::Invalid(HttpResponse::text(400, "this is not an HTTP/1.1 request")),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Parsed::Invalid(HttpResponse::text(400, "this is not an HTTP/1.1 request"));
    };
    let hosts = header_values(request.headers, "host").count();
    if hosts > 1 || (hosts == 0 && version == 1) {
        // RFC 9112, section 3.2.
        return Parsed::Invalid(HttpResponse::text(400, "exactly one Host header is required"));
    }
    let asks_to_close = header_values(request.headers, "connection").any(|value| has_token(value, b"close"));
    let has_body = header_values(request.headers, "transfer-encoding").next().is_some()
        || header_values(request.headers, "content-length").any(|value| value.trim_ascii() != b"0");
    let closes = version == 0 || asks_to_close || has_body;
    Parsed::Complete(Request { method, path: path_of(target), closes }, length)
}

fn header_values<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Whether a list such as `keep-alive, Upgrade` contains `token` (RFC 9110, section 5.6.1).
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
}

/// The path of a request target without its query. The target may be an absolute URI (RFC 9112, section 3.2.2).
fn path_of(target: &str) -> &str {
    let scheme = "http://";
    let is_absolute = target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let path = if is_absolute {
        let rest = &target[scheme.len()..];
        rest.find('/').map_or("/", |slash| &rest[slash..])
    } else {
        target
    };
    path.split('?').next().unwrap_or(path)
}

/// Reason phrases of the status codes used here (RFC 9110, section 15, and RFC 6585).
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "",
    }
}
