//! HTTP/1.1 service: answers the requests of a connection one after the other, with keep-alive and pipelining.
//!
//! Heads and bodies have a bounded size. The work of one call is bounded as well: a peer that sends many requests at once
//! waits for its turn like every other connection.

mod response;
#[cfg(test)]
mod tests;

pub use response::HttpResponse;

use super::{Context, Input, Output, PendingOutput, Service, Wait, WallClock};
use crate::codec::http::{BodyDecoder, HeadDecoder, HttpError, RequestHead};
use std::time::Instant;

/// Maximum size of the head of a request in bytes: the usual limit of web servers for one line of it.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Size of the responses that are made in one call, in bytes, after which the others wait for the next tick. A metrics
/// page alone is larger: more than one per call delay other clients too much. Bodies count for `HEAD` too, because they
/// cost the same work.
const CALL_BYTES: usize = 4 * 1024;

/// Size that a response without a body counts for.
const HEAD_BYTES: usize = 256;

/// Tells a client that waits for it to send the body (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpRequest<'a> {
    /// Method, target and header fields.
    pub head: RequestHead<'a>,
    /// The whole body, without chunks; empty if [bodies are not read](HttpService::with_bodies).
    pub body: &'a [u8],
}

/// Answers HTTP requests. Implemented by every closure and function of the form `|request, context| …`.
pub trait Routes {
    /// Returns the response to a request. Called once per request, in order. `HEAD` is answered as `GET` would be; the
    /// body is left out when the response is sent.
    fn respond(&mut self, request: &HttpRequest<'_>, context: &mut Context<'_>) -> HttpResponse;
}

impl<F: FnMut(&HttpRequest<'_>, &mut Context<'_>) -> HttpResponse> Routes for F {
    fn respond(&mut self, request: &HttpRequest<'_>, context: &mut Context<'_>) -> HttpResponse {
        self(request, context)
    }
}

/// Serves HTTP/1.1 to one peer.
///
/// Malformed and oversized requests are refused with their status (400, 413, 431, 501, 505), after which the connection
/// closes. A head may have 8 KiB; for bodies see [`with_bodies`](Self::with_bodies). HTTP/1.0 is served as well.
///
/// ```
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::{Context, HttpRequest, HttpResponse, HttpService};
/// use multiconn::socket::Endpoint;
/// use std::time::{SystemTime, UNIX_EPOCH};
///
/// fn respond(request: &HttpRequest<'_>, _context: &mut Context<'_>) -> HttpResponse {
///     match request.head.path() {
///         "/" => HttpResponse::text(200, "hello"),
///         _ => HttpResponse::text(404, "there is no such page"),
///     }
/// }
///
/// let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
/// let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
/// let server = Server::bind(config, move |_| HttpService::new(clock, respond))?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
#[derive(Debug)]
pub struct HttpService<R> {
    routes: R,
    clock: WallClock,
    max_body_bytes: usize,
    decoder: HeadDecoder,
    /// A request whose body is incomplete. Boxed, so that an idle connection owns no heap.
    partial: Option<Box<PartialRequest>>,
    /// The encoded response. It may be larger than the output has room for, and is then written in parts.
    response: PendingOutput,
    /// Bytes of the responses that were made in this call.
    made_bytes: usize,
    /// The connection closes after this response.
    closes: bool,
    /// When the last request was complete, or when its response was written.
    waiting_since: Option<Instant>,
}

/// Head of a request, and its body as far as it has arrived.
#[derive(Debug)]
struct PartialRequest {
    head: Vec<u8>,
    body: Vec<u8>,
    decoder: BodyDecoder,
}

impl<R: Routes> HttpService<R> {
    /// Creates a service with these routes. `clock` is read for the `Date` of each response (RFC 9110, section 6.6.1).
    pub fn new(clock: WallClock, routes: R) -> Self {
        Self {
            routes,
            clock,
            max_body_bytes: 0,
            decoder: HeadDecoder::new(MAX_HEAD_BYTES),
            partial: None,
            response: PendingOutput::default(),
            made_bytes: 0,
            closes: false,
            waiting_since: None,
        }
    }

    /// Reads bodies of requests, of at most `max_bytes` each. Otherwise a request with a body is answered without it,
    /// and the connection closes.
    #[must_use]
    pub fn with_bodies(self, max_bytes: usize) -> Self {
        Self { max_body_bytes: max_bytes, ..self }
    }

    /// Since when the connection waits for a complete request or for room for the response; `None` since it opened.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Whether a received request is not answered completely.
    pub fn is_answering(&self) -> bool {
        !self.response.is_empty()
    }

    /// Reads from the input up to the end of one request, and prepares its response. Returns whether there is one.
    fn read(&mut self, input: &mut Input<'_>, context: &mut Context<'_>) -> bool {
        let result =
            if self.partial.is_some() { self.read_body(input, context) } else { self.read_head(input, context) };
        result.unwrap_or_else(|error| {
            self.refuse(error.status(), &error.to_string());
            true
        })
    }

    fn read_head(&mut self, input: &mut Input<'_>, context: &mut Context<'_>) -> Result<bool, HttpError> {
        let Some(head) = self.decoder.request(input.bytes())? else {
            if input.has_ended() {
                // The decoder does not parse each piece of a head that arrives slowly. An error in it is found now.
                HeadDecoder::new(MAX_HEAD_BYTES).request(input.bytes())?;
            }
            return Ok(false);
        };
        let (size, body) = (head.size, head.body);
        let has_body = !body.is_complete();
        if has_body && self.max_body_bytes > 0 {
            let (expects_continue, head) = (head.expects_continue, input.bytes()[..size].to_vec());
            input.consume(size);
            self.partial = Some(Box::new(PartialRequest { head, body: Vec::new(), decoder: body }));
            if expects_continue && input.is_empty() {
                self.response.push_with(|bytes| bytes.extend_from_slice(CONTINUE));
            }
            return self.read_body(input, context);
        }
        self.respond(&HttpRequest { head, body: &[] }, has_body, context);
        input.consume(size);
        Ok(true)
    }

    fn read_body(&mut self, input: &mut Input<'_>, context: &mut Context<'_>) -> Result<bool, HttpError> {
        let Some(mut partial) = self.partial.take() else { return Ok(false) };
        while !partial.decoder.is_complete() {
            let part = partial.decoder.decode(input.bytes(), input.has_ended())?;
            let length = partial.body.len() as u64 + part.data.len() as u64;
            if length.saturating_add(partial.decoder.remaining().unwrap_or(0)) > self.max_body_bytes as u64 {
                self.refuse(413, "the body is too large");
                return Ok(true);
            }
            partial.body.extend_from_slice(&input.bytes()[part.data]);
            input.consume(part.size);
            if part.size == 0 {
                self.partial = Some(partial);
                return Ok(false);
            }
        }
        // The head was decoded before, and cannot fail.
        let Some(head) = HeadDecoder::new(partial.head.len()).request(&partial.head)? else { return Ok(false) };
        self.respond(&HttpRequest { head, body: &partial.body }, false, context);
        Ok(true)
    }

    fn respond(&mut self, request: &HttpRequest<'_>, has_unread_body: bool, context: &mut Context<'_>) {
        context.count_message();
        let response = self.routes.respond(request, context);
        let closes = has_unread_body || !request.head.is_persistent;
        self.set_response(&response, request.head.method == "HEAD", closes);
    }

    /// Refuses a request; the start of the next one is unknown.
    fn refuse(&mut self, status: u16, why: &str) {
        self.set_response(&HttpResponse::text(status, why), false, true);
    }

    fn set_response(&mut self, response: &HttpResponse, is_head: bool, closes: bool) {
        let unix_seconds = (self.clock)().as_secs();
        self.made_bytes += HEAD_BYTES + response.body.len();
        self.response.push_with(|bytes| response.encode(unix_seconds, is_head, closes, bytes));
        self.closes = closes;
    }

    /// Writes as much as there is room for. Returns what to wait for, or `None` when the next request can be handled.
    fn write(&mut self, output: &mut Output<'_>) -> Option<Wait> {
        if !self.response.flush(output) {
            return Some(Wait::Writable);
        }
        self.closes.then_some(Wait::Close)
    }
}

impl<R: Routes> Service for HttpService<R> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        let was_answering = self.is_answering();
        if let Some(wait) = self.write(output) {
            return wait;
        }
        if was_answering {
            self.waiting_since = Some(now);
        }
        self.made_bytes = 0;
        while !input.is_empty() || self.partial.is_some() {
            if self.made_bytes >= CALL_BYTES {
                return Wait::Deadline(now);
            }
            if !self.read(input, context) {
                return self.write(output).unwrap_or(Wait::Input);
            }
            self.waiting_since = Some(now);
            if let Some(wait) = self.write(output) {
                return wait;
            }
        }
        Wait::Input
    }

    fn held_bytes(&self) -> usize {
        let partial = self.partial.as_deref();
        let partial =
            partial.map(|partial| size_of::<PartialRequest>() + partial.head.capacity() + partial.body.capacity());
        self.response.held_bytes() + partial.unwrap_or(0)
    }
}
