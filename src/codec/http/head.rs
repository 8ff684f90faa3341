//! Heads of requests and responses: the first line and the header fields.

use super::body::BodyDecoder;
use super::error::HttpError;
use super::fields::{FramingFields, MAX_FIELDS};
use httparse::{Header, ParserConfig, Request, Response, Status};
use memchr::memchr;
use std::mem::MaybeUninit;

/// Finds and parses the heads of one direction of a connection.
///
/// ```
/// use multiconn::codec::http::HeadDecoder;
///
/// let mut decoder = HeadDecoder::new(8192);
/// assert!(decoder.request(b"GET /page HTTP/1.1\r\nHo")?.is_none());
/// let bytes = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next";
/// let head = decoder.request(bytes)?.expect("a whole head");
/// assert_eq!((head.method, head.target, head.size), ("GET", "/page", bytes.len() - "GET /next".len()));
/// assert_eq!(head.field("host").next(), Some(&b"localhost"[..]));
/// # Ok::<(), multiconn::codec::http::HttpError>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeadDecoder {
    max_bytes: u32,
    /// Number of bytes that were parsed without finding the end of the head.
    parsed: u32,
    /// Number of bytes that contain no end of the head.
    searched: u32,
}

/// Head of a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method, such as `GET` (RFC 9110, section 9).
    pub method: &'a str,
    /// The request target, such as `/page?query` (RFC 9112, section 3.2).
    pub target: &'a str,
    /// Minor version: 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// Size of the head in bytes, with the empty line after it: the number of bytes to consume.
    pub size: usize,
    /// The body that follows.
    pub body: BodyDecoder,
    /// Whether the client keeps the connection open after the response (RFC 9112, section 9.3).
    pub is_persistent: bool,
    /// Whether the client waits for status 100 before it sends the body (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    bytes: &'a [u8],
}

/// Head of a response.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status code, from 100 to 999 (RFC 9110, section 15).
    pub status: u16,
    /// Minor version: 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// Size of the head in bytes, with the empty line after it: the number of bytes to consume.
    pub size: usize,
    /// The body that follows.
    pub body: BodyDecoder,
    /// Whether the server keeps the connection open after the response (RFC 9112, section 9.3).
    pub is_persistent: bool,
    bytes: &'a [u8],
}

impl HeadDecoder {
    /// Creates a decoder for heads of at most `max_bytes` each. That should not exceed the input buffer of a
    /// connection: a head that does not fit there can never complete.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX), parsed: 0, searched: 0 }
    }

    /// Returns the head of a request at the start of `bytes`; `None` when more bytes are needed. Until then each call
    /// must pass the same bytes again, with those that followed.
    ///
    /// # Errors
    ///
    /// [`HttpError`] when the bytes can never form a request, or its length is ambiguous. The stream is unusable from
    /// then on.
    pub fn request<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<RequestHead<'a>>, HttpError> {
        let Some(bytes) = self.worth_parsing(bytes) else { return Ok(None) };
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = Request::new(&mut []);
        let Status::Complete(size) = request.parse_with_uninit_headers(bytes, &mut fields)? else {
            return self.incomplete(bytes);
        };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(HttpError::Head("invalid first line"));
        };
        let framing = FramingFields::of(request.headers)?;
        if framing.hosts > 1 || framing.hosts == 0 && minor > 0 {
            return Err(HttpError::Host);
        }
        self.restart();
        Ok(Some(RequestHead {
            method,
            target,
            minor_version: minor,
            size,
            body: framing.request_body(minor)?,
            is_persistent: framing.is_persistent(minor),
            expects_continue: framing.expects_continue && minor > 0,
            bytes: &bytes[..size],
        }))
    }

    /// Returns the head of a response at the start of `bytes`, as [`request`](Self::request) does. `is_head` says that
    /// the request was `HEAD`, whose response has no body. A response to `CONNECT` is not covered.
    ///
    /// # Errors
    ///
    /// [`HttpError`] when the bytes can never form a response.
    pub fn response<'a>(&mut self, bytes: &'a [u8], is_head: bool) -> Result<Option<ResponseHead<'a>>, HttpError> {
        let Some(bytes) = self.worth_parsing(bytes) else { return Ok(None) };
        let mut fields: [MaybeUninit<Header<'_>>; MAX_FIELDS] = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = Response::new(&mut []);
        let parser = ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut response, bytes, &mut fields)?;
        let Status::Complete(size) = parsed else { return self.incomplete(bytes) };
        let (Some(status), Some(minor)) = (response.code, response.version) else {
            return Err(HttpError::Head("invalid status"));
        };
        if status < 100 {
            return Err(HttpError::Head("invalid status"));
        }
        let framing = FramingFields::of(response.headers)?;
        let has_body = !is_head && status >= 200 && status != 204 && status != 304;
        let body = if has_body { framing.response_body() } else { BodyDecoder::of_length(0) };
        self.restart();
        Ok(Some(ResponseHead {
            status,
            minor_version: minor,
            size,
            body,
            // After 101 the connection has another protocol (RFC 9110, section 15.2.2).
            is_persistent: framing.is_persistent(minor) && !body.is_until_close() && status != 101,
            bytes: &bytes[..size],
        }))
    }

    /// The bytes to parse, if that may find more than the last time. It may with the first bytes and with the end of the
    /// head; and with twice as many bytes as before, which may show an error.
    fn worth_parsing<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let max_bytes = self.max_bytes as usize;
        let is_full = bytes.len() >= max_bytes;
        let bytes = &bytes[..bytes.len().min(max_bytes)];
        let is_due = is_full || bytes.len() >= 2 * self.parsed as usize || self.has_end(bytes);
        (is_due && !bytes.is_empty()).then_some(bytes)
    }

    /// Whether an empty line ends the head. The bytes searched before are not searched again.
    fn has_end(&mut self, bytes: &[u8]) -> bool {
        let mut from = self.searched as usize;
        while let Some(offset) = memchr(b'\n', &bytes[from..]) {
            let after = &bytes[from + offset + 1..];
            if after.starts_with(b"\n") || after.starts_with(b"\r\n") {
                return true;
            }
            if after.len() < 2 {
                // The empty line may come in pieces.
                self.searched = as_u32(from + offset);
                return false;
            }
            from += offset + 1;
        }
        self.searched = as_u32(bytes.len());
        false
    }

    /// The parser needs more bytes than these.
    fn incomplete<T>(&mut self, bytes: &[u8]) -> Result<Option<T>, HttpError> {
        if bytes.len() >= self.max_bytes as usize {
            return Err(HttpError::HeadTooLarge { max_bytes: self.max_bytes });
        }
        self.parsed = as_u32(bytes.len());
        Ok(None)
    }

    /// Number of bytes that were parsed without finding the end of the head.
    #[cfg(test)]
    pub(super) fn parsed_bytes(&self) -> u32 {
        self.parsed
    }

    fn restart(&mut self) {
        (self.parsed, self.searched) = (0, 0);
    }
}

impl<'a> RequestHead<'a> {
    /// The values of the header fields with this name, without regard to case.
    pub fn field(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        field(self.bytes, name)
    }

    /// The path of the target, without its query. The target may be an absolute URI (RFC 9112, section 3.2.2).
    #[must_use]
    pub fn path(&self) -> &'a str {
        let (target, scheme) = (self.target, "http://");
        let is_absolute = target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let path = if is_absolute {
            let rest = &target[scheme.len()..];
            rest.find('/').map_or("/", |slash| &rest[slash..])
        } else {
            target
        };
        path.split('?').next().unwrap_or(path)
    }
}

impl<'a> ResponseHead<'a> {
    /// The values of the header fields with this name, without regard to case.
    pub fn field(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        field(self.bytes, name)
    }
}

/// The values of a field in a head that was parsed.
fn field<'a>(head: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = head.trim_ascii_start().split(|byte| *byte == b'\n').skip(1);
    lines.filter_map(move |line| {
        let colon = memchr(b':', line)?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

/// Heads have at most as many bytes as a `u32` counts.
fn as_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
