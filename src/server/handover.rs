//! The hand-over: another process takes the listening sockets, and this one serves on whom it has let in.
//!
//! Both hold the same sockets for a while, so that nobody who comes is refused, and nobody who waits is reset. The old
//! process goes on accepting until the new one says that it does; when that does not happen, nothing has changed. All of
//! this happens on a thread of its own: the workers only give copies of their sockets, and never wait.

use super::service_manager::WATCHDOG_PID;
use super::{Message, ServerHandle, Shared, Successor};
use crate::error::in_words;
use crate::socket::{Answer, Bequest, INHERIT_VARIABLE, Place, Predecessor, describe, identity, mark};
use crate::units::{format_duration, later};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a successor that closed its end may take to end by itself, so that its exit status can be told.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// How often it is looked whether a successor has ended: waitpid(2) has no timeout.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// What a signal to end means, considering the hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// What it always means.
    AsAlways,
    /// The hand-over is broken off, and the drain follows when it is.
    AfterHandOver,
    /// It comes for the second time.
    AtOnce,
}

/// The hand-overs of a server, from its predecessor and to its successor.
#[derive(Debug)]
pub(super) struct HandOver {
    successor: Option<Successor>,
    places: Vec<Place>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The predecessor waits to hear that this process accepts.
    Starting(Predecessor),
    Serving,
    Underway {
        bequest: Arc<Bequest>,
        ending: bool,
    },
    Done,
}

impl HandOver {
    pub(super) fn new(successor: Option<Successor>, places: Vec<Place>, predecessor: Option<Predecessor>) -> Self {
        Self { successor, places, state: Mutex::new(predecessor.map_or(State::Serving, State::Starting)) }
    }

    /// Says that this process accepts. True if a predecessor heard it; one that died leaves everything to this process.
    pub(super) fn relieve_predecessor(&self) -> io::Result<bool> {
        let mut state = self.state();
        let State::Starting(predecessor) = &*state else { return Ok(false) };
        let is_heard = predecessor.relieve()?;
        *state = State::Serving;
        Ok(is_heard)
    }

    /// The server has ended in order: a successor that is being started must not serve in its place.
    pub(super) fn abandon(&self) {
        if let State::Underway { bequest, .. } = &*self.state() {
            bequest.break_off();
        }
    }

    /// Whether the path of a Unix socket is this process's to remove: no predecessor has it still, no successor already.
    pub(super) fn owns_paths(&self) -> bool {
        !matches!(*self.state(), State::Starting(_) | State::Done)
    }

    /// What a signal to end means now; breaks off a hand-over that is under way.
    pub(super) fn end(&self) -> Ending {
        match &mut *self.state() {
            State::Underway { ending: true, .. } => Ending::AtOnce,
            State::Underway { bequest, ending } => {
                *ending = true;
                bequest.break_off();
                Ending::AfterHandOver
            }
            _ => Ending::AsAlways,
        }
    }

    /// Ends a hand-over; true if the server was told to end meanwhile, which nobody has done yet.
    fn conclude(&self, state: State) -> bool {
        matches!(std::mem::replace(&mut *self.state(), state), State::Underway { ending: true, .. })
    }

    fn is_broken_off(&self) -> bool {
        matches!(*self.state(), State::Underway { ending: true, .. })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, whatever panicked meanwhile.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to hand over, unless that is under way already.
pub(super) fn begin(shared: &Arc<Shared>) {
    let mut state = shared.hand_over.state();
    let Some(successor) = shared.hand_over.successor.clone() else {
        return log::warn!("SIGUSR2 ignored: no program is known that could take over");
    };
    match *state {
        State::Serving => {}
        State::Starting(_) => return log::warn!("not handing over: this process is only taking over; try it later"),
        _ => return log::warn!("not handing over: that is under way already"),
    }
    if std::process::id() == 1 {
        return log::warn!(
            "SIGUSR2 ignored: the end of this process, which is PID 1, would end its successor as well; start a new \
             container instead"
        );
    }
    let start = || -> io::Result<Arc<Bequest>> {
        let (bequest, end) = Bequest::new()?;
        let bequest = Arc::new(bequest);
        let (shared, kept) = (Arc::clone(shared), Arc::clone(&bequest));
        let thread = std::thread::Builder::new().name("hand-over".to_owned());
        thread.spawn(move || run(&shared, &successor, &bequest, end))?;
        Ok(kept)
    };
    match start() {
        Ok(bequest) => *state = State::Underway { bequest, ending: false },
        Err(error) => log::error!("cannot hand over: {}; serving on", in_words(&error)),
    }
}

/// The whole hand-over; on its own thread.
fn run(shared: &Shared, successor: &Successor, bequest: &Bequest, end: OwnedFd) {
    log::info!("Handing over to {}", successor.path().display());
    shared.service_manager.tell_reloading();
    let result = attempt(shared, successor, bequest, end);
    match result {
        Ok(child) => {
            let was_ending = shared.hand_over.conclude(State::Done);
            shared.service_manager.tell_relieved(child.id());
            log::info!("Handed over to process {}: serving on who is here", child.id());
            shared.handle.workers.iter().for_each(|worker| worker.send(Message::Relieved));
            if !was_ending {
                // Whoever is here may finish meanwhile; when nobody is left the process ends, and this thread with it.
                std::thread::sleep(shared.config.drain_timeout);
            }
            shared.handle.drain();
        }
        Err(reason) => {
            if shared.hand_over.conclude(State::Serving) {
                log::info!("The hand-over was broken off");
                shared.handle.drain();
            } else {
                log::error!("the hand-over failed: {reason}; serving on");
                shared.service_manager.tell_ready();
            }
        }
    }
}

/// Starts the successor, gives it the sockets, and waits until it accepts. When it does not, it is ended.
fn attempt(shared: &Shared, successor: &Successor, bequest: &Bequest, end: OwnedFd) -> Result<Child, String> {
    let deadline = later(Instant::now(), shared.config.hand_over_timeout);
    let listeners = collect(&shared.handle, deadline)?;
    let mut command = successor.command();
    command.env(INHERIT_VARIABLE, mark(end.as_fd()).map_err(|error| error.to_string())?);
    // They speak of this process, not of the next one.
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", WATCHDOG_PID] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::from(end));
    let path = successor.path().display();
    let mut child = command.spawn().map_err(|error| format!("cannot start {path}: {}", in_words(&error)))?;
    // It holds a copy of the successor's end, which would keep the channel open for ever.
    drop(command);
    log::debug!("The successor is process {}", child.id());
    let answer = give_all(bequest, &shared.hand_over.places, listeners, deadline)
        .and_then(|()| bequest.await_answer(deadline.saturating_duration_since(Instant::now())));
    if matches!(answer, Ok(Answer::Ready)) {
        return Ok(child);
    }
    let may_end_itself = bequest.break_off() && !shared.hand_over.is_broken_off();
    let fate = end_child(&mut child, if may_end_itself { LAST_MOMENT } else { Duration::ZERO });
    let path = successor.path().display();
    Err(match answer {
        Ok(Answer::Late) => {
            format!("{path} did not accept within {}", format_duration(shared.config.hand_over_timeout))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => format!("{path} did not take the sockets"),
        _ => format!("{path} did not take over ({fate})"),
    })
}

/// A copy of every socket that the workers listen on.
fn collect(handle: &ServerHandle, deadline: Instant) -> Result<Vec<OwnedFd>, String> {
    let (sender, copies) = mpsc::channel();
    handle.workers.iter().for_each(|worker| worker.send(Message::Copy(sender.clone())));
    drop(sender);
    let (mut listeners, mut known) = (Vec::new(), HashSet::new());
    loop {
        let listener = match copies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(copy) => copy.map_err(|error| format!("cannot copy a listening socket: {}", in_words(&error)))?,
            Err(RecvTimeoutError::Timeout) => return Err("a worker does not answer".to_owned()),
            Err(RecvTimeoutError::Disconnected) if listeners.is_empty() => return Err("no door is open".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Ok(listeners),
        };
        // Workers may share one.
        if known.insert(identity(listener.as_fd()).map_err(|error| error.to_string())?) {
            listeners.push(listener);
        }
    }
}

/// Each socket with the place that it belongs to, by its address.
fn give_all(bequest: &Bequest, places: &[Place], listeners: Vec<OwnedFd>, deadline: Instant) -> io::Result<()> {
    let patience = || deadline.saturating_duration_since(Instant::now());
    for listener in listeners {
        let (address, is_datagram) = describe(listener.as_fd())?;
        let place = places.iter().find(|place| place.address == address && place.is_datagram == is_datagram);
        let place = place.ok_or_else(|| io::Error::other(format!("{address} is not one of the endpoints")))?;
        bequest.give(listener.as_fd(), place, patience())?;
    }
    bequest.finish(patience())
}

/// Ends a successor that did not take over, unless it does so within `patience`, and waits for it; says how it ended.
fn end_child(child: &mut Child, patience: Duration) -> String {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(BETWEEN_LOOKS),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                return killed.map_or_else(|error| error.to_string(), |_| "it had to be killed".to_owned());
            }
            Err(error) => return error.to_string(),
        }
    }
}
