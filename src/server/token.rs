//! Fixed keys of a worker: which part of the server an event belongs to.

use crate::event_loop::{Key, Readiness};

/// The index of a fixed key has the kind above these bits and the number of the part below them. The loop's own keys lie
/// above all kinds.
const NUMBER_BITS: u32 = 24;

/// A fixed part of a worker that receives events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A listener of the service or of the admin pages.
    Acceptor(usize),
    /// A UDP socket of the service.
    UdpSocket(usize),
    /// The timer that shows that the loop runs.
    Heartbeat,
}

impl Token {
    /// Returns the key of this part.
    ///
    /// # Panics
    ///
    /// For a number of 2²⁴ or more.
    pub(super) fn key(self) -> Key {
        let (kind, number) = match self {
            Self::Acceptor(number) => (0, number),
            Self::UdpSocket(number) => (1, number),
            Self::Heartbeat => (2, 0),
        };
        let number = u32::try_from(number).ok().filter(|number| number >> NUMBER_BITS == 0);
        Key::fixed(kind << NUMBER_BITS | number.expect("a worker has fewer sockets than 2^24"))
    }

    /// Returns the part that `key` belongs to; `None` for a connection.
    #[inline]
    pub(super) fn of(key: Key) -> Option<Self> {
        let index = key.as_fixed()?;
        let number = (index & ((1 << NUMBER_BITS) - 1)) as usize;
        Some(match index >> NUMBER_BITS {
            0 => Self::Acceptor(number),
            1 => Self::UdpSocket(number),
            _ => Self::Heartbeat,
        })
    }
}

/// Why the loop calls a connection or a fixed part of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// An event of its socket.
    Event(Readiness),
    /// Its turn in the ready queue.
    Ready,
    /// Its timer has expired.
    Expired,
    /// Its precise timer has expired.
    PreciseTimer,
    /// Another thread or connection wakes its service.
    Wake,
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_key_leads_back_to_its_token() {
        let last = (1 << 24) - 1;
        let numbered = [Token::Acceptor, Token::UdpSocket];
        let tokens = numbered.iter().flat_map(|token| [token(0), token(7), token(last)]).chain([Token::Heartbeat]);
        for token in tokens {
            assert_eq!(Token::of(token.key()), Some(token));
        }
    }
}
