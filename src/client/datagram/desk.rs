//! What one worker does with a socket that has its turn: takes what came, gives up what is lost, sends what may be sent.

use super::flight::Flight;
use super::runner::Entry;
use super::{Expect, Recorder, Shared};
use crate::client::Failure;
use crate::client::clock::nanos;
use crate::client::workload::Phase;
use crate::repr::BytesRepr;
use crate::socket::{Inbox, Outbox};
use std::io::ErrorKind;
use std::time::Instant;

/// How many messages one call sends, and how many calls to send, or to receive, one turn makes.
const MESSAGES_PER_CALL: u64 = 64;
const CALLS_PER_TURN: usize = 4;

/// What a turn needs besides its socket.
pub(super) struct Desk<'a> {
    shared: &'a Shared,
    pub(super) recorder: Recorder,
    /// How far the load has come.
    pub(super) phase: Phase,
    inbox: Inbox,
    outbox: Outbox,
}

impl<'a> Desk<'a> {
    pub(super) fn new(shared: &'a Shared, recorder: Recorder) -> Self {
        let phase = if shared.config.load.begins_together() { Phase::Waiting } else { Phase::Sending };
        Self { shared, recorder, phase, inbox: Inbox::new(), outbox: Outbox::default() }
    }

    pub(super) fn now(&self) -> u64 {
        self.shared.clock.nanos(Instant::now())
    }

    fn wants_reply(&self) -> bool {
        self.shared.config.expect != Expect::Nothing
    }

    /// How many messages of a socket may be sent now.
    pub(super) fn sendable(&self, flight: &Flight) -> u64 {
        if self.phase == Phase::Sending { flight.sendable().1 } else { 0 }
    }

    /// Whether a socket has nothing more to send, and nothing to wait for.
    pub(super) fn is_done(&self, flight: &Flight) -> bool {
        flight.is_done() || (self.phase == Phase::Ending && flight.is_quiet())
    }

    /// When the oldest message without a reply is lost.
    pub(super) fn deadline(&self, flight: &Flight) -> Option<Instant> {
        let timeout = nanos(self.shared.config.reply_timeout);
        flight.oldest_sent().map(|sent| self.shared.clock.instant(sent.saturating_add(timeout)))
    }

    /// Gives up what was sent too long ago.
    pub(super) fn expire(&mut self, entry: &mut Entry) {
        let now = self.now();
        if let Some(last) = now.checked_sub(nanos(self.shared.config.reply_timeout)) {
            entry.flight.expire(last, now, |times| self.recorder.lost(times, now));
        }
    }

    /// Takes what came; returns whether there may be more.
    pub(super) fn receive(&mut self, entry: &mut Entry) -> bool {
        for _ in 0..CALLS_PER_TURN {
            match self.inbox.receive(&entry.socket) {
                // Even a short batch may have been ended by an error, which the next call tells.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => {
                    log::debug!("Socket {}: {}", entry.flight.socket(), crate::error::in_words(&error));
                    self.refuse(&mut entry.flight);
                    continue;
                }
            }
            let now = self.now();
            let socket = entry.flight.socket();
            for arrival in self.inbox.arrivals() {
                log::trace!("Received {} on socket {socket} from {}", BytesRepr(arrival.bytes), arrival.peer);
                // What comes where nothing is expected is ignored: it is neither doubled nor corrupt.
                if self.wants_reply() {
                    let verdict = entry.flight.received(&self.shared.payload, arrival.bytes, now);
                    self.recorder.received(verdict, socket, arrival.bytes, now);
                }
                if entry.to.is_some() {
                    self.recorder.answered_by(arrival.peer);
                }
            }
        }
        true
    }

    /// Nobody listens there: gives up all that waits.
    fn refuse(&mut self, flight: &mut Flight) {
        let now = self.now();
        flight.expire(u64::MAX, now, |times| self.recorder.refused(times, now));
    }

    /// Sends what may be sent. Returns whether the socket has no room for the rest: then an event will tell.
    pub(super) fn send(&mut self, entry: &mut Entry) -> bool {
        for _ in 0..CALLS_PER_TURN {
            match self.sendable(&entry.flight) {
                0 => return false,
                count if self.send_some(entry, count.min(MESSAGES_PER_CALL)) => {}
                _ => return true,
            }
        }
        false
    }

    /// Sends `count` messages, as far as the socket takes them; returns whether it took all.
    fn send_some(&mut self, entry: &mut Entry, count: u64) -> bool {
        let ((first, _), socket) = (entry.flight.sendable(), entry.flight.socket());
        self.outbox.clear();
        for number in first..first + count {
            self.outbox.add(entry.to, None, None, |bytes| {
                self.shared.payload.write(socket, number, bytes);
                true
            });
        }
        let now = self.now();
        let wants_reply = self.wants_reply();
        let Entry { socket: descriptor, flight, .. } = entry;
        let (outbox, recorder) = (&self.outbox, &mut self.recorder);
        let done = outbox.send(descriptor, |letter, result| match result {
            Ok(()) => {
                log::trace!("Sending {} on socket {socket}", BytesRepr(outbox.bytes(letter)));
                recorder.sent(flight.sent(now, wants_reply), letter.len());
            }
            Err(error) => {
                // What the system heard of those before.
                flight.expire(u64::MAX, now, |times| recorder.refused(times, now));
                recorder.not_sent(flight.skipped(), now, Failure::of_connect(&error));
            }
        });
        let is_all = done == outbox.letters().len();
        if !is_all {
            flight.block();
        }
        is_all
    }
}
