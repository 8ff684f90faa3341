//! The messages of one socket that are on their way, and what replies mean for them.
//!
//! Time is an argument, and no socket is touched: whatever a network does can be played in a test.

use super::payload::{Match, Payload};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many lost messages are remembered, so that a late reply is told from a doubled one.
const REMEMBERED: usize = 1024;

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers a message after this time. It is reordered when a later message was answered before (RFC 4737).
    Answer { latency: Duration, is_reordered: bool },
    /// It answers a message that counted as lost already.
    Late,
    /// The message was answered before.
    Duplicate,
    /// It is not what any message asked for; if a message was named, that one is done with.
    Corrupt,
}

/// The messages of one socket.
#[derive(Debug)]
pub(super) struct Flight {
    socket: u64,
    total: u64,
    pipeline: u64,
    /// The number of the next message.
    next: u64,
    /// Those without a reply so far, and when each was sent: in the order of both.
    waiting: BTreeMap<u64, Instant>,
    /// The latest that was answered.
    highest: Option<u64>,
    /// The latest of those that were given up.
    given_up: BTreeSet<u64>,
}

impl Flight {
    /// `total` messages of `socket`, of which `pipeline` may be without a reply at a time.
    pub(super) fn new(socket: u64, total: u64, pipeline: u64) -> Self {
        let (waiting, given_up) = (BTreeMap::new(), BTreeSet::new());
        Self { socket, total, pipeline, next: 0, waiting, highest: None, given_up }
    }

    pub(super) fn socket(&self) -> u64 {
        self.socket
    }

    /// The number of the next message, and how many may be sent now.
    pub(super) fn sendable(&self) -> (u64, u64) {
        let places = self.pipeline.saturating_sub(self.waiting.len() as u64);
        (self.next, places.min(self.total - self.next))
    }

    /// The next message was sent; a reply will come, or is not wanted.
    pub(super) fn sent(&mut self, now: Instant, wants_reply: bool) {
        if wants_reply {
            self.waiting.insert(self.next, now);
        }
        self.next += 1;
    }

    /// The next message could not be sent, and will not be.
    pub(super) fn skipped(&mut self) {
        self.next += 1;
    }

    /// A reply came.
    pub(super) fn received(&mut self, payload: &Payload, reply: &[u8], now: Instant) -> Verdict {
        let number = match payload.match_reply(self.socket, reply) {
            Match::Right(number) if number < self.next => number,
            Match::Damaged(number) => {
                self.waiting.remove(&number);
                return Verdict::Corrupt;
            }
            Match::Right(_) | Match::None => return Verdict::Corrupt,
            Match::Oldest => match self.oldest(payload, reply) {
                Ok(number) => number,
                Err(verdict) => return verdict,
            },
        };
        match self.waiting.remove(&number) {
            Some(sent) => {
                let is_reordered = self.highest.is_some_and(|highest| highest > number);
                self.highest = self.highest.max(Some(number));
                Verdict::Answer { latency: now.saturating_duration_since(sent), is_reordered }
            }
            None if self.given_up.remove(&number) => Verdict::Late,
            None => Verdict::Duplicate,
        }
    }

    /// The oldest message that `reply` can belong to, or what it means if there is none.
    fn oldest(&mut self, payload: &Payload, reply: &[u8]) -> Result<u64, Verdict> {
        let fits = |number: &u64| payload.is_echo(*number, reply);
        let (waiting, given_up) = (self.waiting.keys().copied(), self.given_up.iter().copied());
        if let Some(number) = waiting.chain(given_up).find(fits) {
            return Ok(number);
        }
        // Texts come round again soon or never.
        let before = (0..self.next).rev().take(REMEMBERED).find(fits);
        Err(if before.is_some() { Verdict::Duplicate } else { Verdict::Corrupt })
    }

    /// Gives up whatever has waited for longer than `timeout`; returns how many.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> u64 {
        let mut count = 0;
        while let Some(entry) = self.waiting.first_entry()
            && *entry.get() + timeout <= now
        {
            let (number, _) = entry.remove_entry();
            self.give_up(number);
            count += 1;
        }
        count
    }

    /// Nobody listens there: gives up all that waits; returns how many.
    pub(super) fn refuse(&mut self) -> u64 {
        let mut count = 0;
        while let Some((number, _)) = self.waiting.pop_first() {
            self.give_up(number);
            count += 1;
        }
        count
    }

    fn give_up(&mut self, number: u64) {
        self.given_up.insert(number);
        if self.given_up.len() > REMEMBERED {
            self.given_up.pop_first();
        }
    }

    /// When the next message has to be given up.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, sent)| *sent + timeout)
    }

    /// Whether every message was sent and has met its fate.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.total && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Flight, Verdict};
    use crate::client::datagram::payload::Payload;
    use crate::client::{DatagramClientConfig, Expect};
    use crate::socket::Endpoint;
    use std::time::{Duration, Instant};

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn payload(change: impl Fn(&mut DatagramClientConfig)) -> Payload {
        let mut config = DatagramClientConfig::to(Endpoint::tcp("127.0.0.1", 1));
        change(&mut config);
        Payload::of(&config)
    }

    fn message(payload: &Payload, number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        payload.write(7, number, &mut bytes);
        bytes
    }

    /// A socket that has sent `count` messages.
    fn flight(count: u64, start: Instant) -> Flight {
        let mut flight = Flight::new(7, count, count);
        (0..count).for_each(|_| flight.sent(start, true));
        flight
    }

    fn is_answer(verdict: Verdict, reordered: bool) -> bool {
        matches!(verdict, Verdict::Answer { is_reordered, .. } if is_reordered == reordered)
    }

    #[test]
    fn tags_tell_everything_apart() {
        let (start, payload) = (Instant::now(), payload(|config| config.size = Some(100)));
        let mut flight = flight(5, start);
        let reply = |number| message(&payload, number);
        let mut receive = |bytes: &[u8], at| flight.received(&payload, bytes, start + at);
        assert_eq!(reply(3).len(), 100);
        assert!(is_answer(receive(&reply(0), TIMEOUT / 2), false));
        assert!(is_answer(receive(&reply(3), TIMEOUT / 2), false));
        assert!(is_answer(receive(&reply(1), TIMEOUT / 2), true));
        assert_eq!(receive(&reply(3), TIMEOUT / 2), Verdict::Duplicate);
        assert_eq!(receive(&reply(5), TIMEOUT / 2), Verdict::Corrupt, "that one was never sent");
        assert_eq!(receive(b"short", TIMEOUT / 2), Verdict::Corrupt);
        let mut damaged = reply(4);
        damaged[99] ^= 1;
        assert_eq!(receive(&damaged, TIMEOUT / 2), Verdict::Corrupt);
        assert_eq!(flight.expire(start + TIMEOUT, TIMEOUT), 1, "message 2, and not the damaged one");
        assert!(flight.is_done());
        assert_eq!(flight.received(&payload, &reply(2), start + TIMEOUT), Verdict::Late);
        assert_eq!(flight.received(&payload, &reply(2), start + TIMEOUT), Verdict::Duplicate);
    }

    #[test]
    fn another_sockets_reply_is_none() {
        let (start, payload) = (Instant::now(), payload(|config| config.size = Some(16)));
        let mut other = Vec::new();
        payload.write(8, 0, &mut other);
        assert_eq!(flight(1, start).received(&payload, &other, start), Verdict::Corrupt);
    }

    #[test]
    fn texts_belong_to_the_oldest_that_said_them() {
        let (start, payload) = (Instant::now(), payload(|config| config.messages = vec![b"a".into(), b"b".into()]));
        let mut flight = flight(4, start);
        let mut receive = |bytes: &[u8]| flight.received(&payload, bytes, start);
        assert!(is_answer(receive(b"b"), false), "message 1");
        assert!(is_answer(receive(b"a"), true), "message 0");
        assert!(is_answer(receive(b"a"), false), "message 2");
        assert_eq!(receive(b"a"), Verdict::Duplicate);
        assert_eq!(receive(b"c"), Verdict::Corrupt);
        assert!(is_answer(receive(b"b"), false), "message 3");
        assert!(flight.is_done());
    }

    #[test]
    fn anything_answers_where_anything_is_expected() {
        let (start, payload) = (Instant::now(), payload(|config| config.expect = Expect::Any));
        let mut flight = flight(2, start);
        let mut receive = |bytes: &[u8]| flight.received(&payload, bytes, start);
        assert!(is_answer(receive(b"Message received"), false) && is_answer(receive(b""), false));
        assert_eq!(receive(b"more"), Verdict::Duplicate);
    }

    #[test]
    fn a_lost_message_gives_its_place_to_the_next() {
        let start = Instant::now();
        let mut flight = Flight::new(7, 10, 2);
        assert_eq!(flight.sendable(), (0, 2));
        flight.sent(start, true);
        flight.sent(start + TIMEOUT / 2, true);
        assert_eq!((flight.sendable(), flight.deadline(TIMEOUT)), ((2, 0), Some(start + TIMEOUT)));
        assert_eq!(flight.expire(start + TIMEOUT, TIMEOUT), 1);
        assert_eq!(flight.sendable(), (2, 1));
        assert_eq!((flight.refuse(), flight.sendable()), (1, (2, 2)));
    }
}
