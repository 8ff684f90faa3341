//! Connection state machine: phases, buffers, half-close, lingering and deadlines, without a socket.
//!
//! A connection is told what happened on the socket (`handle_*`) and is asked what it wants next (`wants_*`). It names
//! the instant at which it needs to be called again (`next_deadline`). It never touches a
//! socket and never reads a clock, so a whole connection can be replayed in a test.
//!
//! Phases:
//!
//! ```text
//! Open ------> Finishing ------> Lingering ------> Closed
//!   service     remaining         our half is shut,
//!   is called   output is sent    input is discarded
//! ```
//!
//! With a handshake (TLS) the connection opens when the handshake is complete; the service is not called before that.
//!
//! The end of the input does not end the connection: everything received before it is still answered. Closing a socket
//! that holds unread input would send a reset, which can destroy a reply on its way. The two middle phases prevent that
//! (RFC 1122, section 4.2.2.13; RFC 9112, section 9.6). A service may also end its own output and still be called: our
//! sending half is then shut down while the connection is open.

mod deadlines;
mod lower_layer;
mod output_progress;
mod phase;
mod rare_state;
mod service_wait;
#[cfg(test)]
mod tests;

pub use crate::service::{CloseReason, Limits};

use crate::buffer::{Buffer, BufferPool};
use crate::moment::Moment;
use crate::service::{Context, Handle, Host, Input, NextSend, Output, Service, Wait};
use crate::socket::ByteStream;
use deadlines::{Deadline, DeadlineConditions, DeadlineTimes};
use phase::Phase;
use rare_state::Rare;
use service_wait::ServiceWait;
use std::time::Instant;

/// Low watermark of the output: room counts as free when at most 1/4 of the output's limit is buffered.
const LOW_WATERMARK: usize = 4;

/// What is known about the end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    Unknown,
    /// The socket reported a hang-up or urgent data: a short read then does not mean that it is drained.
    Announced,
    /// A read found the end.
    Reached,
}

/// State of one connection between a service and a peer.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(crate) struct Connection<S> {
    /// None until the connection is open and its owner has made the service.
    service: Option<S>,
    input: Buffer,
    output: Buffer,
    waiting: ServiceWait,
    times: DeadlineTimes,
    rare: Rare,
    received_bytes: u64,
    sent_bytes: u64,
    phase: Phase,
    /// Why the connection ends; meaningful from `Finishing` on.
    reason: CloseReason,
    /// The service must be called.
    serve_due: bool,
    /// The socket may have more to read. Events are edge-triggered, so this stays set until a read finds nothing more.
    may_read: bool,
    /// The socket may take more output; always set while no output waits, here or in a layer below.
    may_write: bool,
    input_end: InputEnd,
    /// The deadline may have moved nearer since it was last queried.
    deadline_dirty: bool,
}

impl<S: Service> Connection<S> {
    /// Creates a connection that is open at `now`. The service is due at once, because it may send before it receives.
    /// Without one, [`open`](Self::open) is.
    pub fn new(service: Option<S>, now: Instant) -> Self {
        Self {
            service,
            input: Buffer::new(),
            output: Buffer::new(),
            waiting: ServiceWait::Input,
            times: DeadlineTimes::new(now),
            rare: Rare::default(),
            received_bytes: 0,
            sent_bytes: 0,
            phase: Phase::Open,
            reason: CloseReason::Completed,
            serve_due: true,
            may_read: true,
            may_write: true,
            input_end: InputEnd::Unknown,
            deadline_dirty: true,
        }
    }

    /// The service of this connection, while there is one.
    pub fn service(&self) -> Option<&S> {
        self.service.as_ref()
    }

    /// Mutable access to the service. Call [`handle_wake`](Self::handle_wake) to have it act on a change.
    pub fn service_mut(&mut self) -> Option<&mut S> {
        self.service.as_mut()
    }

    /// Sets the service that [`wants_open`](Self::wants_open) asks for.
    pub fn open(&mut self, service: S) {
        self.service = Some(service);
    }

    /// Returns the context of a call of the service, for `host`.
    pub fn context<'a>(
        &'a mut self,
        limits: &Limits,
        now: Instant,
        host: &'a mut dyn Host,
        socket: &'a dyn ByteStream,
    ) -> Context<'a> {
        let facts = [limits.drain_by.is_some(), !self.phase.has_output_ended()];
        Context::new(now, facts, &mut self.rare, host, socket)
    }

    /// Sets the handle of an outgoing connection, which was used before the connection existed.
    pub fn set_handle(&mut self, handle: Handle) {
        let rare = self.rare.needed();
        rare.handle = Some(handle);
        rare.sends_due = true;
    }

    /// The connection is over: informs the handles, and the service if it was made. Must be called once, as the last.
    /// The service stays: it may panic here and again when it is dropped, and two panics at once end the process.
    pub fn end(&mut self, reason: CloseReason) {
        if let Some(handle) = &self.rare.get().handle {
            handle.end();
        }
        if let Some(service) = &mut self.service {
            service.closed(reason);
        }
    }

    /// When the connection opened.
    pub fn opened(&self) -> Instant {
        self.times.opened()
    }

    /// Number of bytes received from the peer.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Number of bytes that the socket has taken for the peer.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// The close reason, once the connection is closed.
    #[inline]
    pub fn closed(&self) -> Option<CloseReason> {
        self.phase.is_closed().then_some(self.reason)
    }

    /// The close reason, once only the shutdown of our half and the peer's end remain.
    #[inline]
    pub fn ending(&self) -> Option<CloseReason> {
        let is_ending = matches!(self.phase, Phase::Finishing | Phase::Lingering) && self.output.is_empty();
        is_ending.then_some(self.reason)
    }

    // Input events.

    /// The socket reported readiness. A hang-up, like an error, is only a hint to try both directions.
    #[inline]
    pub fn handle_event(&mut self, readable: bool, writable: bool, hang_up: bool) {
        self.may_read |= readable || hang_up;
        self.may_write |= writable || hang_up;
        if hang_up && self.input_end == InputEnd::Unknown {
            self.input_end = InputEnd::Announced;
        }
    }

    /// Whether an event has announced a hang-up, an error, or urgent data.
    pub fn is_hung_up(&self) -> bool {
        self.input_end != InputEnd::Unknown
    }

    /// The owner of the service requests a call of it.
    pub fn handle_wake(&mut self) {
        self.serve_due = true;
    }

    /// The handle of the connection was used.
    pub fn handle_requests(&mut self) {
        let Some(rare) = self.rare.existing() else { return };
        let Some(handle) = &rare.handle else { return };
        let requests = handle.take_requests();
        rare.sends_due |= requests.send;
        self.serve_due |= requests.wake;
        if let Some(reason) = requests.reset {
            self.reason = reason;
            self.end_now(true);
        }
    }

    /// `count` bytes were read into the buffer that [`reading`](Self::reading) returned; `short` when it offered room
    /// for more.
    #[inline]
    pub fn handle_received(&mut self, count: usize, short: bool, now: Instant) {
        self.input.commit(count);
        self.received_bytes += count as u64;
        self.may_read &= !short || self.input_end == InputEnd::Announced;
        if self.phase.is_open() {
            self.times.record_activity(now);
            self.serve_due = true;
        } else {
            self.input.clear();
        }
    }

    /// The socket [has no error](Self::wants_error).
    pub fn handle_no_error(&mut self) {
        self.may_read &= !self.has_input_ended();
    }

    /// The socket has nothing to read for now.
    pub fn handle_read_blocked(&mut self) {
        self.may_read = false;
    }

    /// The peer has shut down its sending half.
    pub fn handle_end(&mut self) {
        self.may_read = false;
        self.input_end = InputEnd::Reached;
        self.serve_due = true;
        if self.phase == Phase::Lingering {
            self.phase = Phase::Closed;
        }
    }

    /// The socket took `count` bytes of [`writing`](Self::writing). If that was not all, it takes no more for now.
    #[inline]
    pub fn handle_sent(&mut self, count: usize, limits: &Limits, now: Instant) {
        let low = limits.buffer_bytes / LOW_WATERMARK;
        let was_high = self.output.len() > low;
        self.output.consume(count);
        self.sent_bytes += count as u64;
        self.may_write = self.output.is_empty();
        self.output_moved(self.may_write, now);
        self.serve_due |= self.waiting.wants_writable(was_high) && self.output.len() <= low;
    }

    /// Our sending half was shut down after all output was sent.
    pub fn handle_shut(&mut self, now: Instant) {
        self.output_moved(true, now);
        self.deadline_dirty = true;
        self.phase = if self.phase == Phase::OutputEnded { Phase::OutputShut } else { self.after_shut() };
    }

    /// The server is draining: answer what was received, then finish. The socket is read once more to find out what was
    /// received.
    pub fn handle_drain(&mut self) {
        self.serve_due = true;
        self.may_read = !self.has_input_ended();
        self.deadline_dirty = true;
    }

    /// A deadline named by [`next_deadline`](Self::next_deadline) may have expired. Every deadline is checked, not only
    /// the earliest: otherwise a service that keeps naming past instants would postpone all others.
    pub fn handle_deadline(&mut self, limits: &Limits, now: Instant) {
        self.deadline_dirty = true;
        let phase = self.phase;
        for deadline in self.times.expired(self.deadline_conditions(), limits, now) {
            // A handler may change the phase, and with it the deadlines that apply. The next check covers those.
            if self.phase == phase && !phase.is_closed() {
                self.handle_expired(deadline, limits, now);
            }
        }
    }

    /// Returns whether the [precise deadline](Self::precise_deadline) of the service has expired by `now`.
    pub fn handle_precise_timer(&mut self, now: Instant) -> bool {
        let is_due = self.precise_deadline().is_some_and(|instant| instant <= now);
        self.serve_due |= is_due;
        is_due
    }

    fn handle_expired(&mut self, deadline: Deadline, limits: &Limits, now: Instant) {
        match deadline {
            Deadline::Service => self.serve_due = true,
            Deadline::Check => {
                let rare = self.rare.needed();
                rare.checks = deadlines::checks_due(rare.blocked, limits, now);
            }
            // All output was sent before.
            Deadline::Linger => self.phase = Phase::Closed,
            Deadline::Drain if self.phase == Phase::Lingering => self.phase = Phase::Closed,
            Deadline::Drain => self.close(CloseReason::DrainCut),
            Deadline::Write => self.close(CloseReason::WriteTimeout),
            Deadline::Handshake => self.close(CloseReason::HandshakeTimeout),
            Deadline::Lifetime => self.finish(CloseReason::Lifetime),
            Deadline::FirstByte => self.finish(CloseReason::FirstByteTimeout),
            // Output that could not be sent in all this time would not be sent by lingering either.
            Deadline::Idle if self.output.is_empty() && self.phase.is_open() => self.finish(CloseReason::Idle),
            Deadline::Idle => self.close(CloseReason::Idle),
        }
    }

    /// Returns storage to the pool at the end of a turn.
    #[inline]
    pub fn release(&mut self, pool: &mut BufferPool) {
        if self.phase.is_closed() {
            self.input.clear();
            self.output.clear();
        }
        pool.reclaim(&mut self.input);
        pool.reclaim(&mut self.output);
    }

    /// Memory that the connection and its service hold for the peer, in bytes; 0 while nothing is buffered.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        let service = self.service.as_ref().map_or(0, Service::held_bytes);
        let sends = self.rare.get().handle.as_ref().filter(|_| self.sends_due()).map_or(0, Handle::held_bytes);
        (self.input.storage_bytes() + self.output.storage_bytes() + sends).saturating_add(service)
    }

    /// Bytes buffered in the input and in the output.
    pub fn buffered_bytes(&self) -> [usize; 2] {
        [self.input.len(), self.output.len()]
    }

    /// Storage of the input and of the output, in bytes.
    pub fn storage_bytes_of_each(&self) -> [usize; 2] {
        [self.input.storage_bytes(), self.output.storage_bytes()]
    }

    // Requests to the pump.

    /// Whether the service must be made: see [`open`](Self::open).
    #[inline]
    pub fn wants_open(&self) -> bool {
        self.service.is_none() && self.phase.is_open()
    }

    /// Whether the service must be called.
    #[inline]
    pub fn wants_service(&self) -> bool {
        self.serve_due && self.phase.is_open()
    }

    /// Whether bytes of the handle should be put into the output: see [`queue_sends`](Self::queue_sends).
    #[inline]
    pub fn wants_sends(&self) -> bool {
        self.sends_due() && self.phase.takes_sends()
    }

    #[inline]
    fn sends_due(&self) -> bool {
        self.rare.get().sends_due
    }

    /// As [`wants_sends`](Self::wants_sends), if there is room for certain.
    #[inline]
    pub fn wants_sends_now(&self) -> bool {
        self.wants_sends() && self.output.is_empty()
    }

    /// Whether output should be written to the socket.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.may_write && !self.output.is_empty() && !self.phase.is_closed()
    }

    /// Whether the socket should be read. Not with a full input buffer, nor while the service waits for output space:
    /// this is the whole of back-pressure. While the connection is finishing, input is read to be discarded.
    #[inline]
    pub fn wants_read(&self, limits: &Limits) -> bool {
        let accepts_input = match self.phase {
            phase if phase.is_open() => self.waiting != ServiceWait::Writable && self.input.len() < limits.buffer_bytes,
            phase => !phase.is_closed(),
        };
        accepts_input && self.may_read && !self.has_input_ended()
    }

    /// Whether the socket should be asked for an error after a hang-up. The connection does not read, because the input
    /// has ended or its buffer is full, and has nothing to write, so it would not notice a reset.
    #[inline]
    pub fn wants_error(&self) -> bool {
        self.may_read && self.input_end != InputEnd::Unknown && self.phase.is_open() && self.output.is_empty()
    }

    /// Whether all output was sent and our sending half should be shut down.
    #[inline]
    pub fn wants_shut(&self) -> bool {
        let is_all_sent = self.output.is_empty() && !self.sends_due() && self.may_write;
        matches!(self.phase, Phase::Finishing | Phase::OutputEnded) && is_all_sent
    }

    /// Whether closing the socket completes the connection. After the peer's end there is nothing to linger for, and
    /// closing the socket sends our end as well.
    pub fn ends_with_close(&self) -> bool {
        self.phase == Phase::Finishing && self.has_input_ended()
    }

    /// The earliest instant at which [`handle_deadline`](Self::handle_deadline) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        if self.phase.is_closed() { None } else { self.times.earliest(self.deadline_conditions(), limits) }
    }

    fn deadline_conditions(&self) -> DeadlineConditions {
        let rare = self.rare.get();
        DeadlineConditions {
            is_handshaking: self.is_handshaking(),
            is_open: self.phase.is_open(),
            is_lingering: self.phase == Phase::Lingering,
            no_bytes_moved: self.received_bytes == 0 && self.sent_bytes == 0,
            blocked: rare.blocked,
            checks: rare.checks,
            service: if self.waiting == ServiceWait::Deadline { rare.service } else { Moment::NEVER },
        }
    }

    /// The next deadline, if it may have moved nearer since the last call; otherwise `None`. A deadline that moved away
    /// is noticed when the old one expires, so a message costs no deadline computation.
    #[inline]
    pub fn urgent_deadline(&mut self, limits: &Limits) -> Option<Instant> {
        if std::mem::take(&mut self.deadline_dirty) { self.next_deadline(limits) } else { None }
    }

    /// The instant, to the microsecond, at which [`handle_precise_timer`](Self::handle_precise_timer) must be called.
    #[inline]
    pub fn precise_deadline(&self) -> Option<Instant> {
        (self.waiting == ServiceWait::PreciseDeadline).then(|| self.rare.get().service.into())
    }

    // Operations of the pump.

    /// Puts bytes of the handle into the output, as far as there is room. Not between two parts of a message: a service
    /// that waits for output space may have the rest of one.
    pub fn queue_sends(&mut self, pool: &mut BufferPool, limits: &Limits) {
        let Some(handle) = self.rare.get().handle.clone() else { return };
        if self.phase.is_open() && self.waiting == ServiceWait::Writable && !handle.is_closing() {
            return;
        }
        let mut output = Output::new(&mut self.output, pool, limits.buffer_bytes);
        loop {
            match handle.next_send(output.room()) {
                NextSend::Message(bytes) => {
                    output.write(&bytes);
                }
                NextSend::Blocked => return,
                NextSend::Nothing => break,
                NextSend::Close(reason) => {
                    self.finish(reason);
                    break;
                }
            }
        }
        self.rare.needed().sends_due = false;
    }

    /// Calls the service and handles the wait that it returns.
    #[inline]
    pub fn serve(
        &mut self,
        pool: &mut BufferPool,
        limits: &Limits,
        now: Instant,
        host: &mut dyn Host,
        socket: &dyn ByteStream,
    ) {
        let Some(service) = &mut self.service else { return };
        self.serve_due = false;
        let mut input = Input::new(&mut self.input, self.input_end == InputEnd::Reached);
        let mut output = Output::new(&mut self.output, pool, limits.buffer_bytes);
        if self.phase.has_output_ended() {
            output.end();
        }
        let facts = [limits.drain_by.is_some(), !self.phase.has_output_ended()];
        let mut context = Context::new(now, facts, &mut self.rare, host, socket);
        let wait = service.serve(&mut input, &mut output, &mut context);
        if output.has_ended() && self.phase == Phase::Open {
            self.phase = Phase::OutputEnded;
            self.refuse_sends();
        }
        let wait = service_wait::normalize_wait(wait, now);
        let waited = std::mem::replace(&mut self.waiting, wait.into());
        match wait {
            Wait::Deadline(instant) => {
                let moment = instant.into();
                let before = std::mem::replace(&mut self.rare.needed().service, moment);
                self.deadline_dirty |= waited != ServiceWait::Deadline || moment < before;
            }
            Wait::PreciseDeadline(instant) => self.rare.needed().service = instant.into(),
            Wait::Close => self.finish(CloseReason::Completed),
            Wait::Abort => self.finish(CloseReason::ProtocolError),
            Wait::Input if self.has_input_ended() => self.finish(CloseReason::PeerClosed),
            Wait::Input if self.input.len() >= limits.buffer_bytes => self.finish(CloseReason::FrameTooLarge),
            Wait::Writable if self.output.is_empty() && self.phase.has_output_ended() => {
                self.finish(CloseReason::NoProgress);
            }
            Wait::Writable if self.output.is_empty() => self.finish(CloseReason::ReplyTooLarge),
            Wait::Either if self.output.is_empty() => self.finish_without_room(limits),
            Wait::Input | Wait::Writable | Wait::Either | Wait::Wake => {}
        }
    }

    /// With empty output no further room can become free, so only input can end the wait.
    fn finish_without_room(&mut self, limits: &Limits) {
        if self.has_input_ended() && self.input.is_empty() {
            self.finish(CloseReason::PeerClosed);
        } else if self.has_input_ended() || self.input.len() >= limits.buffer_bytes {
            self.finish(CloseReason::NoProgress);
        }
    }

    /// Returns space for bytes from the socket; never empty while [`wants_read`](Self::wants_read).
    #[inline]
    pub fn reading(&mut self, pool: &mut BufferPool, limits: &Limits) -> &mut [u8] {
        pool.make_room(&mut self.input, limits.buffer_bytes);
        self.input.spare(limits.buffer_bytes)
    }

    /// The output bytes for the socket.
    #[inline]
    pub fn writing(&self) -> &[u8] {
        self.output.bytes()
    }

    /// Finishes a draining connection that has nothing in flight: nothing to read, to answer or to send.
    #[inline]
    pub fn finish_if_drained(&mut self, limits: &Limits) {
        if limits.drain_by.is_some() && self.phase.is_open() && self.has_nothing_in_flight() {
            self.finish(CloseReason::Drained);
        }
    }

    /// Of a connection whose output has ended, input that still arrives cannot be answered.
    fn has_nothing_in_flight(&self) -> bool {
        let all_read = !self.may_read && self.input.is_empty() && self.waiting != ServiceWait::Writable;
        let all_sent = self.output.is_empty() && !self.sends_due();
        let is_busy = self.serve_due || self.service.as_ref().is_some_and(Service::is_busy);
        !is_busy && (self.phase.has_output_ended() || all_read && all_sent)
    }

    #[inline]
    fn has_input_ended(&self) -> bool {
        self.input_end == InputEnd::Reached
    }

    /// The phase after the open ones. A half that is shut is not shut again.
    fn after_open(&self) -> Phase {
        if self.phase == Phase::OutputShut { self.after_shut() } else { Phase::Finishing }
    }

    fn after_shut(&self) -> Phase {
        if self.has_input_ended() { Phase::Closed } else { Phase::Lingering }
    }

    fn finish(&mut self, reason: CloseReason) {
        if self.phase.is_open() {
            self.phase = self.after_open();
            self.deadline_dirty = true;
            self.reason = reason;
            self.input.clear();
            self.refuse_sends();
        }
    }

    /// Accepts no more bytes from handles. Those that were accepted are not sent.
    fn discard_sends(&mut self) {
        if let Some(rare) = self.rare.existing()
            && let Some(handle) = &rare.handle
        {
            handle.discard();
            rare.sends_due = false;
        }
    }

    /// Accepts no more bytes from handles. Those that were accepted are sent.
    fn refuse_sends(&mut self) {
        if let Some(rare) = self.rare.existing()
            && let Some(handle) = &rare.handle
        {
            handle.refuse();
            rare.sends_due |= handle.held_bytes() > 0;
        }
    }
}
