//! One conversation's state: what came in, what must go out, which half is shut, and what the clock has to do with it.
//!
//! A connection is told what the socket did (`handle_*`), is asked what it wants next (`wants_*`), and names the one
//! instant for the next look at it ([`next_deadline`](Connection::next_deadline)). It never touches a socket and never
//! reads a clock, so a whole conversation can be replayed in a test.
//!
//! Its life:
//!
//! ```text
//! Open ------> Finishing ------> Lingering ------> Closed
//!   served       output is         our half is shut,
//!                still sent        input is discarded
//! ```
//!
//! Where a handshake comes first (TLS), a conversation waits for its end, and opens then: the service is not called before.
//!
//! The end of the input is not the end of the conversation: what was received before it is still answered. And
//! closing a socket that holds unread input would send a reset, which can destroy a reply on its way: hence the two
//! middle phases (RFC 1122, section 4.2.2.13; RFC 9112, section 9.6). A service may also end its own output and go on
//! being served: then our half is shut while the conversation is open.

mod close_reason;
mod deadlines;
mod limits;
mod lower_layer;
mod output_progress;
mod phase;
mod service_wait;
#[cfg(test)]
mod tests;

pub use close_reason::CloseReason;
pub use limits::Limits;

use crate::buffer::{Buffer, BufferPool};
use crate::service::{Input, Output, Service, Wait};
use deadlines::{Applying, Deadline, DeadlineTimes};
use phase::Phase;
use service_wait::ServiceWait;
use std::time::Instant;

/// Room counts as freed when at most one in this many bytes of the output's limit is still waiting.
const LOW_WATERMARK: usize = 4;

/// One conversation between a service and a peer.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any combination can occur")]
pub struct Connection<S> {
    service: S,
    input: Buffer,
    output: Buffer,
    waiting: ServiceWait,
    times: DeadlineTimes,
    received_bytes: u64,
    sent_bytes: u64,
    phase: Phase,
    /// Why the conversation ends; means something from `Finishing` on.
    reason: CloseReason,
    /// The service has something new to look at.
    serve_due: bool,
    /// The socket may have more to read. Events come at edges only, so this is remembered until a read says otherwise.
    may_read: bool,
    /// The socket may take more. Remembered in the same way. Without output that waits, here or below, it may.
    may_write: bool,
    /// The socket hinted at its end or at urgent data: a short read then does not mean that it is drained.
    hang_up: bool,
    input_ended: bool,
    /// The deadline may have come nearer since it was last asked for.
    deadline_dirty: bool,
    /// The conversation was ended by force, and output was lost with it.
    is_cut: bool,
    /// How many checks have found nothing new since output was delivered last.
    checks: u8,
    /// What the peer's system had acknowledged at the latest check: of the number of bytes the lower half, whose changes are
    /// all that matters.
    acknowledged: u32,
}

impl<S: Service> Connection<S> {
    /// A conversation that opens now. The service is due at once: it may want to speak first.
    pub fn new(service: S, now: Instant) -> Self {
        Self {
            service,
            input: Buffer::new(),
            output: Buffer::new(),
            waiting: ServiceWait::Input,
            times: DeadlineTimes::new(now),
            received_bytes: 0,
            sent_bytes: 0,
            phase: Phase::Open,
            reason: CloseReason::Completed,
            serve_due: true,
            may_read: true,
            may_write: true,
            hang_up: false,
            input_ended: false,
            deadline_dirty: true,
            is_cut: false,
            checks: 0,
            acknowledged: 0,
        }
    }

    /// The service of this conversation.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The same, to tell it something; what it has to do then it does when it is [woken](Self::handle_wake).
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// When the conversation opened.
    pub fn opened(&self) -> Instant {
        self.times.opened()
    }

    /// Bytes received from the peer so far.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Bytes the socket has taken for the peer so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Why the conversation ended, once it has.
    #[inline]
    pub fn closed(&self) -> Option<CloseReason> {
        (self.phase == Phase::Closed).then_some(self.reason)
    }

    /// Why the conversation ends, once nothing is left but to tell the peer and to await its end.
    #[inline]
    pub fn ending(&self) -> Option<CloseReason> {
        let is_ending = matches!(self.phase, Phase::Finishing | Phase::Lingering) && self.output.is_empty();
        is_ending.then_some(self.reason)
    }

    // What the world did.

    /// The socket reported readiness. A hang-up, like an error, is only a hint to try both directions.
    #[inline]
    pub fn handle_event(&mut self, readable: bool, writable: bool, hang_up: bool) {
        self.may_read |= readable || hang_up;
        self.may_write |= writable || hang_up;
        self.hang_up |= hang_up;
    }

    /// Another thread, or the service itself from elsewhere, asked for a call.
    pub fn handle_wake(&mut self) {
        self.serve_due = true;
    }

    /// Bytes were read into the buffer that [`reading`](Self::reading) gave; `short` when fewer than it offered.
    #[inline]
    pub fn handle_received(&mut self, count: usize, short: bool, now: Instant) {
        self.input.commit(count);
        self.received_bytes += count as u64;
        self.may_read &= !short || self.hang_up;
        if self.phase.is_open() {
            self.times.moved(now);
            self.serve_due = true;
        } else {
            self.input.clear();
        }
    }

    /// The socket has nothing to read for now.
    pub fn handle_read_blocked(&mut self) {
        self.may_read = false;
    }

    /// The peer has shut its sending half.
    pub fn handle_end(&mut self) {
        self.may_read = false;
        self.input_ended = true;
        self.serve_due = true;
        if self.phase == Phase::Lingering {
            self.phase = Phase::Closed;
        }
    }

    /// The socket took `count` bytes of [`writing`](Self::writing); when that was not all, it takes no more for now.
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

    /// Our sending half was shut, everything before it was sent.
    pub fn handle_shut(&mut self, now: Instant) {
        self.output_moved(true, now);
        self.deadline_dirty = true;
        self.phase = if self.phase == Phase::Ending { Phase::Listening } else { self.after_shut() };
    }

    /// The server wants to end: answer what was received, then finish. One more look at the socket tells what that is.
    pub fn handle_drain(&mut self) {
        match self.phase {
            Phase::Open => self.phase = Phase::Draining,
            // Whatever is received, there will be no answer.
            Phase::Ending | Phase::Listening => self.finish(CloseReason::Drained),
            _ => {}
        }
        self.may_read = !self.input_ended;
        self.deadline_dirty = true;
    }

    /// An instant named by [`next_deadline`](Self::next_deadline) may have come. Every deadline is checked, not the earliest
    /// one alone: a service that keeps naming instants that have passed would put off all others.
    pub fn handle_deadline(&mut self, limits: &Limits, now: Instant) {
        self.deadline_dirty = true;
        let phase = self.phase;
        for deadline in self.times.passed(Applying::to(self), limits, now) {
            // In another phase other deadlines apply. The next check is for them.
            if self.phase == phase && phase != Phase::Closed {
                self.handle_passed(deadline, limits, now);
            }
        }
    }

    /// An instant named by [`precise_deadline`](Self::precise_deadline) may have come; returns whether it has, and the service still waits for it.
    pub fn handle_precise_timer(&mut self, now: Instant) -> bool {
        let is_awaited = self.precise_deadline().is_some_and(|instant| instant <= now);
        self.serve_due |= is_awaited;
        is_awaited
    }

    fn handle_passed(&mut self, deadline: Deadline, limits: &Limits, now: Instant) {
        match deadline {
            Deadline::Service => self.serve_due = true,
            Deadline::Check => self.checks = self.times.checks_due(limits, now),
            // Everything was sent long ago.
            Deadline::Linger => self.phase = Phase::Closed,
            Deadline::Drain if self.phase == Phase::Lingering => self.phase = Phase::Closed,
            Deadline::Drain => self.close(CloseReason::DrainCut),
            Deadline::Write => self.close(CloseReason::WriteTimeout),
            Deadline::Handshake => self.close(CloseReason::HandshakeTimeout),
            Deadline::Lifetime => self.finish(CloseReason::Lifetime),
            Deadline::FirstByte => self.finish(CloseReason::FirstByteTimeout),
            // What could not be sent in all this time will not be sent by waiting for it once more.
            Deadline::Idle if self.output.is_empty() && self.phase.is_open() => self.finish(CloseReason::Idle),
            Deadline::Idle => self.close(CloseReason::Idle),
        }
    }

    /// Gives back storage at the end of a turn.
    #[inline]
    pub fn release(&mut self, pool: &mut BufferPool) {
        if self.phase == Phase::Closed {
            self.input.clear();
            self.output.clear();
        }
        pool.reclaim(&mut self.input);
        pool.reclaim(&mut self.output);
    }

    /// How much memory the connection and its service hold on behalf of the peer, in bytes: nothing while nothing waits.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        (self.input.storage_bytes() + self.output.storage_bytes()).saturating_add(self.service.held_bytes())
    }

    // What the conversation wants.

    /// Whether the service has something new to look at.
    #[inline]
    pub fn wants_service(&self) -> bool {
        self.serve_due && self.phase.is_open()
    }

    /// Whether bytes should be offered to the socket.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.may_write && !self.output.is_empty() && self.phase != Phase::Closed
    }

    /// Whether the socket should be read. A full input buffer, or a service that waits for room, wants nothing read:
    /// that is all there is to back-pressure. When the conversation is ending, input is read to be discarded.
    #[inline]
    pub fn wants_read(&self, limits: &Limits) -> bool {
        let takes = match self.phase {
            phase if phase.is_open() => self.waiting != ServiceWait::Writable && self.input.len() < limits.buffer_bytes,
            phase => phase != Phase::Closed,
        };
        takes && self.may_read && !self.input_ended
    }

    /// Whether everything was sent and our sending half should be shut.
    #[inline]
    pub fn wants_shut(&self) -> bool {
        matches!(self.phase, Phase::Finishing | Phase::Ending) && self.output.is_empty() && self.may_write
    }

    /// Whether the conversation is over but for shutting our half: after the peer's end there is nothing to linger for, and
    /// closing the socket sends our end as well.
    pub fn ends_with_close(&self) -> bool {
        self.phase == Phase::Finishing && self.input_ended
    }

    /// The earliest instant at which [`handle_deadline`](Self::handle_deadline) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        if self.phase == Phase::Closed { None } else { self.times.earliest(Applying::to(self), limits) }
    }

    /// The next deadline, if it may have come nearer since this was last asked; else it has only moved away, and whoever
    /// waits for the old one will find that out in time. So a message costs no look at the deadlines.
    #[inline]
    pub fn urgent_deadline(&mut self, limits: &Limits) -> Option<Instant> {
        if std::mem::take(&mut self.deadline_dirty) { self.next_deadline(limits) } else { None }
    }

    /// The instant, kept to the microsecond, at which [`handle_precise_timer`](Self::handle_precise_timer) has something to do.
    #[inline]
    pub fn precise_deadline(&self) -> Option<Instant> {
        (self.waiting == ServiceWait::PreciseDeadline).then(|| self.times.service())
    }

    // What the pump does on its behalf.

    /// Calls the service.
    #[inline]
    pub fn serve(&mut self, pool: &mut BufferPool, limits: &Limits, now: Instant) {
        self.serve_due = false;
        let mut input = Input::new(&mut self.input, self.input_ended);
        let mut output = Output::new(&mut self.output, pool, limits.buffer_bytes);
        if self.phase.says_no_more() {
            output.end();
        }
        let wait = self.service.serve(&mut input, &mut output, now);
        if output.has_ended() && self.phase != Phase::Listening {
            self.phase = Phase::Ending;
        }
        let wait = service_wait::what_can_come(wait, self.output.is_empty(), now);
        self.waiting = wait.into();
        match wait {
            Wait::Deadline(instant) => {
                self.times.wait_until(instant);
                self.deadline_dirty = true;
            }
            Wait::PreciseDeadline(instant) => self.times.wait_until(instant),
            Wait::Close => self.finish(CloseReason::Completed),
            Wait::Abort => self.finish(CloseReason::ProtocolError),
            Wait::Input if self.input_ended => self.finish(CloseReason::PeerClosed),
            Wait::Input if self.input.len() >= limits.buffer_bytes => self.finish(CloseReason::FrameTooLarge),
            Wait::Writable if self.output.is_empty() => self.finish(CloseReason::ReplyTooLarge),
            Wait::Input | Wait::Writable | Wait::Either => {}
        }
    }

    /// Room for bytes from the socket; never empty while [`wants_read`](Self::wants_read).
    #[inline]
    pub fn reading(&mut self, pool: &mut BufferPool, limits: &Limits) -> &mut [u8] {
        pool.make_room(&mut self.input, limits.buffer_bytes);
        self.input.spare(limits.buffer_bytes)
    }

    /// The bytes for the socket.
    #[inline]
    pub fn writing(&self) -> &[u8] {
        self.output.bytes()
    }

    /// Finishes a draining conversation that has nothing in flight: nothing to read, to answer or to send.
    #[inline]
    pub fn finish_if_drained(&mut self) {
        if self.phase == Phase::Draining && self.is_quiet() {
            self.finish(CloseReason::Drained);
        }
    }

    fn is_quiet(&self) -> bool {
        let all_read = !self.may_read && !self.serve_due && self.waiting == ServiceWait::Input;
        all_read && self.input.is_empty() && self.output.is_empty()
    }

    fn after_shut(&self) -> Phase {
        if self.input_ended { Phase::Closed } else { Phase::Lingering }
    }

    fn finish(&mut self, reason: CloseReason) {
        if self.phase.is_open() {
            self.phase = if self.phase == Phase::Listening { self.after_shut() } else { Phase::Finishing };
            self.deadline_dirty = true;
            self.reason = reason;
            self.input.clear();
        }
    }
}
