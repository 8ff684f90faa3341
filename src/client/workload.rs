//! The client's service: it sends the messages, and checks that exactly their bytes come back.

use super::report::{Failure, Mismatch};
use super::{Recorder, Shared};
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many bytes a mismatch shows of what was expected and of what came.
const SHOWN_BYTES: usize = 16;

/// What all connections of a worker have to do.
#[derive(Debug)]
pub(super) struct Job {
    messages: Arc<[Vec<u8>]>,
    total: u64,
    pipeline: u64,
    reply_timeout: Duration,
    /// Connections that are done stay open until this is unset.
    pub(super) holding: Cell<bool>,
    pub(super) recorder: RefCell<Recorder>,
}

impl Job {
    pub(super) fn new(shared: &Shared, recorder: Recorder) -> Self {
        let config = &shared.config;
        Self {
            messages: Arc::clone(&shared.messages),
            total: config.messages_per_connection.unwrap_or(shared.messages.len() as u64),
            pipeline: config.pipeline.unwrap_or(u64::MAX),
            reply_timeout: config.reply_timeout,
            holding: Cell::new(config.hold.is_some()),
            recorder: RefCell::new(recorder),
        }
    }

    fn message(&self, number: u64) -> &[u8] {
        // The remainder is an index into a vector.
        #[allow(clippy::cast_possible_truncation)]
        let index = (number % self.messages.len() as u64) as usize;
        &self.messages[index]
    }
}

/// A place in the stream of messages: so many whole ones, and so many bytes of the next.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    messages: u64,
    bytes: usize,
}

/// How the conversation of one connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every message came back as it was sent.
    Verified,
    /// It did not.
    Failed(Failure),
}

/// One connection's work.
#[derive(Debug)]
pub(super) struct Workload {
    job: Rc<Job>,
    number: usize,
    sent: Place,
    verified: Place,
    /// When the messages on their way were handed over for sending: so many at once. Of a server that reads and never
    /// answers there can be millions, and a time for each would be more than the messages themselves.
    in_flight: VecDeque<(Instant, u64)>,
    /// When a reply last came, or was first waited for.
    progress: Instant,
    outcome: Option<Outcome>,
}

impl Workload {
    pub(super) fn new(job: Rc<Job>, number: usize, now: Instant) -> Self {
        let in_flight = VecDeque::new();
        let (sent, verified) = (Place::default(), Place::default());
        Self { job, number, sent, verified, in_flight, progress: now, outcome: None }
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What became of it, now that the conversation has ended for `reason`. One that is only held has done its work.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> Outcome {
        match self.outcome {
            Some(outcome) => outcome,
            None if reason == CloseReason::Stopped && self.verified.messages == self.job.total => Outcome::Verified,
            None => Outcome::Failed(Failure::of_close(reason)),
        }
    }

    /// Checks what came in; false when it is not what was sent.
    fn verify(&mut self, input: &mut Input<'_>, now: Instant) -> bool {
        let mut recorder = self.job.recorder.borrow_mut();
        while !input.is_empty() {
            let received = input.bytes();
            let message = self.job.message(self.verified.messages);
            // Bytes that were not sent yet cannot come back.
            let on_its_way = self.verified.messages < self.sent.messages;
            let sent = if on_its_way { message.len() } else { self.sent.bytes };
            let expected = &message[self.verified.bytes..sent];
            let count = expected.len().min(received.len());
            if count == 0 || expected[..count] != received[..count] {
                recorder.mismatch(self.find_mismatch(expected, received));
                return false;
            }
            input.consume(count);
            recorder.verified_bytes += count as u64;
            self.verified.bytes += count;
            self.progress = now;
            if self.verified.bytes == message.len() {
                self.verified = Place { messages: self.verified.messages + 1, bytes: 0 };
                if let Some((sent, count)) = self.in_flight.front_mut() {
                    recorder.round_trip(now.saturating_duration_since(*sent));
                    *count -= 1;
                    if *count == 0 {
                        self.in_flight.pop_front();
                    }
                }
            }
        }
        true
    }

    fn find_mismatch(&self, expected: &[u8], received: &[u8]) -> Mismatch {
        let same = expected.iter().zip(received).take_while(|(expected, received)| expected == received).count();
        let shown = |bytes: &[u8]| bytes[same..bytes.len().min(same + SHOWN_BYTES)].to_vec();
        let messages = &self.job.messages;
        let round: u64 = messages.iter().map(|message| message.len() as u64).sum();
        let rounds = self.verified.messages / messages.len() as u64;
        let rest = (rounds * messages.len() as u64..self.verified.messages).map(|n| self.job.message(n).len() as u64);
        Mismatch {
            connection: self.number,
            offset: rounds * round + rest.sum::<u64>() + (self.verified.bytes + same) as u64,
            expected: shown(expected),
            received: shown(received),
        }
    }

    /// Sends what may be sent, as far as there is room.
    fn send(&mut self, output: &mut Output<'_>, now: Instant) {
        let recorder = self.job.recorder.borrow();
        let may_send = |place: Place, verified: Place| {
            place.messages < self.job.total && place.messages - verified.messages < self.job.pipeline
        };
        while output.room() > 0 && may_send(self.sent, self.verified) {
            if self.in_flight.is_empty() {
                self.progress = now;
            }
            if self.sent.bytes == 0 {
                match self.in_flight.back_mut() {
                    Some((sent, count)) if *sent == now => *count += 1,
                    _ => self.in_flight.push_back((now, 1)),
                }
            }
            let message = self.job.message(self.sent.messages);
            self.sent.bytes += output.write(&message[self.sent.bytes..]);
            if self.sent.bytes == message.len() {
                self.sent = Place { messages: self.sent.messages + 1, bytes: 0 };
                recorder.progress.messages_sent.add(1);
            }
        }
    }

    fn end(&mut self, outcome: Outcome) -> Wait {
        self.outcome = Some(outcome);
        Wait::Nothing
    }
}

impl Service for Workload {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        if !self.verify(input, now) {
            return self.end(Outcome::Failed(Failure::Mismatch));
        }
        if self.verified.messages == self.job.total {
            if !self.job.holding.get() {
                return self.end(Outcome::Verified);
            }
        } else if !input.has_ended() {
            self.send(output, now);
            let reply_due = self.progress + self.job.reply_timeout;
            if !self.in_flight.is_empty() && reply_due <= now {
                return self.end(Outcome::Failed(Failure::ReplyTimeout));
            }
            return Wait::Until(reply_due);
        }
        if input.has_ended() { self.end(Outcome::Failed(Failure::ClosedEarly)) } else { Wait::Input }
    }
}
