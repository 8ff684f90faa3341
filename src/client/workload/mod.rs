//! The client's service: it sends the messages, and checks what comes back. What that must be is a matter of its own: an
//! expectation looks at the bytes that came and says how many of them are right.

mod any;
mod echo;
mod search;

pub(super) use search::buffer_bytes;

use super::expect::Ending;
use super::report::{Failure, WrongAnswer};
use super::{Expect, Recorder, Shared};
use crate::codec::message::MessageDecoder;
use crate::codec::{Decoder, Framing};
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use search::Answers;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all connections of a worker have to do.
#[derive(Debug)]
pub(super) struct Job {
    messages: Arc<[Vec<u8>]>,
    total: u64,
    pipeline: u64,
    reply_timeout: Duration,
    expect: Expect,
    framing: Option<Framing>,
    buffer_bytes: usize,
    ending: Ending,
    /// Connections that are done stay open until this is unset.
    pub(super) holding: Cell<bool>,
    pub(super) recorder: RefCell<Recorder>,
    /// What is known of the answers, if the messages are requests.
    answers: Option<Answers>,
}

impl Job {
    pub(super) fn new(shared: &Shared, recorder: Recorder) -> Self {
        let config = &shared.config;
        Self {
            messages: Arc::clone(&shared.messages),
            total: config.messages_per_connection.unwrap_or(shared.messages.len() as u64),
            pipeline: config.pipeline.unwrap_or(u64::MAX),
            reply_timeout: config.reply_timeout,
            expect: config.expect,
            framing: config.framing,
            buffer_bytes: config.buffer_bytes,
            ending: Ending::of(config),
            holding: Cell::new(config.hold.is_some()),
            recorder: RefCell::new(recorder),
            answers: (!shared.requests.is_empty()).then(|| Answers::new(Arc::clone(&shared.requests))),
        }
    }

    /// What was written down in the end.
    pub(super) fn into_recorder(self) -> Recorder {
        let mut recorder = self.recorder.into_inner();
        recorder.answers = self.answers.map(Answers::into_counts).unwrap_or_default();
        recorder
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

/// What the first of the bytes that came are.
enum Checked {
    /// So many of them are right, and they may be the last ones of what comes back for a message.
    Right { bytes: usize, ends_message: bool },
    /// More must come before that can be said.
    Incomplete,
}

/// What must come back for a message, with what one connection knows about it.
#[derive(Debug)]
enum Expectation {
    /// The same bytes.
    Echo,
    /// An answer of the message protocol, and the right one.
    Answer(MessageDecoder),
    /// Some frame.
    Frame(Decoder),
    /// Some bytes: whatever comes answers all that was sent before.
    Stream,
    /// Some bytes, up to the server's end, which are the one answer.
    UntilEnd,
    /// Nothing; what comes is ignored.
    Nothing,
}

impl Expectation {
    fn of(job: &Job) -> Self {
        if let Some(answers) = &job.answers {
            return Self::Answer(answers.decoder());
        }
        match (job.expect, job.framing) {
            (Expect::Echo, _) => Self::Echo,
            (Expect::Nothing, _) => Self::Nothing,
            (Expect::Any, None) => Self::Stream,
            (Expect::Any, Some(Framing::UntilEnd)) => Self::UntilEnd,
            (Expect::Any, Some(framing)) => Self::Frame(Decoder::new(framing, job.buffer_bytes)),
        }
    }
}

/// How the conversation of one connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// For every message came what had to come.
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
    /// What came back and was right. Of answers that are no echo, the whole ones count.
    verified: Place,
    expectation: Expectation,
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
        let expectation = Expectation::of(&job);
        Self { job, number, sent, verified, expectation, in_flight, progress: now, outcome: None }
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What became of it, now that the conversation has ended for `reason`. One that is only held has done its work.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> Outcome {
        match self.outcome {
            Some(outcome) => outcome,
            None if reason == CloseReason::Stopped && self.is_complete() => Outcome::Verified,
            None => Outcome::Failed(self.cut_short(Failure::of_close(reason))),
        }
    }

    /// The failure behind an end that looks like `failure`. A server that is asked again may serve one message per
    /// connection, as the tutorial's does.
    fn cut_short(&self, failure: Failure) -> Failure {
        let asks = self.job.answers.is_some() && self.job.total > 1 && self.verified.messages <= 1;
        let is_cut = matches!(failure, Failure::ClosedEarly | Failure::Reset);
        if asks && is_cut { Failure::NotKept } else { failure }
    }

    /// Whether everything came back that was expected to, but for the server's end.
    fn is_complete(&self) -> bool {
        let place = if self.expects_nothing() { self.sent } else { self.verified };
        place.messages == self.job.total
    }

    fn expects_nothing(&self) -> bool {
        matches!(self.expectation, Expectation::Nothing)
    }

    /// Checks what came in.
    fn verify(&mut self, input: &mut Input<'_>, now: Instant) -> Result<(), Failure> {
        while !input.is_empty() {
            match self.check(input.bytes(), input.has_ended())? {
                Checked::Incomplete => break,
                Checked::Right { bytes, ends_message } => {
                    input.consume(bytes);
                    if !self.expects_nothing() {
                        self.progress = now;
                    }
                    self.verified.bytes += bytes;
                    self.job.recorder.borrow_mut().verified_bytes += bytes as u64;
                    if ends_message {
                        self.answered(now);
                    }
                }
            }
        }
        // Where nothing tells answers apart, what has come answers all that was sent.
        let answers_all = match self.expectation {
            Expectation::Stream => std::mem::take(&mut self.verified.bytes) > 0,
            Expectation::UntilEnd => input.has_ended() && self.verified.bytes > 0,
            _ => false,
        };
        while answers_all && self.verified.messages < self.sent.messages {
            self.answered(now);
        }
        Ok(())
    }

    /// One more message was answered.
    fn answered(&mut self, now: Instant) {
        self.verified = Place { messages: self.verified.messages + 1, bytes: 0 };
        if let Some((sent, count)) = self.in_flight.front_mut() {
            self.job.recorder.borrow_mut().round_trip(now.saturating_duration_since(*sent));
            *count -= 1;
            if *count == 0 {
                self.in_flight.pop_front();
            }
        }
    }

    /// Looks at the first of the bytes that came.
    fn check(&mut self, received: &[u8], has_ended: bool) -> Result<Checked, Failure> {
        let job = &*self.job;
        let number = self.verified.messages;
        let wrong = |words| WrongAnswer { connection: self.number, answer: number + 1, words };
        match (&mut self.expectation, &job.answers) {
            (Expectation::Answer(decoder), Some(answers)) => {
                let checked = if number < self.sent.messages {
                    answers.check((self.number, number), decoder, received)
                } else {
                    Err("nobody had asked for it".to_owned())
                };
                checked.map_err(|words| {
                    job.recorder.borrow_mut().wrong_answer(wrong(words));
                    Failure::WrongAnswer
                })
            }
            (Expectation::Frame(decoder), _) => {
                let asked = number < self.sent.messages;
                any::check_frame(self.number, decoder, (received, has_ended), asked).map_err(|(failure, words)| {
                    job.recorder.borrow_mut().wrong_answer(wrong(words));
                    failure
                })
            }
            (Expectation::Stream | Expectation::UntilEnd | Expectation::Nothing, _) => {
                Ok(any::take_all(self.number, received))
            }
            _ => echo::check(job, self.number, (self.verified, self.sent), received).map_err(|mismatch| {
                job.recorder.borrow_mut().mismatch(mismatch);
                Failure::Mismatch
            }),
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
            // What nobody answers is in flight for ever.
            if self.sent.bytes == 0 && !self.expects_nothing() {
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

    /// Shuts our half, where that is how a message ends, or the work.
    fn end_output(&mut self, output: &mut Output<'_>, now: Instant) {
        let is_due = match self.job.ending {
            Ending::Never => false,
            Ending::WithMessage => self.sent.messages == self.job.total,
            Ending::WhenDone => self.is_complete() && !self.job.holding.get(),
        };
        if is_due && !output.has_ended() {
            self.progress = now;
            output.end();
        }
    }

    fn await_answer(&mut self, now: Instant) -> Wait {
        let reply_due = self.progress + self.job.reply_timeout;
        let awaits = !self.in_flight.is_empty() || self.expects_nothing() || self.is_complete();
        if awaits && reply_due <= now {
            return self.end(Outcome::Failed(Failure::ReplyTimeout));
        }
        Wait::Until(reply_due)
    }

    fn end(&mut self, outcome: Outcome) -> Wait {
        self.outcome = Some(outcome);
        Wait::Nothing
    }
}

impl Service for Workload {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        if let Err(failure) = self.verify(input, now) {
            return self.end(Outcome::Failed(failure));
        }
        if !self.is_complete() && !input.has_ended() {
            self.send(output, now);
        }
        self.end_output(output, now);
        if self.is_complete() {
            if output.has_ended() && !input.has_ended() {
                return self.await_answer(now);
            }
            if output.has_ended() || !self.job.holding.get() {
                return self.end(Outcome::Verified);
            }
        } else if !input.has_ended() {
            return self.await_answer(now);
        }
        if input.has_ended() { self.end(Outcome::Failed(self.cut_short(Failure::ClosedEarly))) } else { Wait::Input }
    }
}
