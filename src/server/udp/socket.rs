//! One datagram socket of one worker, and the desk where all of them are served.

use super::counters::Dropped;
use super::rate_limit::{Permit, RateLimit};
use super::reflection::{hops_of_reply, is_answered_by_servers};
use super::{DatagramConfig, Shared};
use crate::error::{ErrorBackoff, ErrorClass, Warning, in_words_with_errno};
use crate::event_loop::{Key, LoopContext, Timer};
use crate::guard::guarded;
use crate::python_repr::BytesRepr;
use crate::server::counters::Counters;
use crate::service::{Reply, Responder, SHORT_REPLY_BYTES};
use crate::socket::{DatagramSocket, RecvBatch, SendBatch};
use crate::units::{format_count, format_counted, format_duration, format_rate};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// How a turn of a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// Nothing is left to receive; the next event tells of more.
    Drained,
    /// More datagrams may wait.
    Unfinished,
    /// Receiving fails; the timer brings the next turn.
    Paused,
}

/// One socket.
pub(super) struct WorkerSocket {
    /// None once it is closed for good.
    socket: Option<DatagramSocket>,
    key: Key,
    /// None only while it is dropped.
    responder: Option<Box<dyn Responder>>,
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

impl WorkerSocket {
    pub(super) fn new(socket: DatagramSocket, key: Key, responder: Box<dyn Responder>) -> Self {
        let local = socket.local_address().ok();
        let (receiving, timer) = (ErrorBackoff::default(), Timer::default());
        Self {
            socket: Some(socket),
            key,
            responder: Some(responder),
            is_queued: false,
            local,
            overrun: 0,
            receiving,
            timer,
        }
    }

    pub(super) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        // A reply that finds no room is dropped: nobody waits for room.
        self.socket.as_mut().map_or(Ok(()), |socket| context.register_listener(socket.source(), self.key))
    }

    pub(super) fn socket(&self) -> Option<&DatagramSocket> {
        self.socket.as_ref()
    }

    /// Whether it waits because receiving failed. Events are ignored meanwhile: the next turn receives all that is there.
    pub(super) fn is_pausing(&self, context: &LoopContext) -> bool {
        self.receiving.is_pausing(context.now)
    }

    /// Has the timer end the pause.
    pub(super) fn pause(&mut self, context: &mut LoopContext) {
        context.wheel.arm(&mut self.timer, self.key, self.receiving.pauses_until(context.now));
    }

    pub(super) fn close(&mut self, context: &mut LoopContext) {
        context.wheel.cancel(&mut self.timer);
        if let Some(mut socket) = self.socket.take() {
            context.deregister(socket.source());
        }
    }
}

impl Drop for WorkerSocket {
    fn drop(&mut self) {
        let responder = self.responder.take();
        let _ = guarded(|| drop(responder));
    }
}

/// What the doors of a worker share.
pub(super) struct BatchIo<'a> {
    pub(super) shared: &'a Shared,
    pub(super) config: &'a DatagramConfig,
    pub(super) counters: &'a Counters,
    pub(super) recv_batch: RecvBatch,
    pub(super) send_batch: SendBatch,
    /// None where every source gets all its replies.
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) warnings: Warnings,
}

/// Warnings that peers or the system can bring about, each given once a second at most.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    receiving: Warning,
    sending: Warning,
    rate: Warning,
    length: Warning,
    source: Warning,
}

impl Warnings {
    /// Says that `peer` got no reply, as a warning where the operator can change that.
    fn dropped(
        &mut self,
        now: Instant,
        reason: Dropped,
        peer: SocketAddr,
        config: &DatagramConfig,
        counters: &Counters,
    ) {
        let so_far = || format_counted(counters.datagrams.dropped_for(reason), "datagram");
        match reason {
            Dropped::RateLimited if self.rate.is_due(now) => {
                let rate = config.rate_limit.map(format_rate).unwrap_or_default();
                log::warn!(
                    "{peer} sends more than {rate}, which --udp-rate-limit allows each source; {} not answered so far",
                    so_far()
                );
            }
            Dropped::ReplyTooLong if self.length.is_due(now) => log::warn!(
                "the reply to {peer} would be longer than its request, and is not sent without \
                 --udp-allow-amplification; {} not answered so far",
                so_far()
            ),
            Dropped::WouldLoop if self.source.is_due(now) => {
                log::debug!("{peer} has the port of a server, or few hops left; {} not answered so far", so_far());
            }
            _ => {}
        }
    }
}

impl BatchIo<'_> {
    /// Answers up to about `most` of the datagrams that wait at `worker_socket`.
    pub(super) fn turn(&mut self, now: Instant, worker_socket: &mut WorkerSocket, most: usize) -> TurnEnd {
        let mut count = 0;
        while count < most {
            let Some(socket) = &worker_socket.socket else { return TurnEnd::Drained };
            let received = self.recv_batch.receive(socket);
            if let Some(overrun) = self.recv_batch.take_overrun() {
                self.counters.datagrams.overrun.add(u64::from(overrun.wrapping_sub(worker_socket.overrun)));
                worker_socket.overrun = overrun;
            }
            let may_be_more = match received {
                Ok(may_be_more) => may_be_more,
                Err(error) => {
                    if let Some(turn) = self.handle_receive_error(now, worker_socket, &error) {
                        return turn;
                    }
                    count += 1;
                    continue;
                }
            };
            worker_socket.receiving.succeeded();
            count += self.recv_batch.arrivals().len();
            self.answer_all(now, worker_socket);
            self.send(now, worker_socket);
            if !may_be_more {
                return TurnEnd::Drained;
            }
        }
        TurnEnd::Unfinished
    }

    /// How the turn of `worker_socket` ends after `error`; none when it goes on.
    fn handle_receive_error(
        &mut self,
        now: Instant,
        worker_socket: &mut WorkerSocket,
        error: &io::Error,
    ) -> Option<TurnEnd> {
        let class = ErrorClass::of(error);
        if class == ErrorClass::WouldBlock {
            worker_socket.receiving.succeeded();
            return Some(TurnEnd::Drained);
        }
        self.counters.datagrams.receive_failed(error);
        let Some(pause) = worker_socket.receiving.failed(class, now) else {
            log::debug!("Receiving datagrams: {}", in_words_with_errno(error));
            return None;
        };
        if self.warnings.receiving.is_due(now) {
            let place = worker_socket.local.map(|local| format!(" on {local}")).unwrap_or_default();
            let (words, pause) = (in_words_with_errno(error), format_duration(pause));
            let failures = self.counters.datagrams.receive_errors().map(|(_, count)| count).sum::<u64>();
            log::warn!(
                "cannot receive datagrams{place}: {words}; trying again in {pause} (failures so far: {})",
                format_count(failures)
            );
        }
        Some(TurnEnd::Paused)
    }

    /// Puts a reply to each datagram of the inbox into the outbox, where there is one.
    fn answer_all(&mut self, now: Instant, worker_socket: &mut WorkerSocket) {
        let Self { shared, config, counters, recv_batch, send_batch, rate_limit, warnings } = self;
        send_batch.clear();
        if let Some(rate_limit) = rate_limit {
            rate_limit.begin_batch(now);
        }
        // What is sent to a group has one hop by default (ip(7)), and no loop goes through one.
        let is_group = worker_socket.local.is_some_and(|local| local.ip().is_multicast());
        for arrival in recv_batch.arrivals() {
            let peer = SocketAddr::new(arrival.peer.ip().to_canonical(), arrival.peer.port());
            if arrival.to_many && !worker_socket.socket.as_ref().is_some_and(DatagramSocket::answers_many) {
                continue;
            }
            counters.datagrams.received.add(1);
            counters.received_bytes.add(arrival.bytes.len() as u64);
            log::trace!("Received {} from {peer}", BytesRepr(arrival.bytes));
            let hops = arrival.hops.filter(|_| !is_group && !arrival.to_many);
            let Admitted { hops, permit } = match admit(shared, rate_limit.as_ref(), peer, hops) {
                Ok(admitted) => admitted,
                Err(reason) => {
                    counters.datagrams.drop(reason);
                    warnings.dropped(now, reason, peer, config, counters);
                    continue;
                }
            };
            let limit = config.longest_reply.unwrap_or(arrival.bytes.len().max(SHORT_REPLY_BYTES));
            let Some(responder) = &mut worker_socket.responder else { return };
            let mut unanswered = None;
            let is_answered = send_batch.add(Some(arrival.peer), arrival.local, hops, |bytes| {
                let mut reply = Reply::new(bytes, limit);
                // Whatever the fault is, it is this datagram's alone. What the panic says is reported by its hook.
                let answers = guarded(|| responder.respond(arrival.bytes, &mut reply, now));
                unanswered = match answers {
                    Ok(false) if reply.was_too_long() => Some(Dropped::ReplyTooLong),
                    Err(_) => Some(Dropped::Panicked),
                    Ok(_) => None,
                };
                answers.unwrap_or(false)
            });
            if let Some(reason) = unanswered {
                counters.datagrams.drop(reason);
                warnings.dropped(now, reason, peer, config, counters);
            }
            if let (Some(rate_limit), Some(permit), true) = (rate_limit.as_mut(), permit, is_answered) {
                rate_limit.charge(permit);
            }
        }
    }

    fn send(&mut self, now: Instant, worker_socket: &WorkerSocket) {
        let Some(socket) = &worker_socket.socket else { return };
        let (counters, warning) = (self.counters, &mut self.warnings.sending);
        let done = self.send_batch.send(socket, |datagram, result| {
            let to = datagram.to().map(|to| SocketAddr::new(to.ip().to_canonical(), to.port()));
            match result {
                Ok(()) => {
                    counters.datagrams.sent.add(1);
                    counters.sent_bytes.add(datagram.len() as u64);
                    if let Some(to) = to {
                        let bytes = BytesRepr(self.send_batch.bytes(datagram));
                        log::trace!("{} {bytes} to {to}", self.config.sending);
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
        for _ in done..self.send_batch.datagrams().len() {
            counters.datagrams.drop(Dropped::SendBufferFull);
        }
    }
}

/// What a reply to an admitted datagram needs.
struct Admitted {
    hops: Option<u8>,
    permit: Option<Permit>,
}

/// Whether what came from `peer` may be answered; else why not. It arrived with so many `hops` left, where that matters.
fn admit(
    shared: &Shared,
    rate_limit: Option<&RateLimit>,
    peer: SocketAddr,
    hops: Option<u8>,
) -> Result<Admitted, Dropped> {
    if !shared.admission.allows(peer.ip()) {
        return Err(Dropped::NotAllowed);
    }
    if is_answered_by_servers(peer.port(), &shared.datagram_ports) {
        return Err(Dropped::WouldLoop);
    }
    let hops = hops_of_reply(hops).map_err(|()| Dropped::WouldLoop)?;
    let permit = rate_limit.map(|limit| limit.permit(peer).ok_or(Dropped::RateLimited)).transpose()?;
    Ok(Admitted { hops, permit })
}
