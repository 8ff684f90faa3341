//! The door: one listener of one worker, and what to do when it cannot let anybody in.
//!
//! Events come at edges: a door that stops before the backlog is empty must remember so itself, or those who wait are
//! never seen again. A door therefore is an entry of the ready queue like any connection, and when it cannot go on it
//! is tried again by timer and whenever a connection closes.

use super::counters::Counters;
use super::warning::Warning;
use crate::event_loop::{Agenda, Key, Timer};
use crate::socket::{Address, Listener, Stream};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many connections a door lets in before the conversations get their turn. Accepting one costs about as much as
/// a few messages; 64 of them delay a conversation by well under a millisecond.
pub(super) const ACCEPTS_PER_TURN: usize = 64;

/// How long a door pauses when it cannot let anybody in.
const PAUSE: Duration = Duration::from_millis(100);

/// What a failed accept asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Nobody is waiting.
    Nobody,
    /// The one that waited is gone, or its network failed (accept(2), "Error handling"): take the next at once.
    NextAtOnce,
    /// The process or the system has no descriptor or no memory left: pause.
    OutOfResources,
    /// Something that should not happen: log it and pause.
    Unexpected,
}

fn classify(error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::WouldBlock {
        return Failure::Nobody;
    }
    let Some(errno) = Errno::from_io_error(error) else { return Failure::Unexpected };
    match errno {
        Errno::CONNABORTED
        | Errno::INTR
        | Errno::NETDOWN
        | Errno::PROTO
        | Errno::NOPROTOOPT
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::HOSTUNREACH
        | Errno::OPNOTSUPP
        | Errno::NETUNREACH => Failure::NextAtOnce,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Failure::OutOfResources,
        _ => Failure::Unexpected,
    }
}

/// What came of one try to accept.
#[derive(Debug)]
pub(super) enum Knock {
    /// Somebody came in.
    Came(Stream, Address),
    /// Nobody is waiting.
    Nobody,
    /// The turn is over, others may be waiting: the ready queue brings the next one.
    TurnOver,
    /// It cannot go on for now: the timer or a closing connection brings the next try.
    Paused,
}

/// One listener of one worker.
#[derive(Debug)]
pub(super) struct Door {
    /// None once it is closed for good.
    listener: Option<Listener>,
    key: Key,
    paused: bool,
    timer: Timer,
    left_this_turn: usize,
    warning: Warning,
}

impl Door {
    pub(super) fn new(listener: Listener, key: Key) -> Self {
        Self {
            listener: Some(listener),
            key,
            paused: false,
            timer: Timer::default(),
            left_this_turn: 0,
            warning: Warning::default(),
        }
    }

    pub(super) fn open(&mut self, agenda: &Agenda) -> io::Result<()> {
        self.listener.as_mut().map_or(Ok(()), |listener| agenda.register_listener(listener.source(), self.key))
    }

    /// Whether the door waits for a connection to close.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn end_pause(&mut self) {
        self.paused = false;
    }

    /// Begins a turn that lets in `most` at the most.
    pub(super) fn begin_turn(&mut self, most: usize) {
        self.end_pause();
        self.left_this_turn = most;
    }

    /// Lets one in. What fails is counted, other than that nobody waits.
    pub(super) fn knock(&mut self, agenda: &mut Agenda, counters: &Counters) -> Knock {
        let Some(listener) = &self.listener else { return Knock::Nobody };
        loop {
            if self.left_this_turn == 0 {
                agenda.ready.push_back(self.key);
                return Knock::TurnOver;
            }
            let error = match listener.accept() {
                Ok((stream, peer)) => {
                    self.left_this_turn -= 1;
                    return Knock::Came(stream, peer);
                }
                Err(error) => error,
            };
            match classify(&error) {
                Failure::Nobody => return Knock::Nobody,
                Failure::NextAtOnce => {
                    self.left_this_turn -= 1;
                    counters.accept_failed(&error);
                }
                Failure::OutOfResources | Failure::Unexpected => {
                    counters.accept_failed(&error);
                    self.warn(agenda.now, &error, counters.accept_errors.total());
                    self.pause(agenda);
                    return Knock::Paused;
                }
            }
        }
    }

    fn warn(&mut self, now: Instant, error: &io::Error, failures: u64) {
        if self.warning.is_due(now) {
            let words = crate::error::in_words(error);
            log::warn!("cannot accept a connection: {words}; trying again soon (failures so far: {failures})");
        }
    }

    /// Waits for the timer, or for a connection to close.
    pub(super) fn pause(&mut self, agenda: &mut Agenda) {
        self.paused = true;
        let deadline = agenda.now + PAUSE;
        agenda.wheel.arm(&mut self.timer, self.key, Some(deadline));
    }

    /// Another descriptor of the same socket, unless the door is closed.
    pub(super) fn copy(&self) -> Option<io::Result<OwnedFd>> {
        self.listener.as_ref().map(|listener| listener.as_fd().try_clone_to_owned())
    }

    /// Closes the door for good. Whoever waits before it must have been let in first: closing resets them, unless another
    /// process has the same socket.
    pub(super) fn close(&mut self, agenda: &mut Agenda) {
        self.paused = false;
        agenda.wheel.cancel(&mut self.timer);
        if let Some(mut listener) = self.listener.take() {
            agenda.deregister(listener.source());
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.listener.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, classify};
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn errors_divide_as_the_manual_says() {
        let class = |errno: Errno| classify(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(class(Errno::AGAIN), Failure::Nobody);
        assert_eq!(class(Errno::CONNABORTED), Failure::NextAtOnce);
        assert_eq!(class(Errno::PROTO), Failure::NextAtOnce);
        assert_eq!(class(Errno::MFILE), Failure::OutOfResources);
        assert_eq!(class(Errno::NOMEM), Failure::OutOfResources);
        assert_eq!(class(Errno::BADF), Failure::Unexpected);
    }
}
