//! The messages of one socket that are due or on their way, and what replies mean for them.
//!
//! Time is an argument, in nanoseconds since the client was made, and no socket is touched: whatever a network does can be
//! played in a test.

use super::payload::{Match, Payload};
use crate::client::in_flight::{MessageTimes, SentBatch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Not yet.
const NEVER: u64 = u64::MAX;

/// How many messages back a text is looked for that came once more.
const LOOKED_BACK: usize = 1024;

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers a message of these times. It is reordered when a later message was answered before (RFC 4737).
    Answer { times: MessageTimes, is_reordered: bool },
    /// It answers a message that counted as lost already.
    Late,
    /// The message was answered before.
    Duplicate,
    /// It is not what any message asked for; if a message was named that waited, it has these times and is done with.
    Corrupt(Option<MessageTimes>),
}

/// What one socket has to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many messages it sends.
    pub(super) total: u64,
    /// How many of them may be without a reply at a time.
    pub(super) pipeline: u64,
    /// Whether they go out when they are due, and not when there is a place.
    pub(super) is_paced: bool,
    /// How many lost messages are remembered, so that a late reply is told from a doubled one.
    pub(super) remembered: usize,
}

/// The messages of one socket.
#[derive(Debug)]
pub(super) struct UdpInFlight {
    socket: u64,
    plan: Plan,
    /// The number of the next message.
    next: u64,
    /// When the messages from that one on are due, as far as they are by now, and when each was given to this socket.
    due: VecDeque<(u64, u64)>,
    /// Those without a reply so far, in the order of their numbers and of sending.
    waiting: BTreeMap<u64, MessageTimes>,
    /// Until when there was no room for whatever was due.
    held_until: u64,
    /// The latest that was answered.
    highest: Option<u64>,
    /// The latest of those that were given up.
    given_up: BTreeSet<u64>,
}

impl UdpInFlight {
    pub(super) fn new(socket: u64, plan: Plan) -> Self {
        let (waiting, given_up) = (BTreeMap::new(), BTreeSet::new());
        Self { socket, plan, next: 0, due: VecDeque::new(), waiting, held_until: 0, highest: None, given_up }
    }

    pub(super) fn socket(&self) -> u64 {
        self.socket
    }

    /// Whether fewer messages are due, or were sent, than there are.
    pub(super) fn has_room(&self) -> bool {
        self.next + (self.due.len() as u64) < self.plan.total
    }

    /// A message that was due at `due` is given to the socket at `given`. Whether it is the only one that waits to be sent.
    pub(super) fn add(&mut self, due: u64, given: u64) -> bool {
        self.due.push_back((due, given));
        self.due.len() == 1
    }

    /// The number of the next message, and how many may be sent now.
    pub(super) fn sendable(&self) -> (u64, u64) {
        let places = self.plan.pipeline.saturating_sub(self.waiting.len() as u64);
        let left = if self.plan.is_paced { self.due.len() as u64 } else { self.plan.total - self.next };
        (self.next, places.min(left))
    }

    /// The next message was sent; a reply will come, or is not wanted.
    pub(super) fn sent(&mut self, now: u64, wants_reply: bool) -> SentBatch {
        if self.held_until == NEVER {
            self.held_until = now;
        }
        let number = self.next;
        let MessageTimes { due, given, .. } =
            self.skipped().unwrap_or(MessageTimes { due: now, given: now, sent: None });
        if wants_reply {
            self.waiting.insert(number, MessageTimes { due, given, sent: Some(now) });
        }
        SentBatch { due, held: self.held_until.saturating_sub(given), sent: now, count: 1 }
    }

    /// The next message could not be sent, and will not be. Returns its times, if it was due.
    pub(super) fn skipped(&mut self) -> Option<MessageTimes> {
        self.next += 1;
        self.due.pop_front().map(unsent)
    }

    /// The kernel takes no more for now.
    pub(super) fn block(&mut self) {
        self.held_until = NEVER;
    }

    /// Message `number` waits no longer, if it did.
    fn take(&mut self, number: u64, now: u64) -> Option<MessageTimes> {
        let was_full = self.waiting.len() as u64 >= self.plan.pipeline;
        let times = self.waiting.remove(&number)?;
        if was_full {
            self.held_until = self.held_until.max(now);
        }
        Some(times)
    }

    /// A reply came.
    pub(super) fn received(&mut self, payload: &Payload, reply: &[u8], now: u64) -> Verdict {
        let number = match payload.match_reply(self.socket, reply) {
            Match::Right(number) if number < self.next => number,
            Match::Damaged(number) => return Verdict::Corrupt(self.take(number, now)),
            Match::Right(_) | Match::None => return Verdict::Corrupt(None),
            Match::Oldest => match self.oldest(payload, reply) {
                Ok(number) => number,
                Err(verdict) => return verdict,
            },
        };
        match self.take(number, now) {
            Some(times) => {
                let is_reordered = self.highest.is_some_and(|highest| highest > number);
                self.highest = self.highest.max(Some(number));
                Verdict::Answer { times, is_reordered }
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
        let before = (0..self.next).rev().take(LOOKED_BACK).find(fits);
        Err(if before.is_some() { Verdict::Duplicate } else { Verdict::Corrupt(None) })
    }

    /// Gives up whatever was sent by `last`, and tells of each.
    pub(super) fn expire(&mut self, last: u64, now: u64, mut tell: impl FnMut(MessageTimes)) {
        while let Some((&number, times)) = self.waiting.first_key_value()
            && times.sent <= Some(last)
        {
            self.take(number, now).into_iter().for_each(&mut tell);
            self.give_up(number);
        }
    }

    fn give_up(&mut self, number: u64) {
        self.given_up.insert(number);
        if self.given_up.len() > self.plan.remembered {
            self.given_up.pop_first();
        }
    }

    /// When the oldest message was sent that has no reply.
    pub(super) fn oldest_sent(&self) -> Option<u64> {
        self.waiting.first_key_value().and_then(|(_, times)| times.sent)
    }

    /// Whether everything that was sent has met its fate.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether every message was sent and has met its fate.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.plan.total && self.is_quiet()
    }

    /// The times of each message that was not sent, or has no reply.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = MessageTimes> {
        self.waiting.values().copied().chain(self.due.iter().copied().map(unsent))
    }
}

fn unsent((due, given): (u64, u64)) -> MessageTimes {
    MessageTimes { due, given, sent: None }
}

#[cfg(test)]
mod tests {
    use super::{Plan, UdpInFlight, Verdict};
    use crate::client::in_flight::{MessageTimes, SentBatch};
    use crate::client::udp::payload::Payload;
    use crate::client::{DatagramClientConfig, Expect};
    use crate::socket::Endpoint;

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

    fn plan(total: u64, pipeline: u64, is_paced: bool) -> Plan {
        Plan { total, pipeline, is_paced, remembered: 10 }
    }

    /// A socket that has sent `count` messages at these times.
    fn in_flight(count: u64, sent: impl Fn(u64) -> u64) -> UdpInFlight {
        let mut in_flight = UdpInFlight::new(7, plan(count, count, false));
        (0..count).for_each(|number| _ = in_flight.sent(sent(number), true));
        in_flight
    }

    /// How many were given up.
    fn expire(in_flight: &mut UdpInFlight, last: u64) -> usize {
        let mut count = 0;
        in_flight.expire(last, last, |_| count += 1);
        count
    }

    /// The times of a message of a closed loop that was sent then.
    fn sent_at(now: u64) -> MessageTimes {
        MessageTimes { due: now, given: now, sent: Some(now) }
    }

    fn is_answer(verdict: Verdict, reordered: bool) -> bool {
        matches!(verdict, Verdict::Answer { is_reordered, .. } if is_reordered == reordered)
    }

    #[test]
    fn tags_tell_everything_apart() {
        let payload = payload(|config| config.size = Some(100));
        let mut in_flight = in_flight(5, |number| number);
        let reply = |number| message(&payload, number);
        let mut receive = |bytes: &[u8]| in_flight.received(&payload, bytes, 9);
        assert_eq!(reply(3).len(), 100);
        assert!(is_answer(receive(&reply(0)), false));
        assert_eq!(receive(&reply(3)), Verdict::Answer { times: sent_at(3), is_reordered: false });
        assert!(is_answer(receive(&reply(1)), true));
        assert_eq!(receive(&reply(3)), Verdict::Duplicate);
        assert_eq!(receive(&reply(5)), Verdict::Corrupt(None), "that one was never sent");
        assert_eq!(receive(b"short"), Verdict::Corrupt(None));
        let mut damaged = reply(4);
        damaged[99] ^= 1;
        assert_eq!(receive(&damaged), Verdict::Corrupt(Some(sent_at(4))));
        assert_eq!(receive(&damaged), Verdict::Corrupt(None));
        assert_eq!(expire(&mut in_flight, 1), 0);
        assert_eq!(expire(&mut in_flight, 9), 1, "message 2, and not the damaged one");
        assert!(in_flight.is_done());
        assert_eq!(in_flight.received(&payload, &reply(2), 9), Verdict::Late);
        assert_eq!(in_flight.received(&payload, &reply(2), 9), Verdict::Duplicate);
    }

    #[test]
    fn another_sockets_reply_is_none() {
        let payload = payload(|config| config.size = Some(16));
        let mut other = Vec::new();
        payload.write(8, 0, &mut other);
        assert_eq!(in_flight(1, |_| 0).received(&payload, &other, 9), Verdict::Corrupt(None));
    }

    #[test]
    fn texts_belong_to_the_oldest_that_said_them() {
        let payload = payload(|config| config.messages = vec![b"a".into(), b"b".into()]);
        let mut in_flight = in_flight(4, |_| 0);
        let mut receive = |bytes: &[u8]| in_flight.received(&payload, bytes, 9);
        assert!(is_answer(receive(b"b"), false), "message 1");
        assert!(is_answer(receive(b"a"), true), "message 0");
        assert!(is_answer(receive(b"a"), false), "message 2");
        assert_eq!(receive(b"a"), Verdict::Duplicate);
        assert_eq!(receive(b"c"), Verdict::Corrupt(None));
        assert!(is_answer(receive(b"b"), false), "message 3");
        assert!(in_flight.is_done());
    }

    #[test]
    fn anything_answers_where_anything_is_expected() {
        let payload = payload(|config| config.expect = Expect::Any);
        let mut in_flight = in_flight(2, |_| 0);
        let mut receive = |bytes: &[u8]| in_flight.received(&payload, bytes, 9);
        assert!(is_answer(receive(b"Message received"), false) && is_answer(receive(b""), false));
        assert_eq!(receive(b"more"), Verdict::Duplicate);
    }

    #[test]
    fn a_lost_message_gives_its_place_to_the_next() {
        let mut in_flight = UdpInFlight::new(7, plan(10, 2, false));
        assert_eq!(in_flight.sendable(), (0, 2));
        assert_eq!((in_flight.sent(100, true).due, in_flight.sent(150, true).due), (100, 150));
        assert_eq!((in_flight.sendable(), in_flight.oldest_sent()), ((2, 0), Some(100)));
        assert_eq!(expire(&mut in_flight, 100), 1);
        assert_eq!((in_flight.sendable(), in_flight.oldest_sent()), ((2, 1), Some(150)));
        assert_eq!((expire(&mut in_flight, u64::MAX), in_flight.sendable()), (1, (2, 2)));
    }

    #[test]
    fn what_is_due_goes_out_when_there_is_a_place_and_keeps_its_times() {
        let payload = payload(|config| config.size = Some(16));
        let mut in_flight = UdpInFlight::new(7, plan(5, 2, true));
        assert_eq!(in_flight.sendable(), (0, 0), "nothing is due");
        assert!(in_flight.add(10, 11) && !in_flight.add(20, 21) && !in_flight.add(30, 31) && !in_flight.add(40, 41));
        assert_eq!(in_flight.sendable(), (0, 2));
        let departure = |due, held, sent| SentBatch { due, held, sent, count: 1 };
        assert_eq!([in_flight.sent(50, true), in_flight.sent(51, true)], [departure(10, 0, 50), departure(20, 0, 51)]);
        assert_eq!((in_flight.sendable(), in_flight.has_room()), ((2, 0), true));
        let times = MessageTimes { due: 10, given: 11, sent: Some(50) };
        let verdict = in_flight.received(&payload, &message(&payload, 0), 60);
        assert_eq!(verdict, Verdict::Answer { times, is_reordered: false });
        assert_eq!((in_flight.sendable(), in_flight.sent(62, true)), ((2, 1), departure(30, 29, 62)));
        in_flight.expire(u64::MAX, 70, |_| ());
        // The kernel had no room for it, either.
        in_flight.block();
        assert_eq!(in_flight.sent(80, true), departure(40, 39, 80));
        assert!(in_flight.add(90, 91) && !in_flight.has_room() && !in_flight.is_quiet() && !in_flight.is_done());
        assert_eq!(in_flight.unanswered().map(|times| times.due).collect::<Vec<_>>(), [40, 90]);
        assert_eq!(in_flight.skipped(), Some(MessageTimes { due: 90, given: 91, sent: None }));
    }

    #[test]
    fn as_many_lost_messages_are_remembered_as_planned() {
        let payload = payload(|config| config.size = Some(16));
        let mut in_flight = in_flight(12, |_| 0);
        assert_eq!(expire(&mut in_flight, 0), 12);
        let mut receive = |number| in_flight.received(&payload, &message(&payload, number), 9);
        assert_eq!((receive(1), receive(2), receive(11)), (Verdict::Duplicate, Verdict::Late, Verdict::Late));
    }
}
