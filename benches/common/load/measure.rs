//! Event loop of the load, and its measured window.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::socket::ANSWER_SECONDS;
use super::{Explain, LoadParameters};
use crate::common::{Outcome, procfs};

const EVENTS_AT_ONCE: usize = 1024;

/// An epoll set of connections by index, level-triggered.
pub(super) struct Readiness {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Readiness {
    pub(super) fn new() -> Outcome<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).explain("epoll_create1")?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_AT_ONCE) })
    }

    pub(super) fn add(&self, stream: &OwnedFd, index: usize) -> Outcome<()> {
        let data = EventData::new_u64(index as u64);
        epoll::add(&self.epoll, stream, data, EventFlags::IN).explain("epoll_ctl")
    }

    pub(super) fn set_wants_out(&self, stream: &OwnedFd, index: usize, out: bool) -> Outcome<()> {
        let flags = if out { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let data = EventData::new_u64(index as u64);
        epoll::modify(&self.epoll, stream, data, flags).explain("epoll_ctl")
    }

    /// Waits, and returns the number of ready connections. It is an error if the server sends nothing for
    /// [`ANSWER_SECONDS`].
    pub(super) fn wait(&mut self) -> Outcome<usize> {
        match self.wait_at_most(Timespec { tv_sec: ANSWER_SECONDS.cast_signed(), tv_nsec: 0 })? {
            Some(0) => Err(format!("the server sent nothing for {ANSWER_SECONDS} s")),
            count => Ok(count.unwrap_or(0)),
        }
    }

    /// Waits, and returns the number of ready connections: 0 after `timeout`, `None` after a signal.
    pub(super) fn wait_at_most(&mut self, timeout: Timespec) -> Outcome<Option<usize>> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(error).explain("epoll_wait"),
        }
    }

    /// The index of the nth ready connection.
    #[expect(clippy::cast_possible_truncation, reason = "it was made from a usize")]
    pub(super) fn ready(&self, nth: usize) -> usize {
        self.events[nth].data.u64() as usize
    }
}

/// Calls `turn`, which returns the number of completed echoes, throughout the warm-up and the window. Prints the number
/// of echoes, the window's exact length and the server's CPU time within it, both in nanoseconds.
pub(super) fn measure(parameters: &LoadParameters, mut turn: impl FnMut() -> Outcome<u64>) -> Outcome<()> {
    let warm_up_started = Instant::now();
    while warm_up_started.elapsed() < parameters.warm_up {
        turn()?;
    }

    let mut completed = 0;
    let cpu_before_ns = procfs::cpu_time_ns(parameters.server_pid)?;
    let started = Instant::now();
    let elapsed = loop {
        completed += turn()?;
        let elapsed = started.elapsed();
        if elapsed >= parameters.window {
            break elapsed;
        }
    };
    let cpu_ns = procfs::cpu_time_ns(parameters.server_pid)?.saturating_sub(cpu_before_ns);

    println!("{completed} {} {cpu_ns}", elapsed.as_nanos());
    Ok(())
}
