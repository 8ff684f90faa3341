//! The door: one listener of one worker, and what to do when it cannot let anybody in.
//!
//! Events come at edges: a door that stops before the backlog is empty must remember so itself, or those who wait are
//! never seen again. A door therefore is an entry of the ready queue like any connection, and when it cannot go on it
//! is tried again by timer and whenever a connection closes.

use super::counters::Counters;
use crate::error::{ErrorBackoff, ErrorClass, Warning, in_words_with_errno};
use crate::event_loop::{Key, LoopContext, Timer};
use crate::socket::{Address, Listener, Stream};
use crate::units::{format_count, format_duration};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many connections a door lets in before the conversations get their turn. Accepting one costs about as much as
/// a few messages; 64 of them delay a conversation by well under a millisecond.
pub(super) const ACCEPTS_PER_TURN: usize = 64;

/// How long a door pauses when the server is full; a connection that closes ends the pause.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of one try to accept.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Somebody came in.
    Connection(Stream, Address),
    /// Nobody is waiting.
    Nobody,
    /// The turn is over, others may be waiting: the ready queue brings the next one.
    TurnOver,
    /// It cannot go on for now: the timer or a closing connection brings the next try.
    Paused,
    /// Accepting itself fails, for another reason than a lack of resources: the timer brings the next try.
    Failed,
}

/// One listener of one worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// None once it is closed for good.
    listener: Option<Listener>,
    key: Key,
    paused: bool,
    timer: Timer,
    left_this_turn: usize,
    backoff: ErrorBackoff,
    warning: Warning,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, key: Key) -> Self {
        Self {
            listener: Some(listener),
            key,
            paused: false,
            timer: Timer::default(),
            left_this_turn: 0,
            backoff: ErrorBackoff::default(),
            warning: Warning::default(),
        }
    }

    pub(super) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        self.listener.as_mut().map_or(Ok(()), |listener| context.register_listener(listener.source(), self.key))
    }

    /// Whether the door waits for a connection to close.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// A descriptor or a place may be free: the next try need not wait for the timer.
    pub(super) fn end_pause(&mut self) {
        self.paused = false;
        self.backoff.end_pause();
    }

    /// Begins a turn that lets in `most` at the most.
    pub(super) fn begin_turn(&mut self, most: usize) {
        self.paused = false;
        self.left_this_turn = most;
    }

    /// Lets one in. What fails is counted, other than that nobody waits.
    pub(super) fn accept(&mut self, context: &mut LoopContext, counters: &Counters) -> Accepted {
        let Some(listener) = &self.listener else { return Accepted::Nobody };
        if self.backoff.is_pausing(context.now) {
            // A new connection does not end the pause: accepting it would fail, too.
            self.pause_until(context, self.backoff.pauses_until(context.now));
            return Accepted::Paused;
        }
        loop {
            if self.left_this_turn == 0 {
                context.ready.push_back(self.key);
                return Accepted::TurnOver;
            }
            let error = match listener.accept() {
                Ok((stream, peer)) => {
                    self.left_this_turn -= 1;
                    self.backoff.succeeded();
                    return Accepted::Connection(stream, peer);
                }
                Err(error) => error,
            };
            let class = ErrorClass::of(&error);
            if class == ErrorClass::WouldBlock {
                self.backoff.succeeded();
                return Accepted::Nobody;
            }
            counters.accept_failed(&error);
            self.left_this_turn -= 1;
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
            log::warn!(
                "cannot accept a connection: {words}; trying again in {pause} (failures so far: {})",
                format_count(failures)
            );
        }
    }

    /// Waits for the timer, or for a connection to close.
    pub(super) fn pause(&mut self, context: &mut LoopContext) {
        self.pause_until(context, Some(context.now + PAUSE));
    }

    fn pause_until(&mut self, context: &mut LoopContext, deadline: Option<Instant>) {
        self.paused = true;
        context.wheel.arm(&mut self.timer, self.key, deadline);
    }

    /// Another descriptor of the same socket, unless the door is closed.
    pub(super) fn copy(&self) -> Option<io::Result<OwnedFd>> {
        self.listener.as_ref().map(|listener| listener.as_fd().try_clone_to_owned())
    }

    /// Closes the door for good. Whoever waits before it must have been let in first: closing resets them, unless another
    /// process has the same socket.
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
