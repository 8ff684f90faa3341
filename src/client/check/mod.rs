//! Expected reply to a message.

pub(super) mod any;
pub(super) mod echo;
pub(super) mod generated_bytes;
pub(super) mod http;
pub(super) mod search;
pub(super) mod text;

use super::config::Expect;
use super::plan::Plan;
use crate::codec::http::ResponseDecoder;
use crate::codec::message::MessageDecoder;
use crate::codec::{Decoder, Framing};
use crate::socket::Address;
use text::TextCheck;

/// Result of checking received bytes.
pub(in crate::client) enum Checked {
    /// So many bytes are correct; they may end the reply to a message.
    Correct { bytes: usize, ends_message: bool },
    /// More bytes are needed.
    Incomplete,
}

/// Expected reply to a message, with the decoder state of one connection. Decoders are boxed, so that other connections do
/// not grow.
#[derive(Debug)]
pub(in crate::client) enum Expectation {
    /// The same bytes.
    Echo,
    /// The correct reply of the message protocol. If replies are logged, from the server at this address.
    SearchReply(Box<(MessageDecoder, Option<Address>)>),
    /// Any frame.
    Frame(Box<(Decoder, TextCheck)>),
    /// An HTTP response.
    Http(Box<(ResponseDecoder, TextCheck)>),
    /// So many bytes.
    Sized(Box<(usize, TextCheck)>),
    /// Any bytes, without a known end: receiving some lets the next messages be sent.
    Stream,
    /// Any bytes up to the server's close, as one reply.
    UntilEnd(TextCheck),
    /// No reply; received bytes are ignored.
    Nothing,
}

impl Expectation {
    pub(in crate::client) fn of(plan: &Plan) -> Self {
        if let Some(replies) = &plan.search_replies {
            return Self::SearchReply(Box::new((replies.decoder(), None)));
        }
        if let Some(size) = plan.reply_size {
            return Self::Sized(Box::new((size, TextCheck::new(plan))));
        }
        match (plan.expect, plan.framing) {
            (Expect::Echo, _) => Self::Echo,
            (Expect::Http { .. }, _) => Self::Http(Box::new((http::decoder(plan.buffer_bytes), TextCheck::new(plan)))),
            (Expect::Nothing | Expect::ReadOnly, _) => Self::Nothing,
            (Expect::Any, None) => Self::Stream,
            (Expect::Any, Some(Framing::UntilEnd)) => Self::UntilEnd(TextCheck::new(plan)),
            (Expect::Any, Some(framing)) => {
                Self::Frame(Box::new((Decoder::new(framing, plan.buffer_bytes), TextCheck::new(plan))))
            }
        }
    }

    /// Ends the reply to a message. Returns a description if it does not contain the expected text.
    #[inline]
    pub(in crate::client) fn end_reply(&mut self) -> Option<String> {
        match self {
            Self::Frame(frame) => frame.1.end_reply(),
            Self::Http(http) => http.1.end_reply(),
            Self::Sized(sized) => sized.1.end_reply(),
            Self::UntilEnd(text) => text.end_reply(),
            Self::Echo | Self::SearchReply(_) | Self::Stream | Self::Nothing => None,
        }
    }
}
