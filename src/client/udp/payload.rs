//! What the messages say, and which message a reply belongs to.

use super::{DatagramClientConfig, Expect};
use crate::client::pattern::Pattern;

/// What a message begins with that carries its number, in bytes: the number of its socket and its own, counted from 1 and
/// from 0, as eight bytes in network byte order each.
pub const TAG_BYTES: usize = 16;

/// The messages of a client.
#[derive(Debug)]
pub(super) enum Payload {
    /// Each carries its number, and then always the same bytes.
    Tagged(Vec<u8>),
    /// Texts in turn. A reply is told by what it says, and so belongs to the oldest message that said the same.
    Texts(Vec<Vec<u8>>),
    /// Texts in turn, of which any reply answers the oldest.
    Unchecked(Vec<Vec<u8>>),
}

/// Which message a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// This one, and it is right.
    Right(u64),
    /// This one, but it is damaged.
    Damaged(u64),
    /// The oldest that still waits and for which [`Payload::is_echo`] holds: some message says that.
    Oldest,
    /// None that was ever sent.
    None,
}

impl Payload {
    pub(super) fn of(config: &DatagramClientConfig) -> Self {
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
                let texts = size.map_or_else(|| config.messages.clone(), |size| vec![pattern(size)]);
                if expect == Expect::Echo { Self::Texts(texts) } else { Self::Unchecked(texts) }
            }
        }
    }

    /// Appends message `number` of `socket` to `bytes`.
    pub(super) fn write(&self, socket: u64, number: u64, bytes: &mut Vec<u8>) {
        match self {
            Self::Tagged(body) => {
                bytes.extend_from_slice(&socket.to_be_bytes());
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.extend_from_slice(body);
            }
            Self::Texts(texts) | Self::Unchecked(texts) => bytes.extend_from_slice(text(texts, number)),
        }
    }

    /// What the reply tells of the message it belongs to.
    pub(super) fn match_reply(&self, socket: u64, reply: &[u8]) -> Match {
        let body = match self {
            Self::Tagged(body) => body,
            // Else each wrong reply would be compared with all that waits, which can be a second's messages.
            Self::Texts(texts) if !texts.iter().any(|text| text == reply) => return Match::None,
            Self::Texts(_) | Self::Unchecked(_) => return Match::Oldest,
        };
        let Some((tag, rest)) = reply.split_first_chunk::<TAG_BYTES>() else { return Match::None };
        let (socket_bytes, number) = tag.split_at(8);
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        match (socket_bytes == socket.to_be_bytes(), rest == body) {
            (true, true) => Match::Right(number),
            (true, false) => Match::Damaged(number),
            (false, _) => Match::None,
        }
    }

    /// Whether `reply` can be what message `number` asked for.
    pub(super) fn is_echo(&self, number: u64, reply: &[u8]) -> bool {
        match self {
            Self::Texts(texts) => text(texts, number) == reply,
            Self::Tagged(_) | Self::Unchecked(_) => true,
        }
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
    use crate::client::DatagramClientConfig;
    use crate::socket::Endpoint;

    #[test]
    fn what_no_message_says_is_looked_for_among_none() {
        let payload = Payload::of(&DatagramClientConfig::to(Endpoint::tcp("127.0.0.1", 1)));
        let mut text = Vec::new();
        payload.write(1, 1, &mut text);
        assert_eq!(payload.match_reply(1, &text), Match::Oldest);
        text.make_ascii_uppercase();
        assert_eq!(payload.match_reply(1, &text), Match::None);
    }

    #[test]
    fn a_seed_gives_bytes_of_its_own() {
        let bytes = |seed| {
            let mut config = DatagramClientConfig::to(Endpoint::tcp("127.0.0.1", 1));
            (config.size, config.load.seed) = (Some(100), seed);
            let mut bytes = Vec::new();
            Payload::of(&config).write(1, 2, &mut bytes);
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert!(bytes(1)[16..] != bytes(2)[16..] && bytes(1)[..16] == bytes(2)[..16]);
    }
}
