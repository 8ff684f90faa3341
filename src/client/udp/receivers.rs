//! Replies of several receivers to each message of a multicast or broadcast.
//!
//! The first reply answers a message. Its replies are then counted per receiver until its reply timeout. Memory is
//! bounded: by the number of receivers, and by the number of answered messages that are remembered.

use super::in_flight::ReplyClass;
use crate::results::{Datagrams, PeerReplies, Receivers};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Maximum number of receivers per worker. Replies of others count as duplicates unless they are the first ones.
const MAX_PEERS: usize = 4096;

/// Bits of a word of a [`PeerSet`].
const WORD_BITS: usize = 64;

/// Receivers of a worker that have answered a message, in the order of their first reply.
#[derive(Debug, Default)]
pub(in crate::client) struct Peers {
    indexes: HashMap<SocketAddr, usize>,
    counts: Vec<PeerCounts>,
    /// Messages whose reply timeout is over.
    ended: Option<Receivers>,
}

/// What one receiver answered. Times are from the send of a message to the arrival of the reply, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct PeerCounts {
    replies: u64,
    missing: u64,
    min_time: u64,
    max_time: u64,
    total_time: u64,
}

impl Peers {
    /// Index of `peer`: that of its replies, or the next free one. `None` when too many have answered.
    pub(in crate::client) fn index_of(&self, peer: SocketAddr) -> Option<usize> {
        let known = self.indexes.get(&peer).copied();
        known.or_else(|| Some(self.counts.len()).filter(|next| *next < MAX_PEERS))
    }

    /// Counts a reply of `peer`, which arrived so many nanoseconds after its message was sent.
    pub(in crate::client) fn replied(&mut self, peer: SocketAddr, service_time: u64) {
        let Some(index) = self.index_of(peer) else { return };
        if index == self.counts.len() {
            self.indexes.insert(peer, index);
            self.counts.push(PeerCounts { min_time: u64::MAX, ..PeerCounts::default() });
        }
        let counts = &mut self.counts[index];
        counts.replies += 1;
        counts.min_time = counts.min_time.min(service_time);
        counts.max_time = counts.max_time.max(service_time);
        counts.total_time = counts.total_time.saturating_add(service_time);
    }

    /// Number of receivers.
    pub(in crate::client) fn count(&self) -> usize {
        self.counts.len()
    }

    /// Counts a message that these receivers have answered, and no other one will.
    pub(super) fn end_message(&mut self, answered: &PeerSet) {
        let (count, known) = (answered.count(), self.count());
        let is_incomplete = count < known;
        if count > 0 {
            let per_message = count as u64;
            let ended = self.ended.get_or_insert(Receivers { min: per_message, ..Receivers::default() });
            ended.min = ended.min.min(per_message);
            ended.max = ended.max.max(per_message);
            ended.incomplete += u64::from(is_incomplete);
        }
        if is_incomplete {
            let missing = self.counts.iter_mut().enumerate().filter(|(index, _)| !answered.contains(*index));
            missing.for_each(|(_, counts)| counts.missing += 1);
        }
    }

    /// Adds the counts to the results.
    pub(in crate::client) fn into_results(self, datagrams: &mut Datagrams) {
        let results = |(peer, index): (SocketAddr, usize)| {
            let PeerCounts { replies, missing, min_time, max_time, total_time } = self.counts[index];
            let mean_ns = total_time / replies.max(1);
            (peer.to_string(), PeerReplies { replies, missing, min_ns: min_time, mean_ns, max_ns: max_time })
        };
        datagrams.peers = self.indexes.into_iter().map(results).collect();
        datagrams.receivers = self.ended;
    }
}

/// Set of receivers, by their indexes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PeerSet {
    first: u64,
    /// Further words; most groups need none.
    others: Vec<u64>,
}

impl PeerSet {
    /// Adds a receiver. Returns whether it was not in the set.
    fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (index / WORD_BITS, 1 << (index % WORD_BITS));
        if word > self.others.len() {
            self.others.resize(word, 0);
        }
        let word = if word == 0 { &mut self.first } else { &mut self.others[word - 1] };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn contains(&self, index: usize) -> bool {
        let word = match index / WORD_BITS {
            0 => self.first,
            word => self.others.get(word - 1).copied().unwrap_or(0),
        };
        word & 1 << (index % WORD_BITS) != 0
    }

    fn count(&self) -> usize {
        self.others.iter().chain([&self.first]).map(|word| word.count_ones() as usize).sum()
    }
}

/// Messages of one socket that were answered, until their reply timeout.
#[derive(Debug)]
pub(super) struct AnsweredMessages {
    messages: BTreeMap<u64, AnsweredMessage>,
    max_messages: usize,
    reply_timeout: u64,
}

#[derive(Debug)]
struct AnsweredMessage {
    sent: u64,
    peers: PeerSet,
}

impl AnsweredMessages {
    /// Remembers up to `max_messages`, each for `reply_timeout` nanoseconds.
    pub(super) fn new(max_messages: usize, reply_timeout: u64) -> Self {
        Self { messages: BTreeMap::new(), max_messages, reply_timeout }
    }

    /// Message `number`, sent at `sent`, got its first reply, from this receiver.
    pub(super) fn insert(&mut self, number: u64, sent: u64, peer: usize) {
        let mut peers = PeerSet::default();
        peers.insert(peer);
        self.messages.insert(number, AnsweredMessage { sent, peers });
    }

    /// Classifies a reply of this receiver to message `number`, which is not in flight.
    pub(super) fn classify(&mut self, number: u64, peer: usize, now: u64) -> ReplyClass {
        match self.messages.get_mut(&number) {
            Some(message) if now <= message.sent.saturating_add(self.reply_timeout) => {
                if message.peers.insert(peer) {
                    ReplyClass::Further { sent: message.sent }
                } else {
                    ReplyClass::Duplicate
                }
            }
            _ => ReplyClass::Late,
        }
    }

    /// Messages from number `first` on that this receiver has not answered, oldest first.
    pub(super) fn unanswered_by(&self, peer: usize, first: u64) -> impl Iterator<Item = u64> {
        let messages = self.messages.range(first..).filter(move |(_, message)| !message.peers.contains(peer));
        messages.map(|(number, _)| *number)
    }

    /// Removes messages sent at or before `last`, and the oldest of too many. Passes the receivers of each to `on_end`.
    pub(super) fn end(&mut self, last: u64, mut on_end: impl FnMut(&PeerSet)) {
        while let Some(oldest) = self.messages.first_entry()
            && (oldest.get().sent <= last || self.messages.len() > self.max_messages)
            && let Some((_, message)) = self.messages.pop_first()
        {
            on_end(&message.peers);
        }
    }

    /// Removes the messages that `known` receivers have answered.
    pub(super) fn end_complete(&mut self, known: usize, mut on_end: impl FnMut(&PeerSet)) {
        self.messages
            .values()
            .filter(|message| message.peers.count() >= known)
            .for_each(|message| on_end(&message.peers));
        self.messages.clear();
    }

    /// When the oldest message was sent.
    pub(super) fn oldest_sent(&self) -> Option<u64> {
        self.messages.first_key_value().map(|(_, message)| message.sent)
    }

    /// Whether `known` receivers have answered every message.
    pub(super) fn are_complete(&self, known: usize) -> bool {
        self.messages.values().all(|message| message.peers.count() >= known)
    }
}

#[cfg(test)]
mod tests {
    use super::{AnsweredMessages, MAX_PEERS, PeerSet, Peers};
    use crate::results::{Datagrams, PeerReplies, Receivers};
    use std::net::SocketAddr;

    fn peer(number: usize) -> SocketAddr {
        let port = u16::try_from(number).expect("a port");
        ([127, 0, 0, 1], port).into()
    }

    fn set(indexes: &[usize]) -> PeerSet {
        let mut set = PeerSet::default();
        for index in indexes {
            assert!(set.insert(*index) && !set.insert(*index));
        }
        set
    }

    #[test]
    fn a_message_lacks_the_replies_of_known_receivers() {
        let mut peers = Peers::default();
        peers.replied(peer(1), 30);
        peers.end_message(&set(&[0]));
        peers.replied(peer(1), 10);
        peers.replied(peer(2), 7);
        peers.end_message(&set(&[0, 1]));
        peers.replied(peer(2), 8);
        peers.end_message(&set(&[1]));
        // Nobody answered: missing, and not counted among the answered messages.
        peers.end_message(&set(&[]));
        let mut datagrams = Datagrams::default();
        peers.into_results(&mut datagrams);
        let one = PeerReplies { replies: 2, missing: 2, min_ns: 10, mean_ns: 20, max_ns: 30 };
        let other = PeerReplies { replies: 2, missing: 1, min_ns: 7, mean_ns: 7, max_ns: 8 };
        assert_eq!(datagrams.peers, [(peer(1).to_string(), one), (peer(2).to_string(), other)].into());
        assert_eq!(datagrams.receivers, Some(Receivers { min: 1, max: 2, incomplete: 1 }));
    }

    #[test]
    fn the_number_of_receivers_is_limited() {
        let mut peers = Peers::default();
        (0..MAX_PEERS).for_each(|number| peers.replied(peer(number), 1));
        assert_eq!((peers.index_of(peer(MAX_PEERS)), peers.index_of(peer(5))), (None, Some(5)));
        peers.replied(peer(MAX_PEERS), 1);
        assert_eq!(peers.count(), MAX_PEERS);
    }

    #[test]
    fn the_number_of_answered_messages_is_limited() {
        let mut answered = AnsweredMessages::new(2, 100);
        (0..5).for_each(|number| answered.insert(number, number, 0));
        let mut ended = 0;
        answered.end(0, |_| ended += 1);
        assert_eq!((ended, answered.oldest_sent()), (3, Some(3)));
        answered.end(3, |_| ended += 1);
        assert_eq!((ended, answered.oldest_sent()), (4, Some(4)));
        answered.end_complete(2, |_| ended += 1);
        assert_eq!((ended, answered.oldest_sent()), (4, None), "another receiver might have answered it");
    }
}
