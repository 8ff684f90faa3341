//! One UDP socket of one worker, and the batched receive, answer and send of its turns.

use super::config::DatagramConfig;
use super::rate_limit::{Permit, RateLimit};
use super::reflection::{hops_of_reply, is_server_port};
use crate::error::{ErrorBackoff, ErrorClass, Warning, in_words_with_errno};
use crate::event_loop::{Key, LoopContext, Timer};
use crate::log_targets::SERVER_LOG;
use crate::panic_guard::guarded;
use crate::python_repr::{AddressRepr, BytesRepr};
use crate::server::counters::Counters;
use crate::server::shared::Shared;
use crate::server::summary::DropReason;
use crate::service::{Reply, Responder, SHORT_REPLY_BYTES};
use crate::socket::{DatagramSocket, RecvBatch, SendBatch};
use crate::units::{format_duration, format_rate};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// How a turn of a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// The socket is drained; an event follows when more arrives.
    Drained,
    /// More datagrams may be available.
    Unfinished,
    /// Receiving fails; the timer starts the next turn.
    Paused,
}

/// One UDP socket of a worker.
pub(super) struct WorkerSocket {
    /// None once it is closed.
    socket: Option<DatagramSocket>,
    key: Key,
    /// None only during drop.
    responder: Option<Box<dyn Responder>>,
    /// Whether it is in the ready queue.
    pub(super) is_queued: bool,
    /// The local address.
    local: Option<SocketAddr>,
    /// How many datagrams the kernel has dropped on the socket so far; the kernel only reports the total.
    overrun: u32,
    receiving: ErrorBackoff,
    /// Ends a pause after failed receive calls.
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
        // Read events only: a reply is dropped when the send buffer is full.
        self.socket.as_mut().map_or(Ok(()), |socket| context.register_listener(socket.source(), self.key))
    }

    pub(super) fn socket(&self) -> Option<&DatagramSocket> {
        self.socket.as_ref()
    }

    /// Whether it pauses because receiving failed. Events are ignored meanwhile; the next turn receives everything that
    /// is queued.
    pub(super) fn is_pausing(&self, context: &LoopContext) -> bool {
        self.receiving.is_pausing(context.now)
    }

    /// Arms the timer that ends the pause.
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

/// Batches and limits, shared by the UDP sockets of a worker.
pub(super) struct BatchIo<'a> {
    pub(super) shared: &'a Shared,
    pub(super) config: &'a DatagramConfig,
    pub(super) counters: &'a Counters,
    pub(super) recv_batch: RecvBatch,
    pub(super) send_batch: SendBatch,
    /// None if replies are not rate-limited.
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) warnings: Warnings,
}

/// Warnings that peers or the system can cause, each logged at most once a second.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    receiving: Warning,
    sending: Warning,
    rate: Warning,
    length: Warning,
    source: Warning,
}

impl Warnings {
    /// Logs that `peer` got no reply; as a warning if the operator can change that.
    fn dropped(
        &mut self,
        now: Instant,
        reason: DropReason,
        peer: SocketAddr,
        config: &DatagramConfig,
        counters: &Counters,
    ) {
        let so_far = || counters.datagrams.dropped_for(reason);
        match reason {
            DropReason::RateLimited if self.rate.is_due(now) => {
                let rate = config.rate_limit.map(format_rate).unwrap_or_default();
                log::warn!(
                    peer:%, count = so_far();
                    "a source exceeds the rate limit of {rate}"
                );
            }
            DropReason::ReplyTooLong if self.length.is_due(now) => log::warn!(
                peer:%, count = so_far();
                "a reply longer than its request is not sent, because amplification is not allowed"
            ),
            DropReason::WouldLoop if self.source.is_due(now) => {
                log::debug!(
                    peer:%, count = so_far();
                    "a reply could start a loop (port or hop limit)"
                );
            }
            _ => {}
        }
    }
}

impl BatchIo<'_> {
    /// Receives and answers about `max_datagrams` datagrams at most.
    pub(super) fn turn(&mut self, now: Instant, worker_socket: &mut WorkerSocket, max_datagrams: usize) -> TurnEnd {
        let mut count = 0;
        while count < max_datagrams {
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
            if !may_be_more {
                return TurnEnd::Drained;
            }
        }
        TurnEnd::Unfinished
    }

    /// How the turn of `worker_socket` ends after `error`; none when it continues.
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
            log::debug!(error = in_words_with_errno(error); "receive error");
            return None;
        };
        if self.warnings.receiving.is_due(now) {
            let local = worker_socket.local.map(|local| local.to_string());
            let (words, pause) = (in_words_with_errno(error), format_duration(pause));
            let count = self.counters.datagrams.receive_errors().map(|(_, count)| count).sum::<u64>();
            log::warn!(local, count; "cannot receive datagrams: {words}; trying again in {pause}");
        }
        Some(TurnEnd::Paused)
    }

    /// Answers each received datagram, if there is a reply.
    fn answer_all(&mut self, now: Instant, worker_socket: &mut WorkerSocket) {
        let Self { shared, config, counters, recv_batch, send_batch, rate_limit, warnings } = self;
        send_batch.clear();
        if let Some(rate_limit) = rate_limit {
            rate_limit.begin_batch(now);
        }
        // Multicast datagrams have one hop by default (ip(7)), and cannot form a loop.
        let is_group = worker_socket.local.is_some_and(|local| local.ip().is_multicast());
        for arrival in recv_batch.arrivals() {
            if send_batch.is_full() {
                send(send_batch, worker_socket.socket.as_ref(), config, counters, &mut warnings.sending, now);
            }
            let peer = SocketAddr::new(arrival.peer.ip().to_canonical(), arrival.peer.port());
            if arrival.to_many && !worker_socket.socket.as_ref().is_some_and(DatagramSocket::answers_many) {
                continue;
            }
            counters.datagrams.received.add(1);
            counters.received_bytes.add(arrival.bytes.len() as u64);
            log::trace!(
                peer:%, bytes = arrival.bytes.len();
                "Received {} from {}", BytesRepr(arrival.bytes), AddressRepr(peer)
            );
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
            let mut drop_reason = None;
            let is_answered = send_batch.add(Some(arrival.peer), arrival.local, hops, |bytes| {
                let mut reply = Reply::new(bytes, limit);
                // A panic affects only this datagram; the panic hook reports it.
                let answers = guarded(|| responder.respond(arrival.bytes, &mut reply, now));
                drop_reason = match answers {
                    Ok(false) if reply.was_too_long() => Some(DropReason::ReplyTooLong),
                    Err(_) => Some(DropReason::Panicked),
                    Ok(_) => None,
                };
                answers.unwrap_or(false)
            });
            if let Some(reason) = drop_reason {
                counters.datagrams.drop(reason);
                warnings.dropped(now, reason, peer, config, counters);
            }
            if let (Some(rate_limit), Some(permit), true) = (rate_limit.as_mut(), permit, is_answered) {
                rate_limit.charge(permit);
            }
        }
        send(send_batch, worker_socket.socket.as_ref(), config, counters, &mut warnings.sending, now);
    }
}

/// Sends the replies in `send_batch` and empties it. What `socket` does not take is dropped.
fn send(
    send_batch: &mut SendBatch,
    socket: Option<&DatagramSocket>,
    config: &DatagramConfig,
    counters: &Counters,
    warning: &mut Warning,
    now: Instant,
) {
    let Some(socket) = socket else { return };
    let done = send_batch.send(socket, |datagram, result| {
        let to = datagram.to().map(|to| SocketAddr::new(to.ip().to_canonical(), to.port()));
        match result {
            Ok(()) => {
                counters.datagrams.sent.add(1);
                counters.sent_bytes.add(datagram.len() as u64);
                if let Some(to) = to {
                    let bytes = BytesRepr(send_batch.bytes(datagram));
                    log::trace!(
                        target: SERVER_LOG, peer:% = to, bytes = datagram.len();
                        "{} {bytes} to {}", config.sending, AddressRepr(to)
                    );
                }
            }
            Err(error) => {
                counters.datagrams.drop(DropReason::Failed(error.raw_os_error().unwrap_or_default()));
                // An unreachable peer is no fault of this server.
                if ErrorClass::of(&error) != ErrorClass::Transient && warning.is_due(now) {
                    let peer = to.map(|to| to.to_string());
                    log::warn!(peer, error = in_words_with_errno(&error); "cannot send a datagram");
                }
            }
        }
    });
    for _ in done..send_batch.datagrams().len() {
        counters.datagrams.drop(DropReason::SendBufferFull);
    }
    send_batch.clear();
}

/// The hop limit and the rate-limit permit of a reply.
struct Admitted {
    hops: Option<u8>,
    permit: Option<Permit>,
}

/// Checks whether a datagram from `peer` may be answered, or why not. `hops` is the hop limit with which it arrived,
/// where that matters.
fn admit(
    shared: &Shared,
    rate_limit: Option<&RateLimit>,
    peer: SocketAddr,
    hops: Option<u8>,
) -> Result<Admitted, DropReason> {
    if !shared.admission.allows(peer.ip()) {
        return Err(DropReason::NotAllowed);
    }
    if is_server_port(peer.port(), &shared.datagram_ports) {
        return Err(DropReason::WouldLoop);
    }
    let hops = hops_of_reply(hops).map_err(|()| DropReason::WouldLoop)?;
    let permit = rate_limit.map(|limit| limit.permit(peer).ok_or(DropReason::RateLimited)).transpose()?;
    Ok(Admitted { hops, permit })
}
