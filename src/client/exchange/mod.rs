//! The client's service: it sends the messages, and checks what comes back. What that must be is a matter of its own: an
//! expectation looks at the bytes that came and says how many of them are right.

mod any;
mod echo;
mod expectation;
mod plan;
mod search;
mod sending;

pub(super) use plan::{HandedOver, LoadPhase, Plan};
pub(super) use search::buffer_bytes;

use super::clock::nanos;
use super::expect::HalfClose;
use super::failure::Failure;
use super::in_flight::{InFlight, MessageTimes};
use super::pattern::Pattern;
use super::report::WrongAnswer;
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use crate::units::format_counted;
use expectation::{Checked, Expectation};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a server may take to end after our half was shut. Until then, whatever comes is checked.
const LINGER: Duration = Duration::from_secs(5);

/// A place in the stream of messages: so many whole ones, and so many bytes of the next.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    messages: u64,
    bytes: usize,
}

/// How the conversation of one connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExchangeOutcome {
    /// For every message came what had to come.
    Verified,
    /// It did not.
    Failed(Failure),
}

/// One connection's work.
#[derive(Debug)]
pub(super) struct Exchange {
    plan: Rc<Plan>,
    number: usize,
    /// How many messages the connections before it in its place have exchanged.
    first: u64,
    /// How many messages there are to send.
    total: u64,
    pattern: Option<Pattern>,
    sent: Position,
    /// How many bytes were written, and how many of them the kernel took.
    written_bytes: u64,
    taken_bytes: u64,
    /// What came back and was right. Of answers that are no echo, the whole ones count.
    verified: Position,
    verified_bytes: u64,
    expectation: Expectation,
    in_flight: InFlight,
    /// When a reply last came, or was first waited for: that is when the message was sent whole. Since the connection is
    /// closing: when that began, or the last byte was sent.
    progress: u64,
    /// How it went, as far as is known: once everything came back, that is so unless more comes before the server's end.
    outcome: Option<ExchangeOutcome>,
    /// Nothing that may still be sent or received matters.
    is_over: bool,
}

impl Exchange {
    /// The work of a connection that sends `total` messages, from the one numbered `first` on. `number` is the one that
    /// people see, `stream` tells it from all others of the run.
    pub(super) fn new(plan: Rc<Plan>, number: usize, stream: u64, (first, total): (u64, u64)) -> Self {
        let (sent, verified) = (Position::default(), Position::default());
        let (expectation, pattern) = (Expectation::of(&plan), plan.pattern(stream));
        Self {
            plan,
            number,
            first,
            total,
            pattern,
            sent,
            written_bytes: 0,
            taken_bytes: 0,
            verified,
            verified_bytes: 0,
            expectation,
            in_flight: InFlight::default(),
            progress: 0,
            outcome: None,
            is_over: false,
        }
    }

    /// Whether it has fewer messages than it is to send.
    pub(super) fn has_room(&self) -> bool {
        self.begun() + self.in_flight.waiting() < self.total
    }

    /// A message that was due at `due` is given to it at `given`.
    pub(super) fn add(&mut self, due: u64, given: u64) {
        self.in_flight.add(due, given);
    }

    /// A message that was due at `due` is given to it, after there was no connection for it until `instant`.
    pub(super) fn add_held(&mut self, due: u64, instant: u64) {
        self.in_flight.add_held(due, instant);
    }

    /// How many messages were answered.
    pub(super) fn answered_count(&self) -> u64 {
        self.verified.messages
    }

    /// Every message that was due and never answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (MessageTimes, u64)> {
        self.in_flight.unanswered()
    }

    /// Whether nothing that may still be sent or received matters.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What became of it, now that the conversation has ended for `reason`. One that is only held has done its work, and a
    /// server may drop one that stays open for the sake of the others.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        let may_be_dropped = !self.plan.holding.get() && self.plan.ending == HalfClose::Never;
        match self.outcome {
            Some(outcome) => outcome,
            None if self.is_complete() && (reason == CloseReason::Stopped || may_be_dropped) => {
                ExchangeOutcome::Verified
            }
            None => ExchangeOutcome::Failed(self.cut_short(Failure::of_close(reason))),
        }
    }

    /// The failure behind an end that looks like `failure`. A server that is asked again may serve one message per
    /// connection, as the tutorial's does.
    fn cut_short(&self, failure: Failure) -> Failure {
        let asks = self.plan.answers.is_some() && self.total > 1 && self.verified.messages <= 1;
        let is_cut = matches!(failure, Failure::ClosedEarly | Failure::Reset);
        let is_partial = matches!(self.expectation, Expectation::Sized(_)) && self.verified.bytes > 0;
        match failure {
            _ if asks && is_cut => Failure::NotKept,
            Failure::ClosedEarly if is_partial => Failure::CutFrame,
            _ => failure,
        }
    }

    /// Whether everything came back that was expected to, but for the server's end.
    pub(super) fn is_complete(&self) -> bool {
        let place = if self.expects_nothing() { self.sent } else { self.verified };
        let is_over =
            self.plan.phase.get() == LoadPhase::HalfClose && self.sent.bytes == 0 && self.in_flight.under_way() == 0;
        place.messages == self.total || is_over
    }

    /// The message that this connection numbers so.
    fn message(&self, number: u64) -> &[u8] {
        self.plan.message(self.first + number)
    }

    /// How long it is, in bytes.
    #[inline]
    fn size_of(&self, number: u64) -> usize {
        self.plan.size_of(self.first + number)
    }

    /// Whether it stays open though its work is done. Where only the other connections are waited for, the server may end it.
    fn is_kept_open(&self, input: &Input<'_>) -> bool {
        self.plan.holding.get() || self.plan.keeps_open.get() && !input.has_ended()
    }

    fn expects_nothing(&self) -> bool {
        matches!(self.expectation, Expectation::Nothing)
    }

    /// Checks what came in.
    fn verify(&mut self, input: &mut Input<'_>, now: u64) -> Result<(), Failure> {
        while !input.is_empty() {
            match self.check(input.bytes(), input.has_ended())? {
                Checked::Incomplete => break,
                Checked::Right { bytes, ends_message } => {
                    input.consume(bytes);
                    if !self.expects_nothing() && self.outcome.is_none() {
                        self.progress = now;
                    }
                    self.verified.bytes += bytes;
                    self.verified_bytes += bytes as u64;
                    self.plan.metrics.borrow_mut().right(bytes, self.in_flight.oldest());
                    if ends_message {
                        self.answered(now);
                    }
                }
            }
        }
        // Where nothing tells answers apart, what has come lets everything go that was sent.
        let answers_all = match self.expectation {
            Expectation::Stream => std::mem::take(&mut self.verified.bytes) > 0 && self.note_read(now),
            Expectation::UntilEnd => input.has_ended() && self.verified.bytes > 0,
            _ => false,
        };
        while answers_all && self.verified.messages < self.sent.messages {
            self.answered(now);
        }
        Ok(())
    }

    /// Bytes came that nothing tells apart: of these, only those are known to be a reply that come after the first message.
    fn note_read(&self, now: u64) -> bool {
        let is_first = self.verified.messages == 0 && self.sent.messages > 0;
        let first = self.in_flight.oldest().filter(|_| is_first);
        self.plan.metrics.borrow_mut().messages.read(first, now);
        true
    }

    /// One more message was answered.
    fn answered(&mut self, now: u64) {
        self.verified = Position { messages: self.verified.messages + 1, bytes: 0 };
        let (plan, first, begun) = (&*self.plan, self.first, self.begun());
        let metrics = &mut *plan.metrics.borrow_mut();
        let size_of = |number| plan.size_of(first + number);
        let times = self.in_flight.answered((now, plan.pipeline), begun, size_of, |departure| metrics.sent(departure));
        if let Some(times) = times.filter(|_| !matches!(self.expectation, Expectation::Stream)) {
            metrics.answered(times, now);
        }
    }

    /// Looks at the first of the bytes that came.
    fn check(&mut self, received: &[u8], has_ended: bool) -> Result<Checked, Failure> {
        let plan = &*self.plan;
        let number = self.verified.messages;
        let wrong = |(failure, words)| {
            let wrong = WrongAnswer { connection: self.number, answer: number + 1, words };
            plan.metrics.borrow_mut().wrong_answer(wrong);
            failure
        };
        match (&mut self.expectation, &plan.answers) {
            (Expectation::Answer(_) | Expectation::Frame(_) | Expectation::Sized(_), _)
                if number == self.sent.messages =>
            {
                Err(wrong((Failure::WrongAnswer, self.surplus(received.len()))))
            }
            (Expectation::Sized(size), _) => Ok(any::take_sized(self.number, (*size, self.verified.bytes), received)),
            (Expectation::Answer(decoder), Some(answers)) => {
                let checked = answers.check((self.number, self.first + number), decoder, received);
                checked.map_err(|words| wrong((Failure::WrongAnswer, words)))
            }
            (Expectation::Frame(decoder), _) => {
                any::check_frame(self.number, decoder, received, has_ended).map_err(wrong)
            }
            (Expectation::Stream | Expectation::UntilEnd | Expectation::Nothing, _) => {
                Ok(any::take_all(self.number, received))
            }
            _ => self.check_echo(received).map_err(|mismatch| {
                plan.metrics.borrow_mut().mismatch(mismatch);
                Failure::Mismatch
            }),
        }
    }

    /// What is said of bytes for which there is no message.
    fn surplus(&self, bytes: usize) -> String {
        let surplus = format_counted(bytes as u64, "byte");
        let received = if self.sent.messages == 0 {
            format!("received {surplus} before its first message was sent")
        } else {
            format!("received {surplus} more than its messages asked for")
        };
        received
            + match self.expectation {
                Expectation::Frame(_) => "; if the server speaks first, use --expect any without --frame",
                Expectation::Sized(_) => {
                    "; if replies are larger, raise --reply-size; if the server speaks first, leave it out"
                }
                _ => "",
            }
    }

    /// Shuts our half, where that is how a message ends, or the work.
    fn end_output(&mut self, output: &mut Output<'_>, is_kept_open: bool, now: u64) {
        let is_due = match self.plan.ending {
            HalfClose::Never => false,
            HalfClose::WithMessage => self.sent.messages == self.total,
            HalfClose::WhenDone => self.is_complete() && !is_kept_open,
        };
        if is_due && !output.has_ended() {
            self.progress = now;
            output.end();
        }
    }

    fn await_answer(&mut self, now: u64) -> Wait {
        let timeout = nanos(self.plan.reply_timeout);
        let reply_due = self.progress.saturating_add(timeout);
        let awaits = self.in_flight.under_way() > 0 || self.expects_nothing() || self.is_complete();
        if !awaits {
            // The next message is not due yet.
            return Wait::Input;
        }
        // A full socket buffer is given the same time to take a byte, and after that no other. What this client itself was slow
        // to send can have no reply.
        let blocked_since = self.in_flight.blocked_since().filter(|since| *since <= reply_due);
        let is_sending = self.in_flight.is_oldest_sent() == Some(false);
        let (deadline, failure) = match blocked_since {
            Some(since) => (since.saturating_add(timeout).max(reply_due), Failure::SendTimeout),
            None if is_sending => (now.saturating_add(timeout), Failure::SendTimeout),
            None => (reply_due, Failure::ReplyTimeout),
        };
        if deadline <= now {
            return self.end(ExchangeOutcome::Failed(failure));
        }
        Wait::Deadline(self.plan.clock.instant(deadline))
    }

    /// Everything came back: shuts our half, and goes on checking what comes until the server ends, too.
    fn close(&mut self, input: &Input<'_>, output: &mut Output<'_>, now: u64) -> Wait {
        let is_taken = self.taken_bytes == self.written_bytes;
        if input.has_ended() && is_taken {
            return self.end(ExchangeOutcome::Verified);
        }
        if self.outcome.is_none() {
            (self.outcome, self.progress) = (Some(ExchangeOutcome::Verified), now);
            output.end();
        }
        // An answer can come before the server has read the whole message.
        let patience = if is_taken { LINGER } else { self.plan.reply_timeout };
        let deadline = self.progress.saturating_add(nanos(patience));
        if deadline > now {
            return Wait::Deadline(self.plan.clock.instant(deadline));
        }
        self.is_over = true;
        self.end(if is_taken { ExchangeOutcome::Verified } else { ExchangeOutcome::Failed(Failure::SendTimeout) })
    }

    fn end(&mut self, outcome: ExchangeOutcome) -> Wait {
        self.outcome = Some(outcome);
        self.is_over |= outcome != ExchangeOutcome::Verified;
        Wait::Close
    }
}

impl Service for Exchange {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        let now = self.plan.clock.nanos(now);
        self.note_handed_over();
        if let Err(failure) = self.verify(input, now) {
            return self.end(ExchangeOutcome::Failed(failure));
        }
        if !self.is_complete() && !input.has_ended() {
            self.send(output, now);
        }
        let is_kept_open = self.is_kept_open(input);
        self.end_output(output, is_kept_open, now);
        if self.is_complete() {
            if output.has_ended() && self.outcome.is_none() {
                // That was the end of a message, or of all: the server's own is awaited.
                return if input.has_ended() { self.end(ExchangeOutcome::Verified) } else { self.await_answer(now) };
            }
            if !is_kept_open {
                return self.close(input, output, now);
            }
        } else if !input.has_ended() {
            return self.await_answer(now);
        }
        if input.has_ended() {
            self.end(ExchangeOutcome::Failed(self.cut_short(Failure::ClosedEarly)))
        } else {
            Wait::Input
        }
    }
}
