//! UDP payloads: message bytes, and matching of replies to messages.

use crate::client::check::generated_bytes::Pattern;
use crate::client::check::text::{WrongReply, is_expected};
use crate::client::{ClientConfig, Expect, ExpectedText};
use std::sync::Arc;

/// Size in bytes of the tag at the start of a message: the socket number (from 1) and the message number (from 0), each
/// as eight bytes in network byte order.
pub const TAG_BYTES: usize = 16;

/// Messages of a client.
#[derive(Debug)]
pub(in crate::client) enum Payload {
    /// A tag followed by the same bytes in every message.
    Tagged(Vec<u8>),
    /// Texts in turn. A reply answers the oldest message with the same text.
    Texts(Arc<[Vec<u8>]>),
    /// Texts in turn. Any reply answers the oldest message, wrongly if it does not contain the expected text.
    Unchecked(Arc<[Vec<u8>]>, Option<ExpectedText>),
}

/// Which message a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Match {
    /// This message, correctly.
    Correct(u64),
    /// This message, but the bytes are corrupt.
    Damaged(u64),
    /// The oldest message in flight for which [`Payload::is_echo`] holds; some message has this text.
    Oldest,
    /// The oldest message in flight, but the bytes are corrupt.
    OldestDamaged,
    /// No message of this socket.
    None,
}

impl Payload {
    /// The datagrams of a client that sends `messages`, if its configuration gives no size.
    pub(in crate::client) fn new(config: &ClientConfig, messages: &Arc<[Vec<u8>]>) -> Self {
        let pattern = |size| {
            let mut bytes = vec![0; size];
            Pattern::new(config.load.seed, 0).fill(0, &mut bytes);
            bytes
        };
        match (config.size, config.expect) {
            (Some(size), Expect::Echo | Expect::Nothing) if size >= TAG_BYTES => {
                Self::Tagged(pattern(size - TAG_BYTES))
            }
            (size, expect) => {
                let texts = size.map_or_else(|| Arc::clone(messages), |size| [pattern(size)].into());
                if expect == Expect::Echo {
                    Self::Texts(texts)
                } else {
                    Self::Unchecked(texts, config.expected_text.clone())
                }
            }
        }
    }

    /// Appends message `number` of `socket` to `bytes`.
    pub(in crate::client) fn write(&self, socket: u64, number: u64, bytes: &mut Vec<u8>) {
        match self {
            Self::Tagged(body) => {
                bytes.extend_from_slice(&socket.to_be_bytes());
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.extend_from_slice(body);
            }
            Self::Texts(texts) | Self::Unchecked(texts, _) => bytes.extend_from_slice(text(texts, number)),
        }
    }

    /// Matches a reply to a message.
    pub(in crate::client) fn match_reply(&self, socket: u64, reply: &[u8]) -> Match {
        let body = match self {
            Self::Tagged(body) => body,
            // Otherwise each wrong reply would be compared with all messages in flight, which can be a second's.
            Self::Texts(texts) if !texts.iter().any(|text| text == reply) => return Match::None,
            Self::Unchecked(_, Some(expected)) if !is_expected(expected, reply) => return Match::OldestDamaged,
            Self::Texts(_) | Self::Unchecked(..) => return Match::Oldest,
        };
        let Some((tag, rest)) = reply.split_first_chunk::<TAG_BYTES>() else { return Match::None };
        let (socket_bytes, number) = tag.split_at(8);
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        match (socket_bytes == socket.to_be_bytes(), rest == body) {
            (true, true) => Match::Correct(number),
            (true, false) => Match::Damaged(number),
            (false, _) => Match::None,
        }
    }

    /// Whether `reply` can answer message `number`.
    pub(in crate::client) fn is_echo(&self, number: u64, reply: &[u8]) -> bool {
        match self {
            Self::Texts(texts) => text(texts, number) == reply,
            Self::Tagged(_) | Self::Unchecked(..) => true,
        }
    }

    /// Description of a corrupt reply.
    pub(in crate::client) fn wrong_reply<'a>(&'a self, reply: &'a [u8]) -> WrongReply<'a> {
        let Self::Unchecked(_, Some(expected)) = self else { return WrongReply::new(reply, None) };
        WrongReply::new(reply, (!is_expected(expected, reply)).then(|| expected.requirement()))
    }
}

fn text(texts: &[Vec<u8>], number: u64) -> &[u8] {
    // The remainder is an index into a vector.
    #[allow(clippy::cast_possible_truncation)]
    let index = (number % texts.len() as u64) as usize;
    &texts[index]
}

#[cfg(test)]
mod tests {
    use super::{Match, Payload};
    use crate::client::ClientConfig;
    use crate::socket::Endpoint;

    #[test]
    fn a_text_of_no_message_is_not_searched_for() {
        let config = ClientConfig::to(Endpoint::tcp("127.0.0.1", 1));
        let payload = Payload::new(&config, &config.messages.clone().into());
        let mut text = Vec::new();
        payload.write(1, 1, &mut text);
        assert_eq!(payload.match_reply(1, &text), Match::Oldest);
        text.make_ascii_uppercase();
        assert_eq!(payload.match_reply(1, &text), Match::None);
    }

    #[test]
    fn seeds_change_the_bytes_but_not_the_tag() {
        let bytes = |seed| {
            let mut config = ClientConfig::to(Endpoint::tcp("127.0.0.1", 1));
            (config.size, config.load.seed) = (Some(100), seed);
            let mut bytes = Vec::new();
            Payload::new(&config, &[].into()).write(1, 2, &mut bytes);
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert!(bytes(1)[16..] != bytes(2)[16..] && bytes(1)[..16] == bytes(2)[..16]);
    }
}
