//! Message exchange of a client connection: sends messages and verifies the replies.
//!
//! An [`Expectation`] checks the received bytes and returns how many of them are correct.

use super::in_flight::{Arrival, InFlight, MessageTimes, Reply};
use crate::client::check::echo::{Source, Unverified};
use crate::client::check::generated_bytes::Pattern;
use crate::client::check::http::check_response;
use crate::client::check::{Checked, Expectation, any};
use crate::client::clock::nanos;
use crate::client::config::{Expect, HalfClose};
use crate::client::failure::Failure;
use crate::client::plan::{KernelWrite, LoadPhase, Plan};
use crate::client::transport::DueMessage;
use crate::codec::http::Response;
use crate::connection::CloseReason;
use crate::event_loop::monotonic_time;
use crate::log_targets::CLIENT_LOG;
use crate::python_repr::BytesRepr;
use crate::service::{Context, Input, Output, Service, Wait};
use crate::socket::Address;
use crate::units::format_counted;
use std::rc::Rc;
use std::time::Duration;

/// Maximum time for the server to close after the sending half was shut down. Until then received bytes are verified.
const LINGER: Duration = Duration::from_secs(5);

/// Maximum number of bytes of a message in the log: as many as one read logs.
const LOGGED_BYTES: usize = 64 * 1024;

/// Position in the stream of messages: complete messages, and bytes of the next one.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    messages: u64,
    bytes: usize,
}

/// Outcome of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum ExchangeOutcome {
    /// Every message got the expected reply.
    Completed,
    /// It failed.
    Failed(Failure),
}

impl ExchangeOutcome {
    /// Why it failed, if it did.
    pub(super) fn failure(self) -> Option<Failure> {
        match self {
            Self::Completed => None,
            Self::Failed(failure) => Some(failure),
        }
    }
}

/// Message exchange of one connection.
#[derive(Debug)]
pub(in crate::client) struct Exchange {
    plan: Rc<Plan>,
    number: u32,
    /// Bytes written that the kernel has not accepted.
    unaccepted_bytes: u32,
    /// Number of messages exchanged by earlier connections with the same number.
    first: u64,
    pattern: Option<Pattern>,
    /// Messages written.
    sent: Position,
    /// Bytes at the start of the stream that belong to messages of the warm-up.
    warm_up_bytes: u64,
    /// Correct replies. Of replies that are not an echo, only complete ones count. Without replies, the messages that the
    /// kernel has accepted.
    verified: Position,
    expectation: Expectation,
    in_flight: InFlight,
    /// Start of the reply timeout: when the last reply arrived or, if later, when the oldest message was sent
    /// completely. While closing: when that began, or when the last byte was sent.
    progress: u64,
    /// Outcome so far. After all replies it is `Completed`, unless more bytes arrive before the server closes.
    outcome: Option<ExchangeOutcome>,
    /// The connection can close without waiting for the server.
    is_over: bool,
    /// The server closes the connection, as HTTP allows it to: the messages that are left go to its replacement.
    is_cut_short: bool,
}

impl Exchange {
    /// Exchange that sends messages beginning with number `first`. `number` is the connection's number in logs and reports;
    /// `stream` is unique within the run and selects the pattern.
    pub(in crate::client) fn new(plan: Rc<Plan>, number: u32, stream: u64, first: u64) -> Self {
        let (sent, verified) = (Position::default(), Position::default());
        let (expectation, pattern) = (Expectation::of(&plan), plan.pattern(stream));
        Self {
            plan,
            number,
            unaccepted_bytes: 0,
            first,
            pattern,
            sent,
            warm_up_bytes: 0,
            verified,
            expectation,
            in_flight: InFlight::default(),
            progress: 0,
            outcome: None,
            is_over: false,
            is_cut_short: false,
        }
    }

    /// Logs replies of the message protocol with the address of the server.
    pub(in crate::client) fn log_peer(&mut self, address: &Address) {
        if let Expectation::SearchReply(search) = &mut self.expectation
            && log::log_enabled!(target: CLIENT_LOG, log::Level::Debug)
        {
            search.1 = Some(address.clone());
        }
    }

    /// Whether it may be assigned another message.
    pub(in crate::client) fn has_room(&self) -> bool {
        self.begun() + self.in_flight.queued() < self.total()
    }

    /// Queues a message. Returns whether it is the only one queued.
    pub(in crate::client) fn add(&mut self, message: DueMessage) -> bool {
        if let Some(instant) = message.blocked_until {
            // Assigned in time, but no connection was open.
            self.in_flight.add_blocked(message.due, instant);
        } else {
            let is_full = self.in_flight_count() + self.in_flight.queued() >= self.plan.pipeline;
            self.in_flight.add(message.due, message.assigned, is_full);
        }
        self.in_flight.queued() == 1
    }

    /// Number of messages answered; of messages sent, if no reply is expected.
    pub(in crate::client) fn answered_count(&self) -> u64 {
        if self.expects_nothing() { self.sent.messages } else { self.verified.messages }
    }

    /// Times of the messages that were due and never answered, with the number of messages that share them.
    pub(in crate::client) fn unanswered(&self) -> impl Iterator<Item = (MessageTimes, u64)> {
        self.in_flight.unanswered()
    }

    /// Whether the server closes the connection before all messages were sent, and another one may take its place.
    pub(in crate::client) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// Number of messages that a replacement of this connection does not send.
    pub(in crate::client) fn done_count(&self) -> u64 {
        if self.is_cut_short { self.begun() } else { self.answered_count() }
    }

    /// Removes the messages that were assigned and not begun, if another connection may send them. Returns when they
    /// were due.
    pub(in crate::client) fn take_unsent(&mut self) -> Vec<u64> {
        let may_return = self.is_cut_short && self.plan.phase.get() == LoadPhase::Sending;
        if may_return { self.in_flight.take_queued() } else { Vec::new() }
    }

    /// Whether the connection can close without waiting for the server.
    pub(in crate::client) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Outcome after the connection was closed for `reason`. A connection whose exchange is complete and that is held
    /// succeeds when it is stopped. If it only stays open for the other connections, the server may close it.
    pub(in crate::client) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        let may_be_dropped = !self.plan.holding.get() && self.plan.half_close == HalfClose::Never;
        match self.outcome {
            Some(outcome) => outcome,
            None if self.is_complete() && (reason == CloseReason::Stopped || may_be_dropped) => {
                ExchangeOutcome::Completed
            }
            None => ExchangeOutcome::Failed(self.cause_of_close(Failure::of_close(reason))),
        }
    }

    /// The cause behind `failure`. A server of the message protocol may serve one message per connection, as the
    /// tutorial's does.
    fn cause_of_close(&self, failure: Failure) -> Failure {
        let asks = self.plan.search_replies.is_some() && self.total() > 1 && self.verified.messages <= 1;
        let is_cut = matches!(failure, Failure::ClosedEarly | Failure::Reset);
        let is_partial = match &self.expectation {
            Expectation::Sized(_) => self.verified.bytes > 0,
            Expectation::Http(http) => http.0.is_within(),
            _ => false,
        };
        match failure {
            _ if asks && is_cut => Failure::ClosedAfterReply,
            Failure::ClosedEarly if is_partial => Failure::IncompleteFrame,
            _ => failure,
        }
    }

    /// Whether all expected replies have arrived. The server may still have to close.
    pub(in crate::client) fn is_complete(&self) -> bool {
        let is_over =
            self.plan.phase.get() == LoadPhase::Draining && self.sent.bytes == 0 && self.in_flight_count() == 0;
        self.answered_count() == self.total() || is_over
    }

    /// Number of messages to send on this connection.
    #[inline]
    fn total(&self) -> u64 {
        if self.is_cut_short { self.begun() } else { (self.plan.total - self.first).min(self.plan.reconnect_every) }
    }

    /// Message `number` of this connection.
    fn message(&self, number: u64) -> &[u8] {
        self.plan.message(self.first + number)
    }

    /// Size of message `number`, in bytes.
    #[inline]
    fn size_of(&self, number: u64) -> usize {
        self.plan.size_of(self.first + number)
    }

    /// Offset of message `number` in the connection's stream, in bytes.
    #[inline]
    fn offset_of(&self, number: u64) -> u64 {
        self.plan.offset_between(self.first, self.first + number)
    }

    /// Number of bytes written.
    #[inline]
    fn written_bytes(&self) -> u64 {
        self.offset_of(self.sent.messages) + self.sent.bytes as u64
    }

    /// Number of bytes that the kernel has accepted.
    #[inline]
    fn accepted_bytes(&self) -> u64 {
        self.written_bytes() - u64::from(self.unaccepted_bytes)
    }

    /// Whether the connection stays open after its exchange. If it only waits for other connections, the server may
    /// close it.
    fn is_kept_open(&self, input: &Input<'_>) -> bool {
        !self.is_cut_short && (self.plan.holding.get() || self.plan.keeps_open.get() && !input.has_ended())
    }

    fn expects_nothing(&self) -> bool {
        matches!(self.expectation, Expectation::Nothing)
    }

    /// Verifies received bytes.
    fn verify(&mut self, input: &mut Input<'_>, arrival: Arrival) -> Result<(), Failure> {
        if matches!(self.expectation, Expectation::Http(_)) {
            return self.verify_http(input, arrival);
        }
        while !input.is_empty() {
            match self.check(input.bytes(), input.has_ended())? {
                Checked::Incomplete => break,
                Checked::Correct { bytes, ends_message } => {
                    input.consume(bytes);
                    if !self.expects_nothing() && self.outcome.is_none() {
                        self.progress = arrival.read;
                    }
                    self.verified.bytes += bytes;
                    self.plan.metrics.borrow_mut().add_verified_bytes(bytes, self.in_flight.oldest(), arrival.read);
                    if ends_message {
                        self.answered(arrival, input.is_empty());
                    }
                }
            }
        }
        // Where the end of a reply is unknown, any bytes received answer everything sent.
        let answers_all = match self.expectation {
            Expectation::Stream => std::mem::take(&mut self.verified.bytes) > 0 && self.count_read(arrival.read),
            Expectation::UntilEnd(_) => input.has_ended() && self.verified.bytes > 0,
            _ => false,
        };
        while answers_all && self.verified.messages < self.sent.messages {
            self.answered(arrival, true);
        }
        Ok(())
    }

    /// Counts a read where the end of a reply is unknown. Only the first bytes after the first message are known to be
    /// a reply.
    fn count_read(&self, now: u64) -> bool {
        let is_first = self.verified.messages == 0 && self.sent.messages > 0;
        let first = self.in_flight.oldest().filter(|_| is_first);
        self.plan.metrics.borrow_mut().read(first, now);
        true
    }

    /// Counts the oldest message in flight as answered. `is_last` says that nothing was read after its reply.
    fn answered(&mut self, arrival: Arrival, is_last: bool) {
        if let Some(reply) = self.take_answered(arrival, is_last)
            && !matches!(self.expectation, Expectation::Stream)
        {
            self.count_reply(reply);
        }
    }

    /// Counts the reply that has just ended: as answered if it contains the expected text.
    fn count_reply(&mut self, reply: Reply) {
        let metrics = &mut *self.plan.metrics.borrow_mut();
        match self.expectation.end_reply() {
            None => metrics.answered(reply),
            Some(wrong) => {
                let (connection, number) = (self.number, self.verified.messages);
                metrics.wrong_text(reply, format_args!("connection {connection}, reply {number}: {wrong}"));
            }
        }
    }

    /// Removes the oldest message in flight, which was answered, and returns its reply.
    fn take_answered(&mut self, arrival: Arrival, is_last: bool) -> Option<Reply> {
        let was_full = self.is_full();
        self.verified = Position { messages: self.verified.messages + 1, bytes: 0 };
        let metrics = &mut *self.plan.metrics.borrow_mut();
        let arrival = arrival.of_reply_to(self.in_flight.oldest().and_then(|times| times.sent));
        let times = self.in_flight.answered(arrival.arrived, was_full, metrics)?;
        Some(metrics.replied(times, arrival, is_last))
    }

    /// Decodes received bytes as HTTP responses.
    fn verify_http(&mut self, input: &mut Input<'_>, arrival: Arrival) -> Result<(), Failure> {
        let plan = Rc::clone(&self.plan);
        let wrong = |(failure, words): (Failure, String), number: u64, connection: u32| {
            plan.metrics.borrow_mut().mismatch(format_args!("connection {connection}, reply {}: {words}", number + 1));
            failure
        };
        loop {
            let Expectation::Http(http) = &mut self.expectation else { return Ok(()) };
            let (decoder, text) = &mut **http;
            if input.is_empty() && !(input.has_ended() && decoder.is_within()) {
                break;
            }
            let (number, connection) = (self.verified.messages, self.number);
            // A server may answer before it has received the whole request.
            if number == self.sent.messages + u64::from(self.sent.bytes > 0) {
                return Err(wrong((Failure::WrongReply, self.surplus(input.len())), number, connection));
            }
            let request = plan.message(self.first + number);
            let checked = check_response(connection, decoder, text, (input.bytes(), input.has_ended()), request);
            let part = checked.map_err(|reason| wrong(reason, number, connection))?;
            if part.size > 0 {
                input.consume(part.size);
                self.progress = arrival.read;
                self.verified.bytes += part.size;
                plan.metrics.borrow_mut().add_verified_bytes(part.size, self.in_flight.oldest(), arrival.read);
            }
            match part.response {
                Some(response) => self.count_response(response, arrival, input.is_empty()),
                None if part.size == 0 => break,
                None => {}
            }
        }
        // Between messages a server may close without saying so before.
        let is_idle = input.has_ended() && self.in_flight_count() == 0 && self.verified.messages > 0;
        if is_idle && !self.is_complete() {
            self.cut_short();
        }
        Ok(())
    }

    /// Counts a response by its status, as the reply to the oldest message in flight.
    fn count_response(&mut self, response: Response, arrival: Arrival, is_last: bool) {
        if let Some(reply) = self.take_answered(arrival, is_last) {
            self.plan.metrics.borrow_mut().count_status(reply.times, response.status);
            match self.plan.expect {
                Expect::Http { status: Some(expected) } if expected != response.status => {
                    let (connection, number, status) = (self.number, self.verified.messages, response.status);
                    self.expectation.end_reply();
                    let words =
                        format_args!("connection {connection}, reply {number}: status {status} instead of {expected}");
                    self.plan.metrics.borrow_mut().wrong_status(reply, words);
                }
                _ => self.count_reply(reply),
            }
        }
        if !response.is_persistent && !self.is_complete() {
            self.cut_short();
        }
    }

    /// No more messages are sent on this connection, because the server closes it.
    fn cut_short(&mut self) {
        self.is_cut_short = true;
    }

    /// Checks the beginning of the received bytes.
    fn check(&mut self, received: &[u8], has_ended: bool) -> Result<Checked, Failure> {
        let plan = &*self.plan;
        let (number, begun) = (self.verified.messages, self.begun());
        let wrong = |(failure, words)| {
            let (connection, reply) = (self.number, number + 1);
            let description = format_args!("connection {connection}, reply {reply}: {words}");
            plan.metrics.borrow_mut().mismatch(description);
            failure
        };
        match (&mut self.expectation, &plan.search_replies) {
            // A server may answer before it has received the whole message.
            (Expectation::SearchReply(..) | Expectation::Frame(_) | Expectation::Sized(_), _) if number == begun => {
                Err(wrong((Failure::WrongReply, self.surplus(received.len()))))
            }
            (Expectation::Sized(sized), _) => {
                let (size, text) = &mut **sized;
                Ok(any::check_sized(self.number, (*size, self.verified.bytes), text, received))
            }
            (Expectation::SearchReply(search), Some(replies)) => {
                let (decoder, peer) = &mut **search;
                let checked = replies.check((self.number, peer.as_ref()), self.first + number, decoder, received);
                checked.map_err(|words| wrong((Failure::WrongReply, words)))
            }
            (Expectation::Frame(frame), _) => {
                let (decoder, text) = &mut **frame;
                any::check_frame(self.number, decoder, text, (received, has_ended)).map_err(wrong)
            }
            (Expectation::UntilEnd(text), _) => {
                text.add(received);
                Ok(any::accept_all(self.number, received))
            }
            (Expectation::Stream | Expectation::Nothing, _) => Ok(any::accept_all(self.number, received)),
            _ => self.unverified().check(received).map_err(|mismatch| {
                plan.metrics.borrow_mut().mismatch(mismatch);
                Failure::Mismatch
            }),
        }
    }

    /// The bytes of the oldest unanswered message that have not come back.
    fn unverified(&self) -> Unverified<'_> {
        let Position { messages, bytes } = self.verified;
        let size = self.size_of(messages);
        // Bytes that were not sent yet cannot come back.
        let end = if messages < self.sent.messages { size } else { self.sent.bytes };
        Unverified {
            connection: self.number,
            offset: self.offset_of(messages) + bytes as u64,
            len: end - bytes,
            ends_message: end == size,
            source: match self.pattern {
                Some(pattern) => Source::Pattern(pattern),
                None => Source::Bytes(&self.message(messages)[bytes..end]),
            },
        }
    }

    /// Error text for bytes without a message in flight.
    fn surplus(&self, bytes: usize) -> String {
        let surplus = format_counted(bytes as u64, "byte");
        let received = if self.sent.messages == 0 {
            format!("received {surplus} before its first message was sent")
        } else {
            format!("received {surplus} more than its messages asked for")
        };
        received
            + match self.expectation {
                Expectation::Frame(_) => "; if the server speaks first, expect any reply, without a framing",
                Expectation::Sized(_) => {
                    "; if replies are larger, raise the reply size; if the server speaks first, leave it out"
                }
                _ => "",
            }
    }

    /// Shuts down the sending half where that marks the end of a message or of the exchange.
    fn half_close_if_due(&mut self, output: &mut Output<'_>, is_kept_open: bool, now: u64) {
        let is_due = match self.plan.half_close {
            HalfClose::Never => false,
            HalfClose::WithMessage => self.sent.messages == self.total(),
            HalfClose::WhenDone => self.is_complete() && !is_kept_open,
        };
        if is_due && !output.has_ended() {
            self.progress = now;
            output.end();
        }
    }

    fn await_reply(&mut self, now: u64) -> Wait {
        let timeout = nanos(self.plan.reply_timeout);
        let reply_due = self.progress.saturating_add(timeout);
        let awaits = self.in_flight_count() > 0 || self.is_complete();
        if !awaits {
            // No message is in flight, and the next one is not due.
            return Wait::Input;
        }
        // A socket buffer that stays full gets the reply timeout as well, counted from when it filled up. A message
        // that this client has not sent yet cannot have a reply.
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

    /// All replies have arrived: shuts down the sending half, and verifies further input until the server closes.
    fn close(&mut self, input: &Input<'_>, output: &mut Output<'_>, now: u64) -> Wait {
        let is_taken = self.unaccepted_bytes == 0;
        if input.has_ended() && is_taken {
            return self.end(ExchangeOutcome::Completed);
        }
        if self.outcome.is_none() {
            (self.outcome, self.progress) = (Some(ExchangeOutcome::Completed), now);
            output.end();
        }
        // A reply can arrive before the server has read the whole message.
        let timeout = if is_taken { LINGER } else { self.plan.reply_timeout };
        let deadline = self.progress.saturating_add(nanos(timeout));
        if deadline > now {
            return Wait::Deadline(self.plan.clock.instant(deadline));
        }
        self.is_over = true;
        self.end(if is_taken { ExchangeOutcome::Completed } else { ExchangeOutcome::Failed(Failure::SendTimeout) })
    }

    fn end(&mut self, outcome: ExchangeOutcome) -> Wait {
        self.outcome = Some(outcome);
        self.is_over |= outcome != ExchangeOutcome::Completed;
        Wait::Close
    }
}

impl Exchange {
    /// Called at the end of a turn: bytes that the kernel has not accepted by now are blocked.
    pub(in crate::client) fn end_turn(&mut self) {
        let since = self.take_kernel_write();
        if self.unaccepted_bytes > 0 {
            let clock = self.plan.clock;
            self.in_flight.block(|| since.unwrap_or_else(|| clock.nanos(monotonic_time())));
        }
    }

    /// Records the bytes that the kernel accepted in this turn so far; returns when, if there were any.
    pub(in crate::client) fn take_kernel_write(&mut self) -> Option<u64> {
        let KernelWrite { bytes, since } = self.plan.kernel_write.take()?;
        let measured_from = self.accepted_bytes().max(self.warm_up_bytes);
        self.unaccepted_bytes -= u32::try_from(bytes).expect("the kernel accepts only bytes that were written");
        let accepted_bytes = self.accepted_bytes();
        if self.in_flight.is_oldest_sent() != Some(true) {
            self.progress = since;
        }
        let metrics = &mut *self.plan.metrics.borrow_mut();
        metrics.second.bytes_sent += accepted_bytes.saturating_sub(measured_from);
        let (plan, first, begun) = (&*self.plan, self.first, self.begun());
        let offset_of = |number| plan.offset_between(first, first + number);
        self.in_flight.kernel_accepted((accepted_bytes, since), begun, offset_of, metrics);
        if self.expects_nothing() {
            // Without replies, messages would stay in flight for ever.
            while self.in_flight.is_oldest_sent() == Some(true) {
                self.in_flight.answered(since, false, metrics);
                self.verified.messages += 1;
            }
        }
        Some(since)
    }

    /// Number of messages in flight.
    #[inline]
    fn in_flight_count(&self) -> u64 {
        self.begun() - self.verified.messages
    }

    /// Whether as many messages are in flight as may be.
    #[inline]
    fn is_full(&self) -> bool {
        self.in_flight_count() >= self.plan.pipeline
    }

    /// Number of messages of which writing has begun.
    pub(in crate::client) fn begun(&self) -> u64 {
        self.sent.messages + u64::from(self.sent.bytes > 0)
    }

    /// Writes messages as far as there is room.
    pub(in crate::client) fn send(&mut self, output: &mut Output<'_>, now: u64) {
        while output.room() > 0 && (self.sent.bytes > 0 || self.begin(now)) {
            let written = match self.pattern {
                Some(pattern) => self.write_pattern(pattern, output),
                None => output.write(&self.message(self.sent.messages)[self.sent.bytes..]),
            };
            self.sent.bytes += written;
            self.unaccepted_bytes += u32::try_from(written).expect("a buffer holds at most 4 GiB");
            if self.sent.bytes == self.size_of(self.sent.messages) {
                self.sent = Position { messages: self.sent.messages + 1, bytes: 0 };
            }
        }
    }

    /// Begins the next message if it may be sent now.
    fn begin(&mut self, now: u64) -> bool {
        let plan = &*self.plan;
        let has_one = self.sent.messages < self.total() && plan.phase.get() == LoadPhase::Sending;
        if !has_one || self.is_full() {
            return false;
        }
        if self.in_flight_count() == 0 {
            self.progress = now;
        }
        let due = if plan.is_open_loop {
            self.in_flight.begin_queued()
        } else {
            self.in_flight.begin(now, now);
            Some(now)
        };
        if due.is_some_and(|due| !plan.metrics.borrow().is_measured(due)) {
            self.warm_up_bytes = self.offset_of(self.sent.messages + 1);
        }
        if due.is_some() && log::log_enabled!(target: CLIENT_LOG, log::Level::Trace) {
            self.log_message();
        }
        due.is_some()
    }

    /// Logs the message that begins.
    #[cold]
    fn log_message(&self) {
        let bytes = self.size_of(self.sent.messages);
        let count = bytes.min(LOGGED_BYTES);
        let mut first = vec![0; count];
        match self.pattern {
            Some(pattern) => pattern.fill(self.written_bytes(), &mut first),
            None => first.copy_from_slice(&self.message(self.sent.messages)[..count]),
        }
        log::trace!(
            target: CLIENT_LOG, connection = self.number, bytes;
            "Sending {} to connection {}", BytesRepr::beginning(&first, bytes), self.number
        );
    }

    fn write_pattern(&self, pattern: Pattern, output: &mut Output<'_>) -> usize {
        let (offset, left) = (self.written_bytes(), self.size_of(self.sent.messages) - self.sent.bytes);
        output.generate(left, |start, place| pattern.fill(offset + start as u64, place))
    }
}

impl Service for Exchange {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        let now = self.plan.clock.nanos(now);
        let arrival = self.plan.take_arrival(now);
        self.take_kernel_write();
        if let Err(failure) = self.verify(input, arrival) {
            return self.end(ExchangeOutcome::Failed(failure));
        }
        if !self.is_complete() && !input.has_ended() {
            self.send(output, now);
        }
        let is_kept_open = self.is_kept_open(input);
        self.half_close_if_due(output, is_kept_open, now);
        if self.is_complete() {
            if output.has_ended() && self.outcome.is_none() {
                // The sending half was shut down at the end of the message or of the exchange: waits for the server to
                // close.
                return if input.has_ended() { self.end(ExchangeOutcome::Completed) } else { self.await_reply(now) };
            }
            if !is_kept_open {
                return self.close(input, output, now);
            }
        } else if !input.has_ended() {
            return self.await_reply(now);
        }
        if input.has_ended() {
            self.end(ExchangeOutcome::Failed(self.cause_of_close(Failure::ClosedEarly)))
        } else {
            Wait::Input
        }
    }
}
