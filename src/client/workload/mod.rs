//! The client's service: it sends the messages, and checks what comes back. What that must be is a matter of its own: an
//! expectation looks at the bytes that came and says how many of them are right.

mod any;
mod echo;
mod expectation;
mod job;
mod search;
mod sending;

pub(super) use job::{HandedOver, Job, Phase};
pub(super) use search::buffer_bytes;

use super::clock::nanos;
use super::expect::Ending;
use super::failure::Failure;
use super::ledger::{Ledger, Times};
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
struct Place {
    messages: u64,
    bytes: usize,
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
    /// How many messages the connections before it in its place have exchanged.
    first: u64,
    /// How many messages there are to send.
    total: u64,
    pattern: Option<Pattern>,
    sent: Place,
    /// How many bytes were written, and how many of them the kernel took.
    written_bytes: u64,
    taken_bytes: u64,
    /// What came back and was right. Of answers that are no echo, the whole ones count.
    verified: Place,
    verified_bytes: u64,
    expectation: Expectation,
    ledger: Ledger,
    /// When a reply last came, or was first waited for: that is when the message was sent whole. Since the connection is
    /// closing: when that began, or the last byte was sent.
    progress: u64,
    /// How it went, as far as is known: once everything came back, that is so unless more comes before the server's end.
    outcome: Option<Outcome>,
    /// Nothing that may still be sent or received matters.
    is_over: bool,
}

impl Workload {
    /// The work of a connection that sends `total` messages, from the one numbered `first` on. `number` is the one that
    /// people see, `stream` tells it from all others of the run.
    pub(super) fn new(job: Rc<Job>, number: usize, stream: u64, (first, total): (u64, u64)) -> Self {
        let (sent, verified) = (Place::default(), Place::default());
        let (expectation, pattern) = (Expectation::of(&job), job.pattern(stream));
        Self {
            job,
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
            ledger: Ledger::default(),
            progress: 0,
            outcome: None,
            is_over: false,
        }
    }

    /// Whether it has fewer messages than it is to send.
    pub(super) fn has_room(&self) -> bool {
        self.begun() + self.ledger.waiting() < self.total
    }

    /// A message that was due at `due` is given to it at `given`.
    pub(super) fn add(&mut self, due: u64, given: u64) {
        self.ledger.add(due, given);
    }

    /// A message that was due at `due` is given to it, after there was no connection for it until `instant`.
    pub(super) fn add_held(&mut self, due: u64, instant: u64) {
        self.ledger.add_held(due, instant);
    }

    /// How many messages were answered.
    pub(super) fn answered_count(&self) -> u64 {
        self.verified.messages
    }

    /// Every message that was due and never answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (Times, u64)> {
        self.ledger.unanswered()
    }

    /// Whether nothing that may still be sent or received matters.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What became of it, now that the conversation has ended for `reason`. One that is only held has done its work, and a
    /// server may drop one that stays open for the sake of the others.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> Outcome {
        let may_be_dropped = !self.job.holding.get() && self.job.ending == Ending::Never;
        match self.outcome {
            Some(outcome) => outcome,
            None if self.is_complete() && (reason == CloseReason::Stopped || may_be_dropped) => Outcome::Verified,
            None => Outcome::Failed(self.cut_short(Failure::of_close(reason))),
        }
    }

    /// The failure behind an end that looks like `failure`. A server that is asked again may serve one message per
    /// connection, as the tutorial's does.
    fn cut_short(&self, failure: Failure) -> Failure {
        let asks = self.job.answers.is_some() && self.total > 1 && self.verified.messages <= 1;
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
        let is_over = self.job.phase.get() == Phase::Ending && self.sent.bytes == 0 && self.ledger.under_way() == 0;
        place.messages == self.total || is_over
    }

    /// The message that this connection numbers so.
    fn message(&self, number: u64) -> &[u8] {
        self.job.message(self.first + number)
    }

    /// How long it is, in bytes.
    #[inline]
    fn size_of(&self, number: u64) -> usize {
        self.job.size_of(self.first + number)
    }

    /// Whether it stays open though its work is done. Where only the other connections are waited for, the server may end it.
    fn is_kept_open(&self, input: &Input<'_>) -> bool {
        self.job.holding.get() || self.job.keeps_open.get() && !input.has_ended()
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
                    self.job.recorder.borrow_mut().right(bytes, self.ledger.oldest());
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
        let first = self.ledger.oldest().filter(|_| is_first);
        self.job.recorder.borrow_mut().book.read(first, now);
        true
    }

    /// One more message was answered.
    fn answered(&mut self, now: u64) {
        self.verified = Place { messages: self.verified.messages + 1, bytes: 0 };
        let (job, first, begun) = (&*self.job, self.first, self.begun());
        let recorder = &mut *job.recorder.borrow_mut();
        let size_of = |number| job.size_of(first + number);
        let times = self.ledger.answered((now, job.pipeline), begun, size_of, |departure| recorder.sent(departure));
        if let Some(times) = times.filter(|_| !matches!(self.expectation, Expectation::Stream)) {
            recorder.answered(times, now);
        }
    }

    /// Looks at the first of the bytes that came.
    fn check(&mut self, received: &[u8], has_ended: bool) -> Result<Checked, Failure> {
        let job = &*self.job;
        let number = self.verified.messages;
        let wrong = |(failure, words)| {
            let wrong = WrongAnswer { connection: self.number, answer: number + 1, words };
            job.recorder.borrow_mut().wrong_answer(wrong);
            failure
        };
        match (&mut self.expectation, &job.answers) {
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
                job.recorder.borrow_mut().mismatch(mismatch);
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
        let is_due = match self.job.ending {
            Ending::Never => false,
            Ending::WithMessage => self.sent.messages == self.total,
            Ending::WhenDone => self.is_complete() && !is_kept_open,
        };
        if is_due && !output.has_ended() {
            self.progress = now;
            output.end();
        }
    }

    fn await_answer(&mut self, now: u64) -> Wait {
        let timeout = nanos(self.job.reply_timeout);
        let reply_due = self.progress.saturating_add(timeout);
        let awaits = self.ledger.under_way() > 0 || self.expects_nothing() || self.is_complete();
        if !awaits {
            // The next message is not due yet.
            return Wait::Input;
        }
        // A full socket buffer is given the same time to take a byte, and after that no other. What this client itself was slow
        // to send can have no reply.
        let blocked_since = self.ledger.blocked_since().filter(|since| *since <= reply_due);
        let is_sending = self.ledger.is_oldest_sent() == Some(false);
        let (deadline, failure) = match blocked_since {
            Some(since) => (since.saturating_add(timeout).max(reply_due), Failure::SendTimeout),
            None if is_sending => (now.saturating_add(timeout), Failure::SendTimeout),
            None => (reply_due, Failure::ReplyTimeout),
        };
        if deadline <= now {
            return self.end(Outcome::Failed(failure));
        }
        Wait::Until(self.job.clock.instant(deadline))
    }

    /// Everything came back: shuts our half, and goes on checking what comes until the server ends, too.
    fn close(&mut self, input: &Input<'_>, output: &mut Output<'_>, now: u64) -> Wait {
        let is_taken = self.taken_bytes == self.written_bytes;
        if input.has_ended() && is_taken {
            return self.end(Outcome::Verified);
        }
        if self.outcome.is_none() {
            (self.outcome, self.progress) = (Some(Outcome::Verified), now);
            output.end();
        }
        // An answer can come before the server has read the whole message.
        let patience = if is_taken { LINGER } else { self.job.reply_timeout };
        let deadline = self.progress.saturating_add(nanos(patience));
        if deadline > now {
            return Wait::Until(self.job.clock.instant(deadline));
        }
        self.is_over = true;
        self.end(if is_taken { Outcome::Verified } else { Outcome::Failed(Failure::SendTimeout) })
    }

    fn end(&mut self, outcome: Outcome) -> Wait {
        self.outcome = Some(outcome);
        self.is_over |= outcome != Outcome::Verified;
        Wait::Nothing
    }
}

impl Service for Workload {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        let now = self.job.clock.nanos(now);
        self.note_handed_over();
        if let Err(failure) = self.verify(input, now) {
            return self.end(Outcome::Failed(failure));
        }
        if !self.is_complete() && !input.has_ended() {
            self.send(output, now);
        }
        let is_kept_open = self.is_kept_open(input);
        self.end_output(output, is_kept_open, now);
        if self.is_complete() {
            if output.has_ended() && self.outcome.is_none() {
                // That was the end of a message, or of all: the server's own is awaited.
                return if input.has_ended() { self.end(Outcome::Verified) } else { self.await_answer(now) };
            }
            if !is_kept_open {
                return self.close(input, output, now);
            }
        } else if !input.has_ended() {
            return self.await_answer(now);
        }
        if input.has_ended() { self.end(Outcome::Failed(self.cut_short(Failure::ClosedEarly))) } else { Wait::Input }
    }
}
