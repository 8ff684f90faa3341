//! The hand-over: another process takes the listening sockets, and this one serves on whom it has let in.
//!
//! Both hold the same sockets for a while, so that nobody who comes is refused, and nobody who waits is reset. The old
//! process goes on accepting until the new one says that it does; when that does not happen, nothing has changed. All of
//! this happens on a thread of its own: the workers only give copies of their sockets, and never wait.

mod child;

pub use child::ChildProgram;

use super::service_manager::WATCHDOG_PID;
use super::{Message, ServerHandle, Shared};
use crate::error::in_words;
use crate::socket::{BoundPlace, ChildAnswer, FdSender, INHERIT_VARIABLE, ParentProcess, describe, identity, mark};
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
pub(super) enum SignalMeaning {
    /// What it always means.
    AsAlways,
    /// The hand-over is broken off, and the drain follows when it is.
    AfterHandover,
    /// It comes for the second time.
    AtOnce,
}

/// The hand-overs of a server, from its predecessor and to its successor.
#[derive(Debug)]
pub(super) struct Handover {
    child_program: Option<ChildProgram>,
    places: Vec<BoundPlace>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The predecessor waits to hear that this process accepts.
    Starting(ParentProcess),
    Serving,
    Underway {
        fd_sender: Arc<FdSender>,
        ending: bool,
    },
    Done,
}

impl Handover {
    pub(super) fn new(
        child_program: Option<ChildProgram>,
        places: Vec<BoundPlace>,
        parent: Option<ParentProcess>,
    ) -> Self {
        Self { child_program, places, state: Mutex::new(parent.map_or(State::Serving, State::Starting)) }
    }

    /// Says that this process accepts. True if a predecessor heard it; one that died leaves everything to this process.
    pub(super) fn release_parent(&self) -> io::Result<bool> {
        let mut state = self.state();
        let State::Starting(parent) = &*state else { return Ok(false) };
        let is_heard = parent.release()?;
        *state = State::Serving;
        Ok(is_heard)
    }

    /// The server has ended in order: a successor that is being started must not serve in its place.
    pub(super) fn abandon(&self) {
        if let State::Underway { fd_sender, .. } = &*self.state() {
            fd_sender.abort();
        }
    }

    /// Whether the path of a Unix socket is this process's to remove: no predecessor has it still, no successor already.
    pub(super) fn owns_paths(&self) -> bool {
        !matches!(*self.state(), State::Starting(_) | State::Done)
    }

    /// What a signal to end means now; breaks off a hand-over that is under way.
    pub(super) fn end(&self) -> SignalMeaning {
        match &mut *self.state() {
            State::Underway { ending: true, .. } => SignalMeaning::AtOnce,
            State::Underway { fd_sender, ending } => {
                *ending = true;
                fd_sender.abort();
                SignalMeaning::AfterHandover
            }
            _ => SignalMeaning::AsAlways,
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
    let mut state = shared.handover.state();
    let Some(child_program) = shared.handover.child_program.clone() else {
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
    let start = || -> io::Result<Arc<FdSender>> {
        let (fd_sender, end) = FdSender::new()?;
        let fd_sender = Arc::new(fd_sender);
        let (shared, kept) = (Arc::clone(shared), Arc::clone(&fd_sender));
        let thread = std::thread::Builder::new().name("hand-over".to_owned());
        thread.spawn(move || run(&shared, &child_program, &fd_sender, end))?;
        Ok(kept)
    };
    match start() {
        Ok(fd_sender) => *state = State::Underway { fd_sender, ending: false },
        Err(error) => log::error!("cannot hand over: {}; serving on", in_words(&error)),
    }
}

/// The whole hand-over; on its own thread.
fn run(shared: &Shared, child_program: &ChildProgram, fd_sender: &FdSender, end: OwnedFd) {
    log::info!("Handing over to {}", child_program.path().display());
    shared.service_manager.tell_reloading();
    let result = attempt(shared, child_program, fd_sender, end);
    match result {
        Ok(child) => {
            let was_ending = shared.handover.conclude(State::Done);
            shared.service_manager.tell_relieved(child.id());
            log::info!("Handed over to process {}: serving on who is here", child.id());
            shared.handle.workers.iter().for_each(|worker| worker.send(Message::HandedOver));
            if !was_ending {
                // Whoever is here may finish meanwhile; when nobody is left the process ends, and this thread with it.
                std::thread::sleep(shared.config.drain_timeout);
            }
            shared.handle.drain();
        }
        Err(reason) => {
            if shared.handover.conclude(State::Serving) {
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
fn attempt(shared: &Shared, child_program: &ChildProgram, fd_sender: &FdSender, end: OwnedFd) -> Result<Child, String> {
    let deadline = later(Instant::now(), shared.config.handover_timeout);
    let listeners = collect(&shared.handle, deadline)?;
    let mut command = child_program.command();
    command.env(INHERIT_VARIABLE, mark(end.as_fd()).map_err(|error| error.to_string())?);
    // They speak of this process, not of the next one.
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", WATCHDOG_PID] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::from(end));
    let path = child_program.path().display();
    let mut child = command.spawn().map_err(|error| format!("cannot start {path}: {}", in_words(&error)))?;
    // It holds a copy of the successor's end, which would keep the channel open for ever.
    drop(command);
    log::debug!("The successor is process {}", child.id());
    let answer = give_all(fd_sender, &shared.handover.places, listeners, deadline)
        .and_then(|()| fd_sender.await_child(deadline.saturating_duration_since(Instant::now())));
    if matches!(answer, Ok(ChildAnswer::Ready)) {
        return Ok(child);
    }
    let may_end_itself = fd_sender.abort() && !shared.handover.is_broken_off();
    let fate = end_child(&mut child, if may_end_itself { LAST_MOMENT } else { Duration::ZERO });
    let path = child_program.path().display();
    Err(match answer {
        Ok(ChildAnswer::Late) => {
            format!("{path} did not accept within {}", format_duration(shared.config.handover_timeout))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => format!("{path} did not take the sockets"),
        _ => format!("{path} did not take over ({fate})"),
    })
}

/// A copy of every socket that the workers listen on.
fn collect(handle: &ServerHandle, deadline: Instant) -> Result<Vec<OwnedFd>, String> {
    let (sender, copies) = mpsc::channel();
    handle.workers.iter().for_each(|worker| worker.send(Message::DuplicateListeners(sender.clone())));
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
fn give_all(fd_sender: &FdSender, places: &[BoundPlace], listeners: Vec<OwnedFd>, deadline: Instant) -> io::Result<()> {
    let patience = || deadline.saturating_duration_since(Instant::now());
    for listener in listeners {
        let (address, is_datagram) = describe(listener.as_fd())?;
        let place = places.iter().find(|place| place.address == address && place.is_datagram == is_datagram);
        let place = place.ok_or_else(|| io::Error::other(format!("{address} is not one of the endpoints")))?;
        fd_sender.give(listener.as_fd(), place, patience())?;
    }
    fd_sender.finish(patience())
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
