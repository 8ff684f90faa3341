//! The event loop of the load, and the window in which it counts.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::socket::ANSWER_SECONDS;
use super::{Explain, Order};
use crate::common::{Outcome, procfs};

const EVENTS_AT_ONCE: usize = 1024;

/// Connections by index, level-triggered.
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

    /// How many connections are ready; a server that falls silent is an error.
    pub(super) fn wait(&mut self) -> Outcome<usize> {
        self.events.clear();
        let patience = Timespec { tv_sec: ANSWER_SECONDS.cast_signed(), tv_nsec: 0 };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience)) {
            Ok(0) => Err(format!("the server said nothing for {ANSWER_SECONDS} s")),
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error).explain("epoll_wait"),
        }
    }

    /// The index of the nth connection that is ready.
    #[expect(clippy::cast_possible_truncation, reason = "it was made from a usize")]
    pub(super) fn ready(&self, nth: usize) -> usize {
        self.events[nth].data.u64() as usize
    }
}

/// Calls `turn`, which returns how many echoes it completed, through the warm-up and the window,
/// and prints the count, the window's exact length and the server's CPU time within it.
pub(super) fn measure(order: &Order, mut turn: impl FnMut() -> Outcome<u64>) -> Outcome<()> {
    let warm_up_began = Instant::now();
    while warm_up_began.elapsed() < order.warm_up {
        turn()?;
    }

    let mut completed = 0;
    let cpu_before_ns = procfs::cpu_time_ns(order.server_pid)?;
    let began = Instant::now();
    let elapsed = loop {
        completed += turn()?;
        let elapsed = began.elapsed();
        if elapsed >= order.window {
            break elapsed;
        }
    };
    let cpu_ns = procfs::cpu_time_ns(order.server_pid)?.saturating_sub(cpu_before_ns);

    println!("{completed} {} {cpu_ns}", elapsed.as_nanos());
    Ok(())
}
