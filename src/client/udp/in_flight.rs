//! Messages of one UDP socket that are queued or in flight, and classification of replies.
//!
//! Time is an argument, in nanoseconds since the client was created, and no socket is used, so tests can simulate any
//! network.

use crate::client::debt::BatchId;
use crate::client::tcp::in_flight::{MessageTimes, SentGroup};
use crate::client::udp::payload::{Match, Payload};
use crate::client::udp::receivers::{AnsweredMessages, PeerSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// `blocked_until` while the kernel accepts no datagrams.
const NEVER: u64 = u64::MAX;

/// Number of earlier messages searched for the text of a duplicate reply.
const MAX_LOOK_BACK: usize = 1024;

/// Classification of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum ReplyClass {
    /// It answers the message with these times. It is reordered when a later message was answered before (RFC 4737).
    Reply { times: MessageTimes, is_reordered: bool },
    /// It answers a message that has timed out.
    Late,
    /// It answers a message that was already answered.
    Duplicate,
    /// It is the first reply of a further receiver to a message of a multicast or broadcast, sent at this time.
    Further { sent: u64 },
    /// It matches no message. If it names a message in flight, that one has these times and is removed.
    Corrupt(Option<MessageTimes>),
}

/// Plan of one socket.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct SocketPlan {
    /// Number of messages to send.
    pub(in crate::client) total: u64,
    /// Maximum number of messages without a reply.
    pub(in crate::client) pipeline: u64,
    /// Open loop: messages are sent when they are due, not as soon as the pipeline has room.
    pub(in crate::client) is_open_loop: bool,
    /// Number of timed-out messages remembered, to tell late replies from duplicates.
    pub(in crate::client) remembered: usize,
}

/// Messages of one socket.
#[derive(Debug)]
pub(in crate::client) struct UdpInFlight {
    socket: u64,
    plan: SocketPlan,
    /// Number of the next message.
    next: u64,
    /// Messages that are due, from number `next` on: when each was due, and when it was assigned to this socket.
    queued: VecDeque<(u64, u64)>,
    /// Messages in flight by number, which is also the order of sending.
    in_flight: BTreeMap<u64, MessageTimes>,
    /// Until when messages that were due were blocked.
    blocked_until: u64,
    /// Highest number that was answered.
    highest: Option<u64>,
    /// Numbers of the latest timed-out messages.
    timed_out_numbers: BTreeSet<u64>,
    /// Answered messages that further receivers may answer; of a multicast or broadcast only.
    answered: Option<AnsweredMessages>,
    /// A message was not sent, or not answered as expected.
    has_failures: bool,
}

impl UdpInFlight {
    pub(in crate::client) fn new(socket: u64, plan: SocketPlan) -> Self {
        let (in_flight, timed_out_numbers) = (BTreeMap::new(), BTreeSet::new());
        Self {
            socket,
            plan,
            next: 0,
            queued: VecDeque::new(),
            in_flight,
            blocked_until: 0,
            highest: None,
            timed_out_numbers,
            answered: None,
            has_failures: false,
        }
    }

    /// Messages that several receivers answer. They are remembered as `answered` says.
    pub(super) fn to_many(socket: u64, plan: SocketPlan, answered: AnsweredMessages) -> Self {
        Self { answered: Some(answered), ..Self::new(socket, plan) }
    }

    pub(in crate::client) fn socket(&self) -> u64 {
        self.socket
    }

    /// Whether it may be assigned another message.
    pub(in crate::client) fn has_room(&self) -> bool {
        self.next + (self.queued.len() as u64) < self.plan.total
    }

    /// Queues a message that was due at `due`, assigned at `assigned`. Returns whether it is the only one queued.
    pub(in crate::client) fn add(&mut self, due: u64, assigned: u64) -> bool {
        self.queued.push_back((due, assigned));
        self.queued.len() == 1
    }

    /// Number of the next message, and how many may be sent now.
    pub(in crate::client) fn sendable(&self) -> (u64, u64) {
        let places = self.plan.pipeline.saturating_sub(self.in_flight.len() as u64);
        let left = if self.plan.is_open_loop { self.queued.len() as u64 } else { self.plan.total - self.next };
        (self.next, places.min(left))
    }

    /// Records that the next message was sent. It is in flight if a reply is expected, in the batch that `begin` returns. Its
    /// second argument says that the socket buffer had no room before.
    pub(in crate::client) fn sent(
        &mut self,
        now: u64,
        wants_reply: bool,
        begin: impl FnOnce(SentGroup, bool) -> Option<BatchId>,
    ) -> SentGroup {
        let was_full = self.blocked_until == NEVER;
        if was_full {
            self.blocked_until = now;
        }
        let number = self.next;
        let MessageTimes { due, assigned, .. } =
            self.take_next().unwrap_or(MessageTimes { due: now, assigned: now, blocked: 0, sent: None, batch: None });
        let blocked = self.blocked_until.saturating_sub(assigned);
        let group = SentGroup { due, blocked, sent: now, count: 1 };
        if wants_reply {
            let batch = begin(group, was_full);
            self.in_flight.insert(number, MessageTimes { due, assigned, blocked, sent: Some(now), batch });
        }
        group
    }

    /// Records that the next message could not be sent, and will not be. Returns its times, if it was due by a
    /// schedule.
    pub(in crate::client) fn skipped(&mut self) -> Option<MessageTimes> {
        self.has_failures = true;
        self.take_next()
    }

    fn take_next(&mut self) -> Option<MessageTimes> {
        self.next += 1;
        self.queued.pop_front().map(unsent)
    }

    /// The kernel accepts no more datagrams for now.
    pub(in crate::client) fn block(&mut self) {
        self.blocked_until = NEVER;
    }

    /// Removes message `number` from those in flight.
    fn take(&mut self, number: u64, now: u64) -> Option<MessageTimes> {
        let was_full = self.in_flight.len() as u64 >= self.plan.pipeline;
        let times = self.in_flight.remove(&number)?;
        if was_full {
            self.blocked_until = self.blocked_until.max(now);
        }
        Some(times)
    }

    /// Classifies a reply. Those of a multicast or broadcast have the index of their receiver, unless there are too many.
    pub(in crate::client) fn received(
        &mut self,
        payload: &Payload,
        peer: Option<usize>,
        reply: &[u8],
        now: u64,
    ) -> ReplyClass {
        let class = self.classify(payload, peer, reply, now);
        self.has_failures |= matches!(class, ReplyClass::Corrupt(_));
        class
    }

    fn classify(&mut self, payload: &Payload, peer: Option<usize>, reply: &[u8], now: u64) -> ReplyClass {
        let number = match payload.match_reply(self.socket, reply) {
            Match::Correct(number) if number < self.next => number,
            // Another receiver may answer it correctly.
            Match::Damaged(_) | Match::OldestDamaged if self.answered.is_some() => return ReplyClass::Corrupt(None),
            Match::Damaged(number) => return ReplyClass::Corrupt(self.take(number, now)),
            Match::OldestDamaged => {
                let oldest = self.in_flight.first_key_value().map(|(number, _)| *number);
                return ReplyClass::Corrupt(oldest.and_then(|number| self.take(number, now)));
            }
            Match::Correct(_) | Match::None => return ReplyClass::Corrupt(None),
            Match::Oldest => match self.oldest(payload, peer, reply) {
                Ok(number) => number,
                Err(class) => return class,
            },
        };
        if let Some(times) = self.take(number, now) {
            let is_reordered = self.highest.is_some_and(|highest| highest > number);
            self.highest = self.highest.max(Some(number));
            if let (Some(answered), Some(peer), Some(sent)) = (&mut self.answered, peer, times.sent) {
                answered.insert(number, sent, peer);
            }
            return ReplyClass::Reply { times, is_reordered };
        }
        match (&mut self.answered, peer) {
            (Some(answered), Some(peer)) => answered.classify(number, peer, now),
            _ if self.timed_out_numbers.remove(&number) => ReplyClass::Late,
            _ => ReplyClass::Duplicate,
        }
    }

    /// Number of the oldest message that `reply` can answer, or the classification if there is none.
    fn oldest(&mut self, payload: &Payload, peer: Option<usize>, reply: &[u8]) -> Result<u64, ReplyClass> {
        let fits = |number: &u64| payload.is_echo(*number, reply);
        if let Some((answered, peer)) = self.answered.as_ref().zip(peer)
            && let first = self.next.saturating_sub(MAX_LOOK_BACK as u64)
            && let Some(number) = answered.unanswered_by(peer, first).find(fits)
            && self.in_flight.keys().find(|number| fits(number)).is_none_or(|in_flight| number < *in_flight)
        {
            return Ok(number);
        }
        let (in_flight, timed_out_numbers) = (self.in_flight.keys().copied(), self.timed_out_numbers.iter().copied());
        if let Some(number) = in_flight.chain(timed_out_numbers).find(fits) {
            return Ok(number);
        }
        // Equal texts follow each other closely; older messages need not be searched.
        let before = (0..self.next).rev().take(MAX_LOOK_BACK).find(fits);
        Err(if before.is_some() { ReplyClass::Duplicate } else { ReplyClass::Corrupt(None) })
    }

    /// Removes messages sent at or before `last` as timed out, and passes the times of each to `on_timed_out`.
    pub(in crate::client) fn expire(&mut self, last: u64, now: u64, mut on_timed_out: impl FnMut(MessageTimes)) {
        while let Some((&number, times)) = self.in_flight.first_key_value()
            && times.sent <= Some(last)
        {
            self.take(number, now).into_iter().for_each(&mut on_timed_out);
            self.mark_timed_out(number);
        }
    }

    fn mark_timed_out(&mut self, number: u64) {
        self.has_failures = true;
        self.timed_out_numbers.insert(number);
        if self.timed_out_numbers.len() > self.plan.remembered {
            self.timed_out_numbers.pop_first();
        }
    }

    /// Forgets answered messages sent at or before `last`, and passes the receivers of each to `on_end`.
    pub(super) fn end_answered(&mut self, last: u64, on_end: impl FnMut(&PeerSet)) {
        if let Some(answered) = &mut self.answered {
            answered.end(last, on_end);
        }
    }

    /// Forgets all answered messages, and passes the receivers of those that `known` receivers have answered to `on_end`.
    pub(super) fn end_complete(&mut self, known: usize, on_end: impl FnMut(&PeerSet)) {
        if let Some(answered) = &mut self.answered {
            answered.end_complete(known, on_end);
        }
    }

    /// Whether any of `known` receivers may still answer a message that another one has answered.
    pub(super) fn awaits_receivers(&self, known: usize) -> bool {
        self.answered.as_ref().is_some_and(|answered| !answered.are_complete(known))
    }

    /// When the oldest message was sent that may still be answered.
    pub(in crate::client) fn oldest_sent(&self) -> Option<u64> {
        let in_flight = self.in_flight.first_key_value().and_then(|(_, times)| times.sent);
        let answered = self.answered.as_ref().and_then(AnsweredMessages::oldest_sent);
        in_flight.into_iter().chain(answered).min()
    }

    /// Whether no message is in flight.
    pub(in crate::client) fn has_none_in_flight(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether every message was sent, and answered or given up.
    pub(in crate::client) fn is_done(&self) -> bool {
        self.next == self.plan.total && self.has_none_in_flight()
    }

    /// Whether every message was sent, and answered as expected. With `is_timed`, the time may be over before all are
    /// sent.
    pub(in crate::client) fn is_complete(&self, is_timed: bool) -> bool {
        let is_whole = self.next == self.plan.total || is_timed;
        is_whole && !self.has_failures && self.has_none_in_flight()
    }

    /// Times of each message that was not sent or has no reply.
    pub(in crate::client) fn unanswered(&self) -> impl Iterator<Item = MessageTimes> {
        self.in_flight.values().copied().chain(self.queued.iter().copied().map(unsent))
    }
}

fn unsent((due, assigned): (u64, u64)) -> MessageTimes {
    MessageTimes { due, assigned, blocked: 0, sent: None, batch: None }
}

#[cfg(test)]
mod tests {
    use super::{ReplyClass, SocketPlan, UdpInFlight};
    use crate::client::tcp::in_flight::{MessageTimes, SentGroup};
    use crate::client::udp::payload::Payload;
    use crate::client::udp::receivers::AnsweredMessages;
    use crate::client::{ClientConfig, Expect};
    use crate::socket::Endpoint;

    fn payload(change: impl Fn(&mut ClientConfig)) -> Payload {
        let mut config = ClientConfig::to(Endpoint::tcp("127.0.0.1", 1));
        change(&mut config);
        Payload::new(&config, &config.messages.clone().into())
    }

    fn message(payload: &Payload, number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        payload.write(7, number, &mut bytes);
        bytes
    }

    fn plan(total: u64, pipeline: u64, is_open_loop: bool) -> SocketPlan {
        SocketPlan { total, pipeline, is_open_loop, remembered: 10 }
    }

    /// A socket that has sent `count` messages at these times.
    fn in_flight(count: u64, sent: impl Fn(u64) -> u64) -> UdpInFlight {
        let mut in_flight = UdpInFlight::new(7, plan(count, count, false));
        (0..count).for_each(|number| _ = in_flight.sent(sent(number), true, |_, _| None));
        in_flight
    }

    /// Number of messages that expired.
    fn expire(in_flight: &mut UdpInFlight, last: u64) -> usize {
        let mut count = 0;
        in_flight.expire(last, last, |_| count += 1);
        count
    }

    /// Times of a closed-loop message sent at `now`.
    fn sent_at(now: u64) -> MessageTimes {
        MessageTimes { due: now, assigned: now, blocked: 0, sent: Some(now), batch: None }
    }

    fn is_answer(class: ReplyClass, reordered: bool) -> bool {
        matches!(class, ReplyClass::Reply { is_reordered, .. } if is_reordered == reordered)
    }

    #[test]
    fn tags_identify_every_reply() {
        let payload = payload(|config| config.size = Some(100));
        let mut in_flight = in_flight(5, |number| number);
        let reply = |number| message(&payload, number);
        let mut receive = |bytes: &[u8]| in_flight.received(&payload, None, bytes, 9);
        assert_eq!(reply(3).len(), 100);
        assert!(is_answer(receive(&reply(0)), false));
        assert_eq!(receive(&reply(3)), ReplyClass::Reply { times: sent_at(3), is_reordered: false });
        assert!(is_answer(receive(&reply(1)), true));
        assert_eq!(receive(&reply(3)), ReplyClass::Duplicate);
        assert_eq!(receive(&reply(5)), ReplyClass::Corrupt(None), "message 5 was never sent");
        assert_eq!(receive(b"short"), ReplyClass::Corrupt(None));
        let mut damaged = reply(4);
        damaged[99] ^= 1;
        assert_eq!(receive(&damaged), ReplyClass::Corrupt(Some(sent_at(4))));
        assert_eq!(receive(&damaged), ReplyClass::Corrupt(None));
        assert_eq!(expire(&mut in_flight, 1), 0);
        assert_eq!(expire(&mut in_flight, 9), 1, "message 2, and not the damaged one");
        assert!(in_flight.is_done());
        assert_eq!(in_flight.received(&payload, None, &reply(2), 9), ReplyClass::Late);
        assert_eq!(in_flight.received(&payload, None, &reply(2), 9), ReplyClass::Duplicate);
    }

    #[test]
    fn a_reply_to_another_socket_is_corrupt() {
        let payload = payload(|config| config.size = Some(16));
        let mut other = Vec::new();
        payload.write(8, 0, &mut other);
        assert_eq!(in_flight(1, |_| 0).received(&payload, None, &other, 9), ReplyClass::Corrupt(None));
    }

    #[test]
    fn equal_texts_answer_the_oldest_message() {
        let payload = payload(|config| config.messages = vec![b"a".into(), b"b".into()]);
        let mut in_flight = in_flight(4, |_| 0);
        let mut receive = |bytes: &[u8]| in_flight.received(&payload, None, bytes, 9);
        assert!(is_answer(receive(b"b"), false), "message 1");
        assert!(is_answer(receive(b"a"), true), "message 0");
        assert!(is_answer(receive(b"a"), false), "message 2");
        assert_eq!(receive(b"a"), ReplyClass::Duplicate);
        assert_eq!(receive(b"c"), ReplyClass::Corrupt(None));
        assert!(is_answer(receive(b"b"), false), "message 3");
        assert!(in_flight.is_done());
    }

    #[test]
    fn any_datagram_is_a_reply_where_any_is_expected() {
        let payload = payload(|config| config.expect = Expect::Any);
        let mut in_flight = in_flight(2, |_| 0);
        let mut receive = |bytes: &[u8]| in_flight.received(&payload, None, bytes, 9);
        assert!(is_answer(receive(b"Message received"), false) && is_answer(receive(b""), false));
        assert_eq!(receive(b"more"), ReplyClass::Duplicate);
    }

    #[test]
    fn a_timed_out_message_frees_its_place_in_the_pipeline() {
        let mut in_flight = UdpInFlight::new(7, plan(10, 2, false));
        assert_eq!(in_flight.sendable(), (0, 2));
        assert_eq!(
            (in_flight.sent(100, true, |_, _| None).due, in_flight.sent(150, true, |_, _| None).due),
            (100, 150)
        );
        assert_eq!((in_flight.sendable(), in_flight.oldest_sent()), ((2, 0), Some(100)));
        assert_eq!(expire(&mut in_flight, 100), 1);
        assert_eq!((in_flight.sendable(), in_flight.oldest_sent()), ((2, 1), Some(150)));
        assert_eq!((expire(&mut in_flight, u64::MAX), in_flight.sendable()), (1, (2, 2)));
    }

    #[test]
    fn due_messages_wait_for_the_pipeline_and_keep_their_times() {
        let payload = payload(|config| config.size = Some(16));
        let mut in_flight = UdpInFlight::new(7, plan(5, 2, true));
        assert_eq!(in_flight.sendable(), (0, 0), "nothing is due");
        assert!(in_flight.add(10, 11) && !in_flight.add(20, 21) && !in_flight.add(30, 31) && !in_flight.add(40, 41));
        assert_eq!(in_flight.sendable(), (0, 2));
        let sent_group = |due, blocked, sent| SentGroup { due, blocked, sent, count: 1 };
        assert_eq!(
            [in_flight.sent(50, true, |_, _| None), in_flight.sent(51, true, |_, _| None)],
            [sent_group(10, 0, 50), sent_group(20, 0, 51)]
        );
        assert_eq!((in_flight.sendable(), in_flight.has_room()), ((2, 0), true));
        let times = MessageTimes { due: 10, assigned: 11, blocked: 0, sent: Some(50), batch: None };
        let class = in_flight.received(&payload, None, &message(&payload, 0), 60);
        assert_eq!(class, ReplyClass::Reply { times, is_reordered: false });
        assert_eq!((in_flight.sendable(), in_flight.sent(62, true, |_, _| None)), ((2, 1), sent_group(30, 29, 62)));
        in_flight.expire(u64::MAX, 70, |_| ());
        // The kernel did not accept it either.
        in_flight.block();
        assert_eq!(in_flight.sent(80, true, |_, _| None), sent_group(40, 39, 80));
        assert!(
            in_flight.add(90, 91) && !in_flight.has_room() && !in_flight.has_none_in_flight() && !in_flight.is_done()
        );
        assert_eq!(in_flight.unanswered().map(|times| times.due).collect::<Vec<_>>(), [40, 90]);
        assert_eq!(
            in_flight.skipped(),
            Some(MessageTimes { due: 90, assigned: 91, blocked: 0, sent: None, batch: None })
        );
    }

    /// A socket of a multicast that has sent `count` messages at these times, with a reply timeout of 100.
    fn to_many(count: u64, sent: impl Fn(u64) -> u64) -> UdpInFlight {
        let mut in_flight = UdpInFlight::to_many(7, plan(count, count, false), AnsweredMessages::new(3, 100));
        (0..count).for_each(|number| _ = in_flight.sent(sent(number), true, |_, _| None));
        in_flight
    }

    #[test]
    fn each_receiver_answers_a_message_once() {
        let payload = payload(|config| config.size = Some(16));
        let mut in_flight = to_many(3, |number| number);
        let reply = |number| message(&payload, number);
        let mut receive = |peer, number, now| in_flight.received(&payload, Some(peer), &reply(number), now);
        assert!(is_answer(receive(0, 0, 9), false));
        assert_eq!(receive(1, 0, 9), ReplyClass::Further { sent: 0 });
        assert_eq!(receive(100, 0, 9), ReplyClass::Further { sent: 0 }, "indexes of further words");
        for peer in [0, 1, 100] {
            assert_eq!(receive(peer, 0, 9), ReplyClass::Duplicate);
        }
        assert!(is_answer(receive(1, 2, 9), false) && is_answer(receive(100, 1, 101), true));
        assert_eq!(receive(2, 2, 102), ReplyClass::Further { sent: 2 });
        assert_eq!(receive(3, 2, 103), ReplyClass::Late, "after its reply timeout");
        let mut damaged = reply(2);
        damaged[0] ^= 1;
        assert_eq!(in_flight.received(&payload, Some(1), &damaged, 9), ReplyClass::Corrupt(None));
        assert!(in_flight.is_done() && in_flight.awaits_receivers(4) && !in_flight.awaits_receivers(1));
        assert_eq!(in_flight.oldest_sent(), Some(0));
    }

    #[test]
    fn a_damaged_reply_leaves_a_multicast_to_other_receivers() {
        let payload = payload(|config| config.size = Some(20));
        let mut in_flight = to_many(1, |_| 0);
        let mut damaged = message(&payload, 0);
        damaged[19] ^= 1;
        assert_eq!(in_flight.received(&payload, Some(0), &damaged, 9), ReplyClass::Corrupt(None));
        assert!(is_answer(in_flight.received(&payload, Some(1), &message(&payload, 0), 9), false));
    }

    #[test]
    fn texts_answer_the_oldest_message_that_their_receiver_has_not_answered() {
        let payload = payload(|config| config.messages = vec![b"a".into(), b"b".into()]);
        let mut in_flight = to_many(4, |number| number);
        let mut receive = |peer, text: &[u8]| in_flight.received(&payload, Some(peer), text, 9);
        assert!(is_answer(receive(0, b"a"), false) && is_answer(receive(0, b"a"), false), "messages 0 and 2");
        assert_eq!(receive(0, b"a"), ReplyClass::Duplicate);
        assert_eq!(
            (receive(1, b"a"), receive(1, b"a")),
            (ReplyClass::Further { sent: 0 }, ReplyClass::Further { sent: 2 })
        );
        assert!(is_answer(receive(1, b"b"), true), "message 1");
        assert_eq!(receive(0, b"b"), ReplyClass::Further { sent: 1 });
        assert_eq!(receive(0, b"c"), ReplyClass::Corrupt(None));
    }

    #[test]
    fn the_planned_number_of_timed_out_messages_is_remembered() {
        let payload = payload(|config| config.size = Some(16));
        let mut in_flight = in_flight(12, |_| 0);
        assert_eq!(expire(&mut in_flight, 0), 12);
        let mut receive = |number| in_flight.received(&payload, None, &message(&payload, number), 9);
        assert_eq!((receive(1), receive(2), receive(11)), (ReplyClass::Duplicate, ReplyClass::Late, ReplyClass::Late));
    }
}
