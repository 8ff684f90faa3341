//! One datagram socket of one worker, and the desk where all of them are served.

use super::tally::Dropped;
use super::{DatagramConfig, Shared};
use crate::error::{ErrorBackoff, ErrorClass, Warning, in_words_with_errno};
use crate::event_loop::{Agenda, Key, Timer};
use crate::repr::BytesRepr;
use crate::server::counters::Counters;
use crate::service::{Reply, Responder, SHORT_REPLY_BYTES};
use crate::socket::{Arrival, DatagramSocket, Inbox, Outbox};
use crate::units::format_duration;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The ports of services that answer whatever comes: echo, daytime, quote of the day, chargen, time (RFC 862 to 868). A
/// datagram that claims to come from one of them would begin an exchange without end.
const ANSWERING_PORTS: [u16; 5] = [7, 13, 17, 19, 37];

/// How a turn of a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing is left to receive; the next event tells of more.
    Drained,
    /// More datagrams may wait.
    Unfinished,
    /// Receiving fails; the timer brings the next turn.
    Paused,
}

/// One socket.
pub(super) struct Door {
    /// None once it is closed for good.
    socket: Option<DatagramSocket>,
    key: Key,
    responder: Box<dyn Responder>,
    /// Stands in the ready queue.
    pub(super) is_queued: bool,
    /// The address of the socket.
    local: Option<SocketAddr>,
    /// What the kernel has dropped on the socket so far; it only tells the total.
    overrun: u32,
    receiving: ErrorBackoff,
    /// Ends a pause after failed calls.
    timer: Timer,
}

impl Door {
    pub(super) fn new(socket: DatagramSocket, key: Key, responder: Box<dyn Responder>) -> Self {
        let local = socket.local_address().ok();
        let (receiving, timer) = (ErrorBackoff::default(), Timer::default());
        Self { socket: Some(socket), key, responder, is_queued: false, local, overrun: 0, receiving, timer }
    }

    pub(super) fn open(&mut self, agenda: &Agenda) -> io::Result<()> {
        // A reply that finds no room is dropped: nobody waits for room.
        self.socket.as_mut().map_or(Ok(()), |socket| agenda.register_listener(socket.source(), self.key))
    }

    pub(super) fn socket(&self) -> Option<&DatagramSocket> {
        self.socket.as_ref()
    }

    /// Whether it waits because receiving failed. Events are ignored meanwhile: the next turn receives all that is there.
    pub(super) fn is_pausing(&self, agenda: &Agenda) -> bool {
        self.receiving.is_pausing(agenda.now)
    }

    /// Has the timer end the pause.
    pub(super) fn pause(&mut self, agenda: &mut Agenda) {
        agenda.wheel.arm(&mut self.timer, self.key, self.receiving.pauses_until());
    }

    pub(super) fn close(&mut self, agenda: &mut Agenda) {
        agenda.wheel.cancel(&mut self.timer);
        if let Some(mut socket) = self.socket.take() {
            agenda.deregister(socket.source());
        }
    }
}

/// What the doors of a worker share.
pub(super) struct Desk<'a> {
    pub(super) shared: &'a Shared,
    pub(super) config: &'a DatagramConfig,
    pub(super) counters: &'a Counters,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    pub(super) warnings: Warnings,
}

/// Warnings that peers or the system can bring about, each given once a second at most.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    receiving: Warning,
    sending: Warning,
}

impl Desk<'_> {
    /// Answers up to about `most` of the datagrams that wait at `door`.
    pub(super) fn turn(&mut self, now: Instant, door: &mut Door, most: usize) -> Turn {
        let mut count = 0;
        while count < most {
            let Some(socket) = &door.socket else { return Turn::Drained };
            let received = self.inbox.receive(socket);
            if let Some(overrun) = self.inbox.take_overrun() {
                self.counters.datagrams.overrun.add(u64::from(overrun.wrapping_sub(door.overrun)));
                door.overrun = overrun;
            }
            let may_be_more = match received {
                Ok(may_be_more) => may_be_more,
                Err(error) => {
                    if let Some(turn) = self.handle_receive_error(now, door, &error) {
                        return turn;
                    }
                    count += 1;
                    continue;
                }
            };
            door.receiving.succeeded();
            count += self.inbox.arrivals().len();
            self.outbox.clear();
            answer_all(self.shared, self.config, self.counters, &self.inbox, &mut self.outbox, door, now);
            self.send(now, door);
            if !may_be_more {
                return Turn::Drained;
            }
        }
        Turn::Unfinished
    }

    /// How the turn of `door` ends after `error`; none when it goes on.
    fn handle_receive_error(&mut self, now: Instant, door: &mut Door, error: &io::Error) -> Option<Turn> {
        let class = ErrorClass::of(error);
        if class == ErrorClass::WouldBlock {
            door.receiving.succeeded();
            return Some(Turn::Drained);
        }
        self.counters.datagrams.receive_failed(error);
        let Some(pause) = door.receiving.failed(class, now) else {
            log::debug!("Receiving datagrams: {}", in_words_with_errno(error));
            return None;
        };
        if self.warnings.receiving.is_due(now) {
            let place = door.local.map(|local| format!(" on {local}")).unwrap_or_default();
            let (words, pause) = (in_words_with_errno(error), format_duration(pause));
            let failures = self.counters.datagrams.receive_errors().map(|(_, count)| count).sum::<u64>();
            log::warn!(
                "cannot receive datagrams{place}: {words}; trying again in {pause} (failures so far: {failures})"
            );
        }
        Some(Turn::Paused)
    }

    fn send(&mut self, now: Instant, door: &Door) {
        let Some(socket) = &door.socket else { return };
        let (counters, warning) = (self.counters, &mut self.warnings.sending);
        let done = self.outbox.send(socket, |letter, result| {
            let to = letter.to().map(|to| SocketAddr::new(to.ip().to_canonical(), to.port()));
            match result {
                Ok(()) => {
                    counters.datagrams.sent.add(1);
                    counters.sent_bytes.add(letter.len() as u64);
                    if let Some(to) = to {
                        let bytes = BytesRepr(self.outbox.bytes(letter));
                        log::trace!("{} {bytes} to {to}", self.shared.config.sending);
                    }
                }
                Err(error) => {
                    counters.datagrams.drop(Dropped::Failed(error.raw_os_error().unwrap_or_default()));
                    // An unreachable peer is the peer's affair.
                    if ErrorClass::of(&error) != ErrorClass::Transient && warning.is_due(now) {
                        let place = to.map(|to| format!(" to {to}")).unwrap_or_default();
                        log::warn!("cannot send a datagram{place}: {}", in_words_with_errno(&error));
                    }
                }
            }
        });
        for _ in done..self.outbox.letters().len() {
            counters.datagrams.drop(Dropped::SendBufferFull);
        }
    }
}

/// Puts a reply to each datagram of the `inbox` into the `outbox`, where there is one.
fn answer_all(
    shared: &Shared,
    config: &DatagramConfig,
    counters: &Counters,
    inbox: &Inbox,
    outbox: &mut Outbox,
    door: &mut Door,
    now: Instant,
) {
    for arrival in inbox.arrivals() {
        let peer = SocketAddr::new(arrival.peer.ip().to_canonical(), arrival.peer.port());
        if arrival.to_many && !door.socket.as_ref().is_some_and(DatagramSocket::answers_many) {
            continue;
        }
        counters.datagrams.received.add(1);
        counters.received_bytes.add(arrival.bytes.len() as u64);
        log::trace!("Received {} from {peer}", BytesRepr(arrival.bytes));
        if !shared.admission.allows(peer.ip()) {
            counters.datagrams.drop(Dropped::NotAllowed);
            continue;
        }
        if would_loop(&arrival, door.local) {
            counters.datagrams.drop(Dropped::WouldLoop);
            continue;
        }
        let limit = config.longest_reply.unwrap_or(arrival.bytes.len().max(SHORT_REPLY_BYTES));
        let responder = &mut door.responder;
        outbox.add(Some(arrival.peer), arrival.local, |bytes| {
            let respond = || responder.respond(arrival.bytes, &mut Reply::new(bytes, limit), now);
            // Whatever the fault is, it is this datagram's alone.
            catch_unwind(AssertUnwindSafe(respond)).unwrap_or_else(|_| {
                // What the panic says is reported by its hook; how often it happens, by the count.
                counters.datagrams.drop(Dropped::Panicked);
                false
            })
        });
    }
}

/// Whether an answer would be answered in its turn, or go to nobody.
fn would_loop(arrival: &Arrival<'_>, local: Option<SocketAddr>) -> bool {
    let port = arrival.peer.port();
    let is_own = local.is_some_and(|local| {
        let ip = arrival.local.unwrap_or(local.ip());
        local.port() == port && ip.to_canonical() == arrival.peer.ip().to_canonical()
    });
    port == 0 || is_own || ANSWERING_PORTS.contains(&port)
}
