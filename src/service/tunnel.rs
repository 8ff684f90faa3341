//! Tunnel: two connections of one worker that pass their bytes to each other, as in a proxy.

#[cfg(test)]
mod tests;

use super::{CloseReason, ConnectOptions, Context, Handle, Input, Output, Service, Wait};
use crate::buffer::Buffer;
use std::cell::RefCell;
use std::rc::Rc;

/// One end of a tunnel: the service of a connection whose bytes go to the connection at the other end, and back.
///
/// Back-pressure and half-close pass through: a connection is not read while the other one cannot send, and the end of
/// its input ends the output of the other. Input waits until the connection at the other end has opened.
///
/// An end that closes in order ends the other one after all bytes. One that fails, or loses bytes, has the other one
/// reset with [`TunnelFailed`](CloseReason::TunnelFailed); a connection that could not be established, with its own
/// reason. A drain waits while both ends are open, because a reply may be due.
///
/// ```no_run
/// use multiconn::service::Tunnel;
/// use multiconn::{Endpoint, Server, ServerConfig};
///
/// let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 8080));
/// Server::bind(config, |context| Tunnel::connect(context, Endpoint::tcp("10.0.0.1", 80)))?.run()?;
/// # Ok::<(), multiconn::Error>(())
/// ```
#[derive(Debug)]
pub struct Tunnel {
    ends: Rc<RefCell<[End; 2]>>,
    /// Index of this end.
    own: usize,
}

/// What the two services know of one end.
#[derive(Debug, Default)]
struct End {
    state: EndState,
    handle: Option<Handle>,
    /// Bytes from the other end for the output of this one. They have left the input there, so they are held here.
    pipe: Buffer,
    /// No bytes follow those in the pipe.
    has_pipe_ended: bool,
    /// The other end has more bytes, and waits until the pipe is empty.
    is_pipe_awaited: bool,
}

/// State of the connection at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum EndState {
    /// Not open yet.
    #[default]
    Connecting,
    Open,
    /// Closed in order.
    Closed,
    /// It failed with this reason before it opened.
    NotConnected(CloseReason),
    /// It failed when it was open.
    Failed(CloseReason),
}

impl Tunnel {
    /// Makes the two ends. Both must become services of the same worker.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let ends = Rc::new(RefCell::new(<[End; 2]>::default()));
        (Self { ends: Rc::clone(&ends), own: 0 }, Self { ends, own: 1 })
    }

    /// Opens an outgoing connection for the other end. Returns this end, for the connection of `context`. If that closes
    /// first, the connect is abandoned.
    #[must_use = "the returned end is the service of this connection"]
    pub fn connect(context: &mut Context<'_>, options: impl Into<ConnectOptions>) -> Self {
        let (own, other) = Self::pair();
        let handle = context.connect(options, other);
        own.with_ends(|_, other| other.handle = Some(handle));
        own
    }

    /// The state of the connection at the other end.
    pub(super) fn other_state(&self) -> EndState {
        self.ends.borrow()[1 - self.own].state
    }

    /// Calls `call` with this end and the other one.
    #[inline]
    fn with_ends<T>(&self, call: impl FnOnce(&mut End, &mut End) -> T) -> T {
        let [first, second] = &mut *self.ends.borrow_mut();
        if self.own == 0 { call(first, second) } else { call(second, first) }
    }
}

impl Service for Tunnel {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        self.with_ends(|own, other| {
            if own.state == EndState::Connecting {
                own.state = EndState::Open;
                own.handle = Some(context.handle());
                other.wake();
            }
            own.fill(output, other);
            other.take(input, output);
            let is_all_sent = own.pipe.is_empty() && own.has_pipe_ended;
            match other.state {
                EndState::NotConnected(reason) | EndState::Failed(reason) => {
                    context.handle().reset(passed_on(reason));
                    Wait::Wake
                }
                // Both directions have ended, so this finishes the connection.
                _ if is_all_sent && input.has_ended() && input.is_empty() => Wait::Input,
                EndState::Closed if is_all_sent => Wait::Close,
                EndState::Connecting | EndState::Open | EndState::Closed => Wait::Wake,
            }
        })
    }

    fn closed(&mut self, reason: CloseReason) {
        self.with_ends(|own, other| {
            let has_lost_bytes = !own.pipe.is_empty() || other.is_pipe_awaited;
            let was_open = own.state == EndState::Open;
            *own = End { state: end_state(reason, was_open, has_lost_bytes), ..End::default() };
            match own.state {
                EndState::Closed => other.has_pipe_ended = true,
                _ => other.pipe = Buffer::new(),
            }
            match (&other.handle, other.state) {
                (Some(handle), EndState::Connecting) => handle.reset(CloseReason::TunnelFailed),
                _ => other.wake(),
            }
        });
    }

    fn is_busy(&self) -> bool {
        self.with_ends(|own, other| {
            matches!(other.state, EndState::Connecting | EndState::Open) || !own.pipe.is_empty()
        })
    }

    fn held_bytes(&self) -> usize {
        self.ends.borrow()[self.own].pipe.storage_bytes()
    }
}

impl End {
    /// Has the service of this end called.
    #[inline]
    fn wake(&self) {
        if let Some(handle) = &self.handle {
            handle.wake();
        }
    }

    /// Fills the output of this end from its pipe.
    #[inline]
    fn fill(&mut self, output: &mut Output<'_>, other: &Self) {
        if !self.pipe.is_empty() {
            output.take(&mut Input::new(&mut self.pipe, false));
            output.reclaim(&mut self.pipe);
            if self.pipe.is_empty() && std::mem::take(&mut self.is_pipe_awaited) {
                other.wake();
            }
        }
        if self.pipe.is_empty() && self.has_pipe_ended {
            output.end();
        }
    }

    /// Takes the other end's `input` into the pipe, if that is empty; `output` is that of the other end, too. Until this
    /// end is open, bytes stay in the input.
    #[inline]
    fn take(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) {
        match self.state {
            EndState::Connecting => return,
            EndState::Open => {}
            EndState::Closed | EndState::NotConnected(_) | EndState::Failed(_) => return input.clear(),
        }
        if !input.is_empty() {
            if self.pipe.is_empty() {
                output.redirected(&mut self.pipe, input.len()).take(input);
                self.wake();
            } else {
                self.is_pipe_awaited = true;
            }
        }
        if input.has_ended() && input.is_empty() && !self.has_pipe_ended {
            self.has_pipe_ended = true;
            self.wake();
        }
    }
}

/// State of an end that has closed.
fn end_state(reason: CloseReason, was_open: bool, has_lost_bytes: bool) -> EndState {
    match reason {
        _ if !was_open => EndState::NotConnected(reason),
        CloseReason::PeerClosed | CloseReason::Completed | CloseReason::Drained | CloseReason::Idle
            if !has_lost_bytes =>
        {
            EndState::Closed
        }
        _ => EndState::Failed(reason),
    }
}

/// The close reason of a connection whose other end has closed with `reason`.
fn passed_on(reason: CloseReason) -> CloseReason {
    match reason {
        CloseReason::Unresolved
        | CloseReason::ConnectRefused
        | CloseReason::ConnectTimeout
        | CloseReason::ConnectFailed
        | CloseReason::OutgoingLimit
        | CloseReason::DrainCut
        | CloseReason::Stopped => reason,
        _ => CloseReason::TunnelFailed,
    }
}
