//! Pages over HTTP/1.1: what a monitoring system or a load balancer asks a server about itself.
//!
//! Deliberately small: GET and HEAD of pages that are made when they are asked for. Requests have a bounded size, and
//! what comes behind a body is not guessed at: the connection closes. One request is answered per call, so that a peer
//! that sends many at once waits for its turn like everybody else.

#[cfg(test)]
mod tests;

use super::{Input, Output, Service, Wait};
use httparse::{EMPTY_HEADER, Header, Status};
use std::time::Instant;

/// The most bytes a request may have, in bytes: what common web servers allow for a line of one.
const REQUEST_BYTES: usize = 8 * 1024;

/// The most header fields a request may have.
const HEADERS: usize = 64;

/// What is answered to a request.
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
    /// A line of plain text.
    #[must_use]
    pub fn text(status: u16, line: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{line}\n") }
    }
}

/// The pages of a site.
pub trait Routes {
    /// The page at `path`, which begins with a slash and has no query.
    fn page(&mut self, path: &str, now: Instant) -> HttpResponse;

    /// The time of day for the `Date` field (RFC 9110, section 6.6.1), by the wall clock at the moment of the response.
    fn date(&mut self) -> String;
}

/// Serves the pages of a [`Routes`] to one peer.
#[derive(Debug)]
pub struct HttpService<P> {
    site: P,
    /// What is still to be written of the answer, which may be longer than the output has room for.
    answer: Vec<u8>,
    written: usize,
    /// Nothing is answered after this.
    closes: bool,
    /// When the last request was complete, or the answer to it written.
    since: Option<Instant>,
}

impl<P: Routes> HttpService<P> {
    /// Serves the pages of `site`.
    pub fn new(site: P) -> Self {
        Self { site, answer: Vec::new(), written: 0, closes: false, since: None }
    }

    /// Since when a whole request is awaited, or room for the answer; none when that is since the connection opened.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether a request was received whose answer is not written yet.
    pub fn is_answering(&self) -> bool {
        self.written < self.answer.len()
    }

    fn respond(&mut self, request: &Request<'_>, now: Instant) {
        let answer = match request.method {
            "GET" | "HEAD" => self.site.page(request.path, now),
            _ => HttpResponse::text(405, "only GET and HEAD are answered here"),
        };
        self.put(&answer, request.method == "HEAD", request.closes);
    }

    fn put(&mut self, answer: &HttpResponse, is_head: bool, closes: bool) {
        let HttpResponse { status, content_type, body } = answer;
        let (phrase, date, length) = (reason_phrase(*status), self.site.date(), body.len());
        // RFC 9110, section 15.5.6, demands it.
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

    /// Writes what there is room for, and says what that leaves to wait for.
    fn write(&mut self, output: &mut Output<'_>) -> Option<Wait> {
        self.written += output.write(&self.answer[self.written..]);
        if self.is_answering() {
            return Some(Wait::Writable);
        }
        // A connection that is kept alive holds no heap.
        (self.answer, self.written) = (Vec::new(), 0);
        self.closes.then_some(Wait::Close)
    }
}

impl<P: Routes> Service for HttpService<P> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        let was_answering = self.is_answering();
        if let Some(wait) = self.write(output) {
            return wait;
        }
        if was_answering {
            self.since = Some(now);
        }
        if input.is_empty() {
            return Wait::Input;
        }
        match parse(input.bytes()) {
            Parsed::Incomplete => return Wait::Input,
            Parsed::Wrong(answer) => self.put(&answer, false, true),
            Parsed::Complete(request, length) => {
                self.respond(&request, now);
                input.consume(length);
            }
        }
        self.since = Some(now);
        let next = if input.is_empty() { Wait::Input } else { Wait::Deadline(now) };
        self.write(output).unwrap_or(next)
    }

    fn held_bytes(&self) -> usize {
        self.answer.capacity()
    }
}

/// What matters of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    /// The connection closes behind the answer.
    closes: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    Incomplete,
    /// A request, and how long it is.
    Complete(Request<'a>, usize),
    Wrong(HttpResponse),
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Partial) if bytes.len() < REQUEST_BYTES => return Parsed::Incomplete,
        Ok(Status::Complete(length)) if length <= REQUEST_BYTES => length,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Wrong(HttpResponse::text(431, "the request is too large"));
        }
        Err(_) => return Parsed::Wrong(HttpResponse::text(400, "this is not an HTTP/1.1 request")),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Parsed::Wrong(HttpResponse::text(400, "this is not an HTTP/1.1 request"));
    };
    let hosts = named(request.headers, "host").count();
    if hosts > 1 || (hosts == 0 && version == 1) {
        // RFC 9112, section 3.2.
        return Parsed::Wrong(HttpResponse::text(400, "a request names one host"));
    }
    let asks_to_close = named(request.headers, "connection").any(|value| has_token(value, b"close"));
    let has_body = named(request.headers, "transfer-encoding").next().is_some()
        || named(request.headers, "content-length").any(|value| value.trim_ascii() != b"0");
    let closes = version == 0 || asks_to_close || has_body;
    Parsed::Complete(Request { method, path: path_of(target), closes }, length)
}

fn named<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Whether a list such as `keep-alive, Upgrade` has `token` (RFC 9110, section 5.6.1).
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
}

/// The path of a request target, which may be a whole URI (RFC 9112, section 3.2.2), without its query.
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

/// The words for the status codes that occur here (RFC 9110, section 15, and RFC 6585).
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
