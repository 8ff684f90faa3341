//! What must come back for a message.

use super::Plan;
use crate::client::Expect;
use crate::codec::message::MessageDecoder;
use crate::codec::{Decoder, Framing};

/// What the first of the bytes that came are.
pub(super) enum Checked {
    /// So many of them are right, and they may be the last ones of what comes back for a message.
    Right { bytes: usize, ends_message: bool },
    /// More must come before that can be said.
    Incomplete,
}

/// What must come back for a message, with what one connection knows about it.
#[derive(Debug)]
pub(super) enum Expectation {
    /// The same bytes.
    Echo,
    /// An answer of the message protocol, and the right one.
    Answer(MessageDecoder),
    /// Some frame.
    Frame(Decoder),
    /// So many bytes.
    Sized(usize),
    /// Some bytes, which nothing tells apart: whatever comes lets the next messages go.
    Stream,
    /// Some bytes, up to the server's end, which are the one answer.
    UntilEnd,
    /// Nothing; what comes is ignored.
    Nothing,
}

impl Expectation {
    pub(super) fn of(plan: &Plan) -> Self {
        if let Some(answers) = &plan.answers {
            return Self::Answer(answers.decoder());
        }
        if let Some(size) = plan.reply_size {
            return Self::Sized(size);
        }
        match (plan.expect, plan.framing) {
            (Expect::Echo, _) => Self::Echo,
            (Expect::Nothing | Expect::ReadOnly, _) => Self::Nothing,
            (Expect::Any, None) => Self::Stream,
            (Expect::Any, Some(Framing::UntilEnd)) => Self::UntilEnd,
            (Expect::Any, Some(framing)) => Self::Frame(Decoder::new(framing, plan.buffer_bytes)),
        }
    }
}
