//! Expectation for the message protocol: each request gets the correct reply.
//!
//! The correct reply to a value of the tutorial's table is the table's text; that to a binary request is defined by the
//! protocol. Other values may be known to the server only; there, all replies must be equal. The bytes of a correct
//! reply are remembered, so that equal bytes are accepted without decoding.

use super::Checked;
use crate::codec::message::{Content, MAX_BEFORE_CONTENT, MessageDecoder};
use crate::log_targets::CLIENT_LOG;
use crate::results::SearchReply;
use crate::service::search::{Request, Response, look_up};
use crate::socket::Address;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Maximum content of a reply to small requests, in bytes: the default limit of this crate's server.
const CONTENT_BYTES: usize = 64 * 1024;

/// Maximum length of a quoted response, in characters.
const SHOWN_CHARACTERS: usize = 60;

/// Replies known to all connections of a worker.
#[derive(Debug)]
pub(in crate::client) struct SearchReplies {
    requests: Arc<[Request]>,
    /// The correct reply to each request, once one has arrived.
    known: RefCell<Vec<Option<Known>>>,
}

#[derive(Debug)]
struct Known {
    bytes: Rc<[u8]>,
    response: Response,
    content_type: String,
    count: u64,
}

/// Maximum content of a reply to any of `requests`, in bytes. A reply to a search repeats the value, which can take
/// twice the bytes in another encoding.
fn max_content_bytes(requests: &[Request]) -> usize {
    requests.iter().map(Request::size).max().unwrap_or(0).saturating_mul(2).max(CONTENT_BYTES)
}

/// Buffer that a connection needs for replies to `requests`, in bytes.
pub(in crate::client) fn buffer_bytes(requests: &[Request]) -> usize {
    max_content_bytes(requests).saturating_add(MAX_BEFORE_CONTENT)
}

impl SearchReplies {
    pub(in crate::client) fn new(requests: Arc<[Request]>) -> Self {
        let known = RefCell::new(requests.iter().map(|_| None).collect());
        Self { requests, known }
    }

    pub(in crate::client) fn decoder(&self) -> MessageDecoder {
        MessageDecoder::new(max_content_bytes(&self.requests))
    }

    /// Replies that arrived, in the order of the requests.
    pub(in crate::client) fn into_replies(self) -> Vec<SearchReply> {
        let known = self.known.into_inner().into_iter().enumerate();
        let reply = |(request, known): (usize, Option<Known>)| {
            let Known { response, count, .. } = known?;
            let is_binary = matches!(response, Response::Bytes(_));
            Some(SearchReply { request, text: response.result(), is_binary, count })
        };
        known.filter_map(reply).collect()
    }

    /// Checks the reply to message `number` of `connection` at the beginning of `received`. It is logged with the address
    /// of `peer`. Returns a description of the error if it is wrong.
    pub(in crate::client) fn check(
        &self,
        (connection, peer): (u32, Option<&Address>),
        number: u64,
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
            log_reply((&known.response, &known.content_type), connection, peer);
            return Ok(Checked::Correct { bytes: known.bytes.len(), ends_message: true });
        }
        let Some(message) = decoder.decode(received, false).map_err(|error| error.to_string())? else {
            return Ok(Checked::Incomplete);
        };
        let response = Response::read(&message)?;
        log_reply((&response, &message.header.content_type), connection, peer);
        let expected = known.as_ref().map(|known| known.response.clone()).or_else(|| expected(&self.requests[index]));
        if let Some(expected) = expected.filter(|expected| *expected != response) {
            return Err(format!("expected {}, received {}", shown(&expected), shown(&response)));
        }
        let (bytes, content_type) = (message.size, message.header.content_type);
        // If a server varies its headers, the last variant is remembered.
        let count = known.as_ref().map_or(0, |known| known.count) + 1;
        *known = Some(Known { bytes: received[..bytes].into(), response, content_type, count });
        Ok(Checked::Correct { bytes, ends_message: true })
    }
}

/// The correct reply, if it is known beforehand.
fn expected(request: &Request) -> Option<Response> {
    match request {
        Request::Search(value) => look_up(value).map(|text| Response::Result(text.to_owned())),
        // Servers may define other actions.
        Request::Action { .. } => None,
        Request::Binary(bytes) => Response::to(&Content::Binary(bytes)).ok(),
    }
}

/// Logs a reply as the tutorial's client prints it.
fn log_reply((response, content_type): (&Response, &str), connection: u32, peer: Option<&Address>) {
    let Some(peer) = peer.map(Address::in_python) else { return };
    match response {
        Response::Result(_) => {
            log::debug!(target: CLIENT_LOG, connection; "Received response {} from {peer}", response.in_python());
        }
        Response::Bytes(_) => {
            log::debug!(target: CLIENT_LOG, connection; "Received {content_type} response from {peer}");
        }
    }
}

fn shown(response: &Response) -> String {
    let mut text = response.content();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARACTERS) {
        text.replace_range(end.., "...");
    }
    text
}
