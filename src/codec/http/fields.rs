//! Header fields that define the framing of a message.

use super::body::BodyDecoder;
use super::error::HttpError;
use httparse::Header;

/// Maximum number of header fields. Browsers and servers send a few dozen at most.
pub(super) const MAX_FIELDS: usize = 96;

/// What the header fields of a message say about its framing.
#[derive(Debug, Default)]
pub(super) struct FramingFields {
    content_length: Option<u64>,
    coding: Option<Coding>,
    asks_to_close: bool,
    asks_to_keep: bool,
    pub(super) hosts: usize,
    pub(super) expects_continue: bool,
}

/// Transfer codings, in the order in which they were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Only chunked.
    Chunked,
    /// Others, and chunked as the last one.
    LastIsChunked,
    /// Chunked is missing, or not the last one.
    LastIsOther,
}

impl FramingFields {
    pub(super) fn of(fields: &[Header<'_>]) -> Result<Self, HttpError> {
        let mut framing = Self::default();
        for &Header { name, value } in fields {
            let is = |known| name.eq_ignore_ascii_case(known);
            match name.len() {
                4 if is("host") => framing.hosts += 1,
                6 if is("expect") => framing.expects_continue |= has_token(value, b"100-continue"),
                10 if is("connection") => {
                    framing.asks_to_close |= has_token(value, b"close");
                    framing.asks_to_keep |= has_token(value, b"keep-alive");
                }
                14 if is("content-length") => framing.add_content_length(value)?,
                17 if is("transfer-encoding") => framing.add_codings(value)?,
                _ => {}
            }
        }
        Ok(framing)
    }

    /// Takes a Content-Length. Equal values may be repeated, also in one field (RFC 9112, section 6.3).
    fn add_content_length(&mut self, value: &[u8]) -> Result<(), HttpError> {
        for text in elements(value) {
            let length = read_number(text).ok_or(HttpError::ContentLength)?;
            if self.content_length.replace(length).is_some_and(|other| other != length) {
                return Err(HttpError::ContentLength);
            }
        }
        Ok(())
    }

    fn add_codings(&mut self, value: &[u8]) -> Result<(), HttpError> {
        for text in elements(value) {
            let is_chunked = text.eq_ignore_ascii_case(b"chunked");
            self.coding = Some(match self.coding {
                // Chunked must not be applied twice (RFC 9112, section 7).
                Some(Coding::Chunked | Coding::LastIsChunked) if is_chunked => return Err(HttpError::TransferCoding),
                None if is_chunked => Coding::Chunked,
                Some(Coding::LastIsOther) if is_chunked => Coding::LastIsChunked,
                _ => Coding::LastIsOther,
            });
        }
        Ok(())
    }

    /// Whether the connection stays open after a message of version HTTP/1.`minor` (RFC 9112, section 9.3). Chunks in
    /// HTTP/1.0 are faulty framing, after which it closes (section 6.1).
    pub(super) fn is_persistent(&self, minor: u8) -> bool {
        !self.asks_to_close && (minor > 0 || self.asks_to_keep && self.coding.is_none())
    }

    /// Body of a request. A length that another program might understand differently is an error.
    pub(super) fn request_body(&self, minor: u8) -> Result<BodyDecoder, HttpError> {
        match (self.coding, self.content_length) {
            (Some(_), Some(_)) => Err(HttpError::TwoLengths),
            (Some(Coding::Chunked), None) if minor > 0 => Ok(BodyDecoder::chunked()),
            (Some(_), None) => Err(HttpError::TransferCoding),
            (None, length) => Ok(BodyDecoder::of_length(length.unwrap_or(0))),
        }
    }

    /// Body of a response that has one. A transfer coding overrides a Content-Length.
    pub(super) fn response_body(&self) -> BodyDecoder {
        match (self.coding, self.content_length) {
            (Some(Coding::Chunked | Coding::LastIsChunked), _) => BodyDecoder::chunked(),
            (None, Some(length)) => BodyDecoder::of_length(length),
            (Some(Coding::LastIsOther), _) | (None, None) => BodyDecoder::until_close(),
        }
    }
}

/// The elements of a list such as `keep-alive, Upgrade` (RFC 9110, section 5.6.1). An empty value has one empty element.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    elements(list).any(|element| element.eq_ignore_ascii_case(token))
}

/// Parses digits only: no sign, no space.
fn read_number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}
