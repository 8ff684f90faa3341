//! Transport of a driver: how one connection is opened, gets its turns, and is closed.

use super::connector::ConnectAttempt;
use super::failure::Failure;
use super::plan::Plan;
use super::shared::Shared;
use crate::connection::CloseReason;
use crate::event_loop::{Key, LoopContext, Readiness};
use crate::socket::{Address, ConnectProgress};
use std::net::IpAddr;
use std::rc::Rc;

/// Opens the connections of one worker, and exchanges their messages. The [`Driver`](super::driver::Driver) decides
/// when.
pub(super) trait Transport<'a>: Sized {
    /// A connection, or a UDP socket.
    type Connection;

    /// The word for a connection in the log.
    const LOG_NOUN: &'static str;

    /// Whether messages that are due together on one connection are sent together. Otherwise each is sent as soon as it
    /// is assigned.
    const SENDS_BATCHES: bool;

    fn new(shared: &'a Shared, plan: Rc<Plan>) -> Self;

    /// Starts to open a connection and registers it with the loop as `key`.
    fn open(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        attempt: ConnectAttempt,
        address: &Address,
        source: Option<IpAddr>,
    ) -> Result<(Self::Connection, ConnectProgress), OpenError>;

    /// Whether a connection that was [pending](ConnectProgress::Pending) is open after `trigger`.
    fn connect_progress(
        &mut self,
        entry: &mut Entry<Self::Connection>,
        trigger: Trigger,
    ) -> Result<ConnectProgress, Failure>;

    /// Whether an open connection may be assigned another message.
    fn has_capacity(connection: &mut Self::Connection) -> bool;

    /// Queues a message. It is sent in the next turn. Returns whether it is the only one queued.
    fn assign(connection: &mut Self::Connection, message: DueMessage) -> bool;

    /// Receives and sends on an open connection, if `trigger` is a reason to, and schedules the next turn.
    fn turn(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        entry: &mut Entry<Self::Connection>,
        trigger: Trigger,
    ) -> TurnResult;

    /// Deregisters a connection whose connect is in progress.
    fn abort(&mut self, context: &mut LoopContext, key: Key, connection: &mut Self::Connection);

    /// Removes an open connection from the loop and counts its unanswered messages, after it was closed for `reason`.
    fn close(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        entry: &mut Entry<Self::Connection>,
        reason: CloseReason,
    ) -> CloseOutcome;
}

/// One connection of a driver, from the start of its connect.
#[derive(Debug)]
pub(super) struct Entry<C> {
    pub(super) attempt: ConnectAttempt,
    /// Its connect has succeeded.
    pub(super) is_connected: bool,
    /// It can exchange messages, and is counted as opened.
    pub(super) is_open: bool,
    /// Its exchange is complete and counted.
    pub(super) is_complete: bool,
    pub(super) connection: C,
}

/// Why a connection gets a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    Event(Readiness),
    /// Its entry in the ready queue.
    Ready,
    /// Its entry in the timer wheel.
    Expired,
    PreciseTimer,
    /// It was assigned a message, or the load has entered another phase.
    Wake,
}

/// State of a connection after its turn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TurnResult {
    /// It can exchange messages, or could before it failed.
    pub(super) is_open: bool,
    /// Its exchange is complete.
    pub(super) is_complete: bool,
    /// It has to be closed.
    pub(super) close: Option<CloseReason>,
}

/// A message that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct DueMessage {
    /// Scheduled send time, in nanoseconds of the run clock.
    pub(super) due: u64,
    /// When it was assigned to its connection.
    pub(super) assigned: u64,
    /// When a connection became available, if the message waited for one.
    pub(super) blocked_until: Option<u64>,
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenError {
    /// The server's backlog is full, and no event announces room.
    BacklogFull,
    Failed(Failure),
}

/// What became of a connection that was closed.
#[derive(Debug)]
pub(super) struct CloseOutcome {
    /// Why it failed, if it did.
    pub(super) failure: Option<Failure>,
    /// Whether its exchange was complete. Datagrams without a reply are counted one by one, and do not make their socket
    /// a failed one.
    pub(super) is_complete: bool,
    /// Whether the server closed it as the protocol allows, with messages left to send.
    pub(super) is_cut_short: bool,
    /// Number of messages that its replacement does not send, if it is replaced.
    pub(super) done: u64,
    /// When the messages were due that were assigned to it, and that another connection has to send.
    pub(super) unsent: Vec<u64>,
}
