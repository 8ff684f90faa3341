//! Body of an HTTP message: its end, and the chunks it may consist of (RFC 9112, sections 6 and 7).

use super::error::HttpError;
use memchr::memchr;
use std::ops::Range;

/// Maximum size of a line with the size of a chunk and its extensions, in bytes. Extensions are hardly ever used.
const MAX_CHUNK_LINE_BYTES: usize = 1024;

/// Maximum size of the trailer section in bytes.
const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// Delimits the body of one message. The bytes are consumed as they arrive; none is kept or read again, except the
/// beginning of a line of a chunked body.
///
/// ```
/// use multiconn::codec::http::HeadDecoder;
///
/// let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
/// let head = HeadDecoder::new(8192).request(bytes)?.expect("a whole head");
/// let (mut body, mut rest, mut content) = (head.body, &bytes[head.size..], Vec::new());
/// while !body.is_complete() {
///     let part = body.decode(rest, false)?;
///     content.extend_from_slice(&rest[part.data]);
///     rest = &rest[part.size..];
/// }
/// assert_eq!((&content[..], rest), (&b"hello"[..], &b""[..]));
/// # Ok::<(), multiconn::codec::http::HttpError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDecoder(State);

/// The next bytes of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyPart {
    /// Range of the content within the bytes; it may be empty.
    pub data: Range<usize>,
    /// Number of bytes to consume; 0 when more bytes are needed.
    pub size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes follow; with 0 the body is complete.
    Length(u64),
    /// A line with the size of a chunk follows.
    ChunkSize,
    /// So many bytes of a chunk follow.
    ChunkData(u64),
    /// The line end after a chunk follows.
    ChunkEnd,
    /// The trailer section follows, of which so many bytes have arrived.
    Trailer(usize),
    /// The end of the connection ends the body.
    UntilClose,
}

impl BodyDecoder {
    pub(super) fn of_length(bytes: u64) -> Self {
        Self(State::Length(bytes))
    }

    pub(super) fn chunked() -> Self {
        Self(State::ChunkSize)
    }

    pub(super) fn until_close() -> Self {
        Self(State::UntilClose)
    }

    /// Whether no byte of the body is missing.
    #[inline]
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0 == State::Length(0)
    }

    /// Whether the end of the connection ends the body.
    #[must_use]
    pub fn is_until_close(&self) -> bool {
        self.0 == State::UntilClose
    }

    /// Number of bytes that are missing; `None` if that is not known yet.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        if let State::Length(bytes) = self.0 { Some(bytes) } else { None }
    }

    /// Returns the part of the body at the start of `bytes`. They begin after the part that was returned last.
    /// `has_ended` says that no more bytes follow. To be called until the body [is complete](Self::is_complete), or more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// [`HttpError`] for a malformed chunk or trailer, or when the input has ended within the body.
    pub fn decode(&mut self, bytes: &[u8], has_ended: bool) -> Result<BodyPart, HttpError> {
        let mut part = BodyPart::default();
        loop {
            let rest = &bytes[part.size..];
            let taken = match self.0 {
                State::Length(0) => break,
                State::Length(missing) => {
                    let count = shorter(missing, rest.len());
                    self.0 = State::Length(missing - count as u64);
                    return Self::data(part.size, count, count == 0 && has_ended);
                }
                State::UntilClose => {
                    if has_ended {
                        self.0 = State::Length(0);
                    }
                    return Self::data(part.size, rest.len(), false);
                }
                State::ChunkData(missing) if !rest.is_empty() => {
                    let count = shorter(missing, rest.len());
                    let left = missing - count as u64;
                    self.0 = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    return Self::data(part.size, count, false);
                }
                State::ChunkData(_) => 0,
                State::ChunkSize | State::ChunkEnd | State::Trailer(_) => self.take_line(rest)?,
            };
            if taken == 0 {
                break;
            }
            part.size += taken;
        }
        let is_truncated = part.size == 0 && has_ended && !self.is_complete();
        part.data = part.size..part.size;
        if is_truncated { Err(HttpError::Truncated) } else { Ok(part) }
    }

    /// Skips the body at the start of `bytes`, as far as it has arrived. Returns the number of bytes to consume.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode).
    #[inline]
    pub fn skip(&mut self, bytes: &[u8], has_ended: bool) -> Result<usize, HttpError> {
        self.decode_all(bytes, has_ended, |_| {})
    }

    /// Passes the content of the body at the start of `bytes` to `on_data`, as far as it has arrived. Returns the number
    /// of bytes to consume.
    #[inline]
    pub(super) fn decode_all(
        &mut self,
        bytes: &[u8],
        has_ended: bool,
        mut on_data: impl FnMut(&[u8]),
    ) -> Result<usize, HttpError> {
        let mut decoded = 0;
        while !self.is_complete() {
            let rest = &bytes[decoded..];
            let part = self.decode(rest, has_ended)?;
            on_data(&rest[part.data]);
            decoded += part.size;
            if part.size == 0 {
                break;
            }
        }
        Ok(decoded)
    }

    fn data(from: usize, count: usize, is_truncated: bool) -> Result<BodyPart, HttpError> {
        let size = from + count;
        if is_truncated { Err(HttpError::Truncated) } else { Ok(BodyPart { data: from..size, size }) }
    }

    /// Takes a whole line of the framing and enters the next state. Returns the size of the line, or 0 if its end is
    /// missing. Lines end with `\r\n` only: programs that differ on a bare `\n` see different messages.
    fn take_line(&mut self, bytes: &[u8]) -> Result<usize, HttpError> {
        let (max_bytes, too_long) = match self.0 {
            State::ChunkEnd => (2, HttpError::Chunk),
            State::Trailer(before) => (MAX_TRAILER_BYTES - before, HttpError::Trailer),
            _ => (MAX_CHUNK_LINE_BYTES, HttpError::Chunk),
        };
        let bounded = &bytes[..bytes.len().min(max_bytes)];
        let Some(end) = memchr(b'\n', bounded) else {
            return if bytes.len() >= max_bytes { Err(too_long) } else { Ok(0) };
        };
        let line = bounded[..end].strip_suffix(b"\r").ok_or(too_long)?;
        self.0 = match self.0 {
            // Two bytes hold no line but the empty one.
            State::ChunkEnd => State::ChunkSize,
            State::Trailer(_) if line.is_empty() => State::Length(0),
            State::Trailer(before) if is_field(line) => State::Trailer(before + end + 1),
            State::Trailer(_) => return Err(HttpError::Trailer),
            _ => match chunk_size(&bounded[..=end])? {
                0 => State::Trailer(0),
                size => State::ChunkData(size),
            },
        };
        Ok(end + 1)
    }
}

/// The size in a line that begins a chunk. Extensions are ignored.
fn chunk_size(line: &[u8]) -> Result<u64, HttpError> {
    // The parser accepts a line without a size.
    let has_size = line.first().is_some_and(u8::is_ascii_hexdigit);
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((_, size))) if has_size => Ok(size),
        _ => Err(HttpError::Chunk),
    }
}

/// Whether a line of the trailer section has a name and a colon, and no control character.
fn is_field(line: &[u8]) -> bool {
    let is_text = line.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    is_text && memchr(b':', line).is_some_and(|colon| colon > 0)
}

/// The smaller of two numbers of bytes.
fn shorter(missing: u64, arrived: usize) -> usize {
    usize::try_from(missing).map_or(arrived, |missing| missing.min(arrived))
}
