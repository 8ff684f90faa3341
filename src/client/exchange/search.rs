//! The expectation of a search: each request gets an answer of the message protocol, and the right one.
//!
//! Which one is right: to a value of the tutorial's table what the table says, to a binary request what the protocol says.
//! About other values servers may know more than we do: there, all answers must be the same. Once an answer was found to be
//! right, its bytes are remembered, and whoever sends those again is right without being decoded.

use super::Checked;
use crate::client::report::abbreviated;
use crate::codec::message::{Content, MAX_BEFORE_CONTENT, MessageDecoder};
use crate::service::search::{Request, Response, look_up};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The most that an answer may hold, in bytes, when the requests are small: what a server of ours takes by default.
const CONTENT_BYTES: usize = 64 * 1024;

/// What all connections of a worker know about the answers.
#[derive(Debug)]
pub(super) struct Answers {
    requests: Arc<[Request]>,
    /// The right answer to each request, once one has come.
    known: RefCell<Vec<Option<Known>>>,
}

#[derive(Debug)]
struct Known {
    bytes: Rc<[u8]>,
    response: Response,
    count: u64,
}

/// How much content an answer to any of `requests` may have, in bytes. That to a search repeats the value, which can take
/// twice the bytes in another encoding.
fn max_content_bytes(requests: &[Request]) -> usize {
    requests.iter().map(Request::size).max().unwrap_or(0).saturating_mul(2).max(CONTENT_BYTES)
}

/// How much a connection must buffer for answers to `requests`, in bytes.
pub(in crate::client) fn buffer_bytes(requests: &[Request]) -> usize {
    max_content_bytes(requests).saturating_add(MAX_BEFORE_CONTENT)
}

impl Answers {
    pub(super) fn new(requests: Arc<[Request]>) -> Self {
        let known = RefCell::new(requests.iter().map(|_| None).collect());
        Self { requests, known }
    }

    pub(super) fn decoder(&self) -> MessageDecoder {
        MessageDecoder::new(max_content_bytes(&self.requests))
    }

    /// Each answer that came, with how often it did.
    pub(super) fn into_counts(self) -> Vec<(Response, u64)> {
        self.known.into_inner().into_iter().flatten().map(|known| (known.response, known.count)).collect()
    }

    /// Looks at the answer to message `number` of `connection`, which `received` begins with; says in words what is
    /// wrong with it.
    pub(super) fn check(
        &self,
        (connection, number): (usize, u64),
        decoder: &mut MessageDecoder,
        received: &[u8],
    ) -> Result<Checked, String> {
        // The remainder is an index into a vector.
        #[allow(clippy::cast_possible_truncation)]
        let index = (number % self.requests.len() as u64) as usize;
        let mut known = self.known.borrow_mut();
        let known = &mut known[index];
        if let Some(known) = known.as_mut().filter(|known| received.starts_with(&known.bytes)) {
            *decoder = self.decoder();
            known.count += 1;
            tell(&known.response, connection);
            return Ok(Checked::Right { bytes: known.bytes.len(), ends_message: true });
        }
        let Some(message) = decoder.decode(received, false).map_err(|error| error.to_string())? else {
            return Ok(Checked::Incomplete);
        };
        let response = Response::read(&message)?;
        tell(&response, connection);
        let expected = known.as_ref().map(|known| known.response.clone()).or_else(|| expected(&self.requests[index]));
        if let Some(expected) = expected.filter(|expected| *expected != response) {
            return Err(format!("expected {}, received {}", shown(&expected), shown(&response)));
        }
        let bytes = message.size;
        // Of a server that words its headers in several ways, the last is remembered.
        let count = known.as_ref().map_or(0, |known| known.count) + 1;
        *known = Some(Known { bytes: received[..bytes].into(), response, count });
        Ok(Checked::Right { bytes, ends_message: true })
    }
}

/// The answer, where there is no doubt which it must be.
fn expected(request: &Request) -> Option<Response> {
    match request {
        Request::Search(value) => look_up(value).map(|text| Response::Result(text.to_owned())),
        // What a server makes of another action is its own matter.
        Request::Action { .. } => None,
        Request::Binary(bytes) => Response::to(&Content::Binary(bytes)).ok(),
    }
}

fn tell(response: &Response, connection: usize) {
    log::debug!("Received response {} from connection {connection}", response.in_python());
}

fn shown(response: &Response) -> String {
    abbreviated(&response.content())
}
