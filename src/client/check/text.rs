//! Check that each reply contains the expected text.

use crate::client::config::{ExpectedText, TextSearch};
use crate::client::plan::Plan;
use crate::python_repr::BytesRepr;
use crate::units::format_counted;
use std::fmt;

/// Maximum number of bytes shown of a wrong reply.
const SHOWN_BYTES: usize = 32;

/// Check of the replies of one connection. It takes memory only where a text is expected.
#[derive(Debug, Default)]
pub(in crate::client) struct TextCheck(Option<Box<CurrentReply>>);

/// The reply that is arriving.
#[derive(Debug)]
struct CurrentReply {
    expected: ExpectedText,
    search: TextSearch,
    size: usize,
    first: [u8; SHOWN_BYTES],
}

impl TextCheck {
    pub(in crate::client) fn new(plan: &Plan) -> Self {
        Self(plan.expected_text.as_ref().map(|expected| {
            Box::new(CurrentReply {
                search: expected.search(),
                expected: expected.clone(),
                size: 0,
                first: [0; SHOWN_BYTES],
            })
        }))
    }

    /// Searches the next bytes of the reply.
    #[inline]
    pub(in crate::client) fn add(&mut self, bytes: &[u8]) {
        if let Some(reply) = &mut self.0 {
            reply.add(bytes);
        }
    }

    /// Ends the reply, and begins the next one. Returns a description if it does not contain the text.
    #[inline]
    pub(in crate::client) fn end_reply(&mut self) -> Option<String> {
        self.0.as_mut().and_then(|reply| reply.end())
    }
}

impl CurrentReply {
    fn add(&mut self, bytes: &[u8]) {
        if self.size < SHOWN_BYTES {
            let count = bytes.len().min(SHOWN_BYTES - self.size);
            self.first[self.size..self.size + count].copy_from_slice(&bytes[..count]);
        }
        self.size += bytes.len();
        self.expected.search_bytes(&mut self.search, bytes);
    }

    fn end(&mut self) -> Option<String> {
        let is_wrong = !self.expected.is_found(self.search);
        let first = &self.first[..self.size.min(SHOWN_BYTES)];
        let requirement = Some(self.expected.requirement());
        let description = is_wrong.then(|| WrongReply { first, size: self.size, requirement }.to_string());
        (self.search, self.size) = (self.expected.search(), 0);
        description
    }
}

/// Whether a whole reply contains the expected text.
pub(in crate::client) fn is_expected(expected: &ExpectedText, reply: &[u8]) -> bool {
    let mut search = expected.search();
    expected.search_bytes(&mut search, reply);
    expected.is_found(search)
}

/// Formats a wrong reply: `received b'busy' (4 bytes), expected it to contain b'ready'`.
pub(in crate::client) struct WrongReply<'a> {
    first: &'a [u8],
    size: usize,
    /// What it had to do, such as `contain b'ready'`.
    requirement: Option<&'a str>,
}

impl<'a> WrongReply<'a> {
    /// A whole reply that does not meet this requirement.
    pub(in crate::client) fn new(reply: &'a [u8], requirement: Option<&'a str>) -> Self {
        Self { first: &reply[..reply.len().min(SHOWN_BYTES)], size: reply.len(), requirement }
    }
}

impl fmt::Display for WrongReply<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.first.len() < self.size { "…" } else { "" };
        let (first, size) = (BytesRepr(self.first), format_counted(self.size as u64, "byte"));
        write!(out, "received {first}{more} ({size})")?;
        self.requirement.map_or(Ok(()), |requirement| write!(out, ", expected it to {requirement}"))
    }
}
