//! One listening socket of one worker: accepting, and pausing when accept(2) fails.
//!
//! Events are edge-triggered. An acceptor that stops before the backlog is empty receives no further event for the
//! pending connections. It therefore re-enters the ready queue when its budget is spent. After an error such as
//! `EMFILE` it pauses, and retries on a timer and whenever a connection closes.

use super::counters::Counters;
use super::token::Trigger;
use crate::error::{ErrorBackoff, ErrorClass, Warning, in_words_with_errno};
use crate::event_loop::{Key, LoopContext, Timer};
use crate::socket::{Address, Listener, Stream};
use crate::units::format_duration;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Connections accepted per turn before existing connections are served again. Accepting one costs about as much as a
/// few messages; 64 delay other connections by well under a millisecond.
pub(super) const ACCEPTS_PER_TURN: usize = 64;

/// How long an acceptor pauses when the server is full. A connection that closes ends the pause.
const PAUSE: Duration = Duration::from_millis(100);

/// Result of one attempt to accept.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection was accepted.
    Connection(Stream, Address),
    /// The backlog is empty.
    Empty,
    /// The budget of this turn is spent, and more connections may be pending. The acceptor is in the ready queue.
    BudgetSpent,
    /// A lack of resources. The timer or a closing connection triggers the next attempt.
    Paused,
    /// accept(2) fails for another reason. The timer triggers the next attempt.
    Failed,
}

/// Use of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The service.
    Service,
    /// The admin pages.
    Admin,
}

/// One listening socket of one worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// None once it is closed.
    listener: Option<Listener>,
    /// The address of the listener, if the system tells.
    address: Option<Address>,
    purpose: Purpose,
    key: Key,
    paused: bool,
    timer: Timer,
    budget: usize,
    backoff: ErrorBackoff,
    warning: Warning,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, purpose: Purpose, key: Key) -> Self {
        Self {
            address: listener.local_address().ok(),
            listener: Some(listener),
            purpose,
            key,
            paused: false,
            timer: Timer::default(),
            budget: 0,
            backoff: ErrorBackoff::default(),
            warning: Warning::default(),
        }
    }

    pub(super) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        self.listener.as_mut().map_or(Ok(()), |listener| context.register_listener(listener.source(), self.key))
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether it accepts on `trigger`: a timer that outlived its pause means nothing.
    pub(super) fn accepts_on(&self, trigger: Trigger) -> bool {
        self.paused || trigger != Trigger::Expired
    }

    /// Ends a pause, because a connection has closed, and takes a turn soon.
    pub(super) fn resume(&mut self, context: &mut LoopContext) {
        if self.paused {
            context.ready.push_back(self.key);
            self.end_pause();
        }
    }

    /// A descriptor or a connection slot may be free: the next attempt need not wait for the timer.
    pub(super) fn end_pause(&mut self) {
        self.paused = false;
        self.backoff.end_pause();
    }

    /// Begins a turn of at most `budget` connections.
    pub(super) fn begin_turn(&mut self, budget: usize) {
        self.paused = false;
        self.budget = budget;
    }

    /// Accepts one connection. Counts every failure other than an empty backlog.
    pub(super) fn accept(&mut self, context: &mut LoopContext, counters: &Counters) -> Accepted {
        let Some(listener) = &self.listener else { return Accepted::Empty };
        if self.backoff.is_pausing(context.now) {
            // A new connection does not end the pause: accepting it would also fail.
            self.pause_until(context, self.backoff.pauses_until(context.now));
            return Accepted::Paused;
        }
        loop {
            if self.budget == 0 {
                context.ready.push_back(self.key);
                return Accepted::BudgetSpent;
            }
            let error = match listener.accept() {
                Ok((stream, peer)) => {
                    self.budget -= 1;
                    self.backoff.succeeded();
                    return Accepted::Connection(stream, peer);
                }
                Err(error) => error,
            };
            let class = ErrorClass::of(&error);
            if class == ErrorClass::WouldBlock {
                self.backoff.succeeded();
                return Accepted::Empty;
            }
            counters.accept_failed(&error);
            self.budget -= 1;
            if let Some(pause) = self.backoff.failed(class, context.now) {
                self.warn(context.now, &error, pause, counters.accept_errors.total());
                self.pause_until(context, self.backoff.pauses_until(context.now));
                return if class == ErrorClass::OutOfResources { Accepted::Paused } else { Accepted::Failed };
            }
        }
    }

    fn warn(&mut self, now: Instant, error: &io::Error, pause: Duration, failures: u64) {
        if self.warning.is_due(now) {
            let (words, pause) = (in_words_with_errno(error), format_duration(pause));
            log::warn!(failures; "cannot accept a connection: {words}; trying again in {pause}");
        }
    }

    /// Pauses until the timer expires or a connection closes.
    pub(super) fn pause(&mut self, context: &mut LoopContext) {
        self.pause_until(context, Some(context.now + PAUSE));
    }

    fn pause_until(&mut self, context: &mut LoopContext, deadline: Option<Instant>) {
        self.paused = true;
        context.wheel.arm(&mut self.timer, self.key, deadline);
    }

    /// The address of the listener, if it is known.
    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// A duplicate of the listening descriptor, unless the acceptor is closed.
    pub(super) fn duplicate(&self) -> Option<io::Result<OwnedFd>> {
        self.listener.as_ref().map(|listener| listener.as_fd().try_clone_to_owned())
    }

    /// Closes the listener. Pending connections must be accepted first: closing resets them, unless another process has
    /// the same socket.
    pub(super) fn close(&mut self, context: &mut LoopContext) {
        self.paused = false;
        context.wheel.cancel(&mut self.timer);
        if let Some(mut listener) = self.listener.take() {
            context.deregister(listener.source());
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.listener.is_none()
    }
}
