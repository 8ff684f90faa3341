//! The datagrams of one worker: received many at a time, answered, and sent many at a time.
//!
//! There are no connections, so there is nothing to wait for and nobody to hold back: a reply that the kernel does not
//! take at once is dropped and counted, as a router would. One peer's fault never touches another's datagrams.

mod config;
mod door;
mod rate_limit;
mod reflection;
mod tally;

pub use config::{DatagramConfig, MakeResponder};
pub(super) use tally::DatagramCounters;
pub use tally::{DatagramSummary, Dropped};

use super::Shared;
use super::counters::Counters;
use crate::error::Error;
use crate::event_loop::{Agenda, Key};
use crate::socket::{DatagramSocket, Inbox, Outbox};
use door::{Desk, Door, TurnEnd, Warnings};
use rate_limit::RateLimit;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The first of the fixed keys that belong here: those below are doors for connections, those from 2¹⁶ on the metrics'.
const FIRST_KEY: u32 = 1 << 15;
const LAST_KEY: u32 = (1 << 16) - 1;

/// How many datagrams one turn answers before others get theirs. Each costs a few microseconds.
const TURN_DATAGRAMS: usize = 256;

/// How many datagrams are answered when the end comes, for each socket: more than its queue holds, whose 208 KiB by default
/// hold 277 of the smallest ones.
const LAST_DATAGRAMS: usize = 1 << 16;

/// The part of one worker.
pub(super) struct Datagrams<'a> {
    doors: Vec<Door>,
    /// None where there are no doors: it is large.
    desk: Option<Desk<'a>>,
}

impl<'a> Datagrams<'a> {
    /// The part of a worker with these `sockets`.
    pub(super) fn new(shared: &'a Shared, counters: &'a Counters, sockets: Vec<DatagramSocket>) -> Result<Self, Error> {
        let Some(config) = &shared.config.datagrams else { return Ok(Self { doors: Vec::new(), desk: None }) };
        let door = |(index, socket)| Ok(Door::new(socket, Key::fixed(index), config.responder.make()?));
        let doors = (FIRST_KEY..=LAST_KEY).zip(sockets).map(door).collect::<Result<Vec<_>, _>>();
        let doors = doors.map_err(Error::Panic)?;
        let desk = || Desk {
            shared,
            config,
            counters,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            rate_limit: config.rate_limit.map(|rate| RateLimit::new(rate, Instant::now())),
            warnings: Warnings::default(),
        };
        let desk = (!doors.is_empty()).then(desk);
        Ok(Self { doors, desk })
    }

    /// Whether a fixed key with this index belongs here.
    pub(super) fn owns(index: u32) -> bool {
        (FIRST_KEY..=LAST_KEY).contains(&index)
    }

    pub(super) fn open(&mut self, agenda: &Agenda) -> io::Result<()> {
        self.doors.iter_mut().try_for_each(|door| door.open(agenda))
    }

    /// Something came in, or the turn of a door in the ready queue has come.
    pub(super) fn handle(&mut self, agenda: &mut Agenda, key: Key, is_turn: bool) {
        let (Some(door), Some(desk)) = (door_of(&mut self.doors, key), &mut self.desk) else { return };
        // Between an event and its turn there may be more events: one turn is enough for all of them.
        if (door.is_queued && !is_turn) || door.is_pausing(agenda) {
            return;
        }
        let turn = desk.turn(agenda.now, door, TURN_DATAGRAMS);
        door.is_queued = turn == TurnEnd::Unfinished;
        match turn {
            TurnEnd::Drained => {}
            TurnEnd::Unfinished => agenda.ready.push_back(key),
            TurnEnd::Paused => door.pause(agenda),
        }
    }

    /// The pause of a door may be over.
    pub(super) fn handle_due(&mut self, agenda: &mut Agenda, key: Key) {
        self.handle(agenda, key, true);
    }

    /// Copies of the open sockets, for a successor.
    pub(super) fn copies(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.doors.iter().filter_map(Door::socket).map(|socket| socket.as_fd().try_clone_to_owned())
    }

    /// Answers what has come in, then closes the doors.
    pub(super) fn drain(&mut self, agenda: &mut Agenda) {
        for door in &mut self.doors {
            if let Some(desk) = &mut self.desk {
                desk.turn(agenda.now, door, LAST_DATAGRAMS);
            }
        }
        self.close(agenda);
    }

    /// Closes the doors: a successor, if there is one, has the same sockets and answers what has come in.
    pub(super) fn close(&mut self, agenda: &mut Agenda) {
        self.doors.iter_mut().for_each(|door| door.close(agenda));
    }
}

fn door_of(doors: &mut [Door], key: Key) -> Option<&mut Door> {
    doors.get_mut(key.as_fixed()?.checked_sub(FIRST_KEY)? as usize)
}
