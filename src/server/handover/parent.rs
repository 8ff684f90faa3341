//! The old process of a handover: starts the new process, sends it the sockets, and waits until it accepts.
//!
//! This runs on its own thread: the workers only supply duplicates of their sockets, and never wait.

use super::child_program::ChildProgram;
use super::state::HandoverState;
use crate::error::in_words;
use crate::server::counters;
use crate::server::message::{Message, ServerHandle};
use crate::server::service_manager::WATCHDOG_PID;
use crate::server::shared::Shared;
use crate::socket::{BoundEndpoint, ChildAnswer, FdSender, INHERIT_VARIABLE, describe, identity, mark};
use crate::units::{format_count, format_duration, later};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a new process that closed its end of the channel may take to exit, so that its exit status can be logged.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// How often the exit of a new process is checked: waitpid(2) has no timeout.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Starts a handover, unless one is in progress.
pub(in crate::server) fn begin(shared: &Arc<Shared>) {
    let mut state = shared.handover.state();
    let Some(child_program) = shared.handover.child_program.clone() else {
        return log::warn!("SIGUSR2 ignored: the path of this program is unknown");
    };
    match *state {
        HandoverState::Serving => {}
        HandoverState::TakingOver(_) => {
            return log::warn!("not handing over: this process is still taking over; try again later");
        }
        HandoverState::InProgress { .. } => return log::warn!("not handing over: a handover is already in progress"),
        HandoverState::Done => return log::warn!("not handing over: a new process has already taken over"),
    }
    if std::process::id() == 1 {
        return log::warn!(
            "SIGUSR2 ignored: the end of this process, which is PID 1, would end the new process as well; start a new \
             container instead"
        );
    }
    let start = || -> io::Result<Arc<FdSender>> {
        let (fd_sender, child_end) = FdSender::new()?;
        let fd_sender = Arc::new(fd_sender);
        let (shared, kept) = (Arc::clone(shared), Arc::clone(&fd_sender));
        let thread = std::thread::Builder::new().name("handover".to_owned());
        thread.spawn(move || run(&shared, &child_program, &fd_sender, child_end))?;
        Ok(kept)
    };
    match start() {
        Ok(fd_sender) => *state = HandoverState::InProgress { fd_sender, shutdown_requested: false },
        Err(error) => log::error!("cannot hand over: {}; still serving", in_words(&error)),
    }
}

/// Runs a handover, on its own thread.
fn run(shared: &Shared, child_program: &ChildProgram, fd_sender: &FdSender, child_end: OwnedFd) {
    log::info!("handover: starting {}", child_program.path().display());
    shared.service_manager.notify_reloading();
    let result = attempt(shared, child_program, fd_sender, child_end);
    if let Some(pause) = conclude(shared, result.map(|child| child.id())) {
        // Connections may finish meanwhile; after the last one the process exits, and this thread with it.
        std::thread::sleep(pause);
        shared.handle.drain();
    }
}

/// Ends a handover to the new process with this PID, or one that has failed. Returns the time after which the server
/// drains, unless it goes on as before.
pub(in crate::server) fn conclude(shared: &Shared, new_process: Result<u32, String>) -> Option<Duration> {
    match new_process {
        Ok(pid) => {
            let shutdown_requested = shared.handover.finish(HandoverState::Done);
            shared.service_manager.notify_handed_over(pid);
            let open = format_count(counters::open(&shared.counters));
            log::info!("handover complete: PID {pid} accepts new connections; draining {open}");
            shared.handle.workers.iter().for_each(|worker| worker.send(Message::HandedOver));
            Some(if shutdown_requested { Duration::ZERO } else { shared.config.drain_timeout })
        }
        Err(reason) => {
            if shared.handover.finish(HandoverState::Serving) {
                log::info!("handover aborted");
                return Some(Duration::ZERO);
            }
            log::error!("handover failed: {reason}; still serving");
            shared.service_manager.notify_ready();
            None
        }
    }
}

/// Starts the new process, sends it the sockets, and waits until it accepts. If it does not, it is ended.
fn attempt(
    shared: &Shared,
    child_program: &ChildProgram,
    fd_sender: &FdSender,
    child_end: OwnedFd,
) -> Result<Child, String> {
    let deadline = later(Instant::now(), shared.config.handover_timeout);
    let listeners = collect_listeners(&shared.handle, deadline)?;
    let mut command = child_program.command();
    command.env(INHERIT_VARIABLE, mark(child_end.as_fd()).map_err(|error| error.to_string())?);
    // These describe this process, not the new one.
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", WATCHDOG_PID] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::from(child_end));
    let path = child_program.path().display();
    let mut child = command.spawn().map_err(|error| format!("cannot start {path}: {}", in_words(&error)))?;
    // It holds a duplicate of the child's end, which would keep the channel open for ever.
    drop(command);
    log::debug!("handover: started PID {}", child.id());
    let answer = send_all(fd_sender, &shared.handover.endpoints, listeners, deadline)
        .and_then(|()| fd_sender.await_child(deadline.saturating_duration_since(Instant::now())));
    if matches!(answer, Ok(ChildAnswer::Ready)) {
        return Ok(child);
    }
    let may_exit_itself = fd_sender.abort() && !shared.handover.is_aborted();
    let exit = end_child(&mut child, if may_exit_itself { EXIT_GRACE } else { Duration::ZERO });
    let path = child_program.path().display();
    Err(match answer {
        Ok(ChildAnswer::Late) => {
            format!("{path} did not accept within {}", format_duration(shared.config.handover_timeout))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => format!("{path} did not receive the sockets"),
        _ => format!("{path} did not take over ({exit})"),
    })
}

/// A duplicate of every socket that the workers listen on.
fn collect_listeners(handle: &ServerHandle, deadline: Instant) -> Result<Vec<OwnedFd>, String> {
    let (sender, copies) = mpsc::channel();
    handle.workers.iter().for_each(|worker| worker.send(Message::DuplicateListeners(sender.clone())));
    drop(sender);
    let (mut listeners, mut known) = (Vec::new(), HashSet::new());
    loop {
        let listener = match copies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(copy) => copy.map_err(|error| format!("cannot duplicate a listening socket: {}", in_words(&error)))?,
            Err(RecvTimeoutError::Timeout) => return Err("a worker does not answer".to_owned()),
            Err(RecvTimeoutError::Disconnected) if listeners.is_empty() => {
                return Err("no listening socket is open".to_owned());
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(listeners),
        };
        // Workers may share a socket. Not every system has inodes for sockets; one that has none has a single socket per
        // address.
        let identify = || Ok((identity(listener.as_fd())?, describe(listener.as_fd())?));
        if known.insert(identify().map_err(|error: io::Error| error.to_string())?) {
            listeners.push(listener);
        }
    }
}

/// Sends each socket with its endpoint, which is found by the socket's address.
fn send_all(
    fd_sender: &FdSender,
    endpoints: &[BoundEndpoint],
    listeners: Vec<OwnedFd>,
    deadline: Instant,
) -> io::Result<()> {
    let timeout = || deadline.saturating_duration_since(Instant::now());
    for listener in listeners {
        let (address, is_datagram) = describe(listener.as_fd())?;
        let endpoint =
            endpoints.iter().find(|endpoint| endpoint.address == address && endpoint.is_datagram == is_datagram);
        let endpoint = endpoint.ok_or_else(|| io::Error::other(format!("{address} is not one of the endpoints")))?;
        fd_sender.send_socket(listener.as_fd(), endpoint, timeout())?;
    }
    fd_sender.finish(timeout())
}

/// Waits up to `timeout` for the exit of a new process that did not take over, then kills it. Returns how it ended.
fn end_child(child: &mut Child, timeout: Duration) -> String {
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(EXIT_CHECK_INTERVAL),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                return killed.map_or_else(|error| error.to_string(), |_| "it had to be killed".to_owned());
            }
            Err(error) => return error.to_string(),
        }
    }
}
