//! Counters of one worker. Only the worker writes them, any thread reads them; there are no locks, and counting costs a
//! load and a store.

use super::admission::Refusal;
use super::summary::{DatagramSummary, DropReason, OutgoingSummary, Summary};
use crate::connection::CloseReason;
use crate::counter::{Counter, FixedHistogram, Gauge, Tally};
use crate::socket::{ByteStream, Stream, TlsFault, TlsStream};
use std::io;
use std::time::Duration;

/// The reasons for which most outgoing connections fail.
const CONNECT_FAILURES: [CloseReason; 7] = [
    CloseReason::Unresolved,
    CloseReason::ConnectRefused,
    CloseReason::ConnectTimeout,
    CloseReason::ConnectFailed,
    CloseReason::OutgoingLimit,
    CloseReason::HandshakeFailed,
    CloseReason::HandshakeTimeout,
];

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeResult {
    /// The handshake is complete.
    Completed,
    /// The handshake failed.
    Failed(TlsFault),
    /// The connection closed before.
    Closed(CloseReason),
}

impl HandshakeResult {
    /// The results that are shown from the start.
    const KNOWN: [Self; 2] = [Self::Completed, Self::Closed(CloseReason::HandshakeTimeout)];

    /// The result of a handshake that is incomplete when its connection closes for `reason`; none for a complete one,
    /// and without TLS.
    pub(super) fn of_closed(socket: &Stream, reason: CloseReason) -> Option<Self> {
        let fault = || socket.tls().and_then(TlsStream::fault);
        socket.is_handshaking().then(|| fault().map_or(Self::Closed(reason), Self::Failed))
    }

    #[cfg(feature = "metrics")]
    pub(super) fn name(self) -> std::borrow::Cow<'static, str> {
        use std::borrow::Cow;
        match self {
            Self::Completed => Cow::Borrowed("completed"),
            Self::Failed(fault) => fault.name(),
            Self::Closed(reason) => Cow::Borrowed(reason.name()),
        }
    }
}

/// The counters of one worker.
///
/// Two workers never share a cache line, nor a pair of lines that the processor fetches together.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counters {
    /// Bytes received from all peers.
    pub(super) received_bytes: Counter,
    /// Bytes sent to all peers.
    pub(super) sent_bytes: Counter,
    /// Connections accepted.
    pub(super) accepted: Counter,
    /// Connections closed, by reason.
    pub(super) closed: Tally<CloseReason>,
    /// Connections refused, by reason.
    pub(super) refused: Tally<Refusal>,
    /// TLS handshakes of accepted connections, by result.
    pub(super) handshakes: Tally<HandshakeResult>,
    /// Messages received, as far as services count them.
    pub(super) messages: Counter,
    /// Failed accept calls, by error number (errno(3)); 0 if the error had none.
    pub(super) accept_errors: Tally<i32>,
    /// Counters of outgoing connections.
    pub(super) outgoing: OutgoingCounters,
    /// UDP counters.
    pub(super) datagrams: DatagramCounters,
    /// Written only if the admin pages are enabled.
    pub(super) rounds: Rounds,
}

/// Metrics that a worker records at the end of each round of its loop.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// How long the work of a round took: the longest that a ready connection waits for its turn.
    pub(super) turn: FixedHistogram,
    /// How late entries of the timer wheel expired.
    pub(super) timer_lag: FixedHistogram,
    /// Unused memory of the buffer pool, in bytes.
    pub(super) spare_bytes: Gauge,
    /// Entries in the ready queue.
    pub(super) ready: Gauge,
    /// When the loop last ran its heartbeat, in seconds since the server was created.
    pub(super) heartbeat_s: Gauge,
    /// 1 when the worker has exited normally.
    pub(super) has_exited: Gauge,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            accepted: Counter::default(),
            closed: Tally::of(&CloseReason::EXCEPT_FAILED),
            refused: Tally::of(&Refusal::ALL),
            handshakes: Tally::of(&HandshakeResult::KNOWN),
            messages: Counter::default(),
            accept_errors: Tally::of(&[]),
            outgoing: OutgoingCounters::default(),
            datagrams: DatagramCounters::default(),
            rounds: Rounds::default(),
        }
    }
}

impl Counters {
    /// Counts a failed accept call.
    pub(super) fn accept_failed(&self, error: &io::Error) {
        self.accept_errors.add(error.raw_os_error().unwrap_or_default());
    }

    /// The number of open connections.
    pub(super) fn open(&self) -> u64 {
        // `closed` is read first: a connection that opens between the two reads cannot make the result negative.
        let closed = self.closed.total();
        self.accepted.get().saturating_sub(closed)
    }

    /// The current values.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            accepted: self.accepted.get(),
            refused: self.refused.counts().filter(|(_, count)| *count > 0).collect(),
            accept_errors: self.accept_errors.counts().collect(),
            closed: self.closed.counts().filter(|(_, count)| *count > 0).collect(),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
            outgoing: self.outgoing.summary(),
            upstreams: Vec::new(),
            datagrams: self.datagrams.summary(),
            elapsed: Duration::ZERO,
        }
    }
}

/// The counters of one worker's outgoing connections.
#[derive(Debug)]
pub(super) struct OutgoingCounters {
    /// Connections that were established, with their TLS handshake.
    pub(super) opened: Counter,
    /// Connections that were not, by reason.
    pub(super) failed: Tally<CloseReason>,
    /// Established connections that were closed, by reason.
    pub(super) closed: Tally<CloseReason>,
    /// TLS handshakes, by result.
    pub(super) handshakes: Tally<HandshakeResult>,
}

impl Default for OutgoingCounters {
    fn default() -> Self {
        let (failed, closed) = (Tally::of(&CONNECT_FAILURES), Tally::of(&CloseReason::EXCEPT_FAILED));
        Self { opened: Counter::default(), failed, closed, handshakes: Tally::of(&[]) }
    }
}

impl OutgoingCounters {
    /// The number of established connections that are open.
    pub(super) fn open(&self) -> u64 {
        // In this order, as for accepted connections.
        let closed = self.closed.total();
        self.opened.get().saturating_sub(closed)
    }

    fn summary(&self) -> OutgoingSummary {
        let counted = |tally: &Tally<CloseReason>| tally.counts().filter(|(_, count)| *count > 0).collect();
        OutgoingSummary { opened: self.opened.get(), failed: counted(&self.failed), closed: counted(&self.closed) }
    }
}

/// The UDP counters of one worker.
#[derive(Debug)]
pub(super) struct DatagramCounters {
    /// Datagrams received.
    pub(super) received: Counter,
    /// Datagrams sent in reply.
    pub(super) sent: Counter,
    /// Datagrams that the kernel dropped because the receive queue was full.
    pub(super) overrun: Counter,
    dropped: Tally<DropReason>,
    /// Failed receive calls, by error number (errno(3)); 0 if the error had none.
    receive_errors: Tally<i32>,
}

impl Default for DatagramCounters {
    fn default() -> Self {
        let (received, sent, overrun) = (Counter::default(), Counter::default(), Counter::default());
        Self { received, sent, overrun, dropped: Tally::of(&DropReason::OWN), receive_errors: Tally::of(&[]) }
    }
}

impl DatagramCounters {
    pub(super) fn drop(&self, reason: DropReason) {
        self.dropped.add(reason);
    }

    /// The number of datagrams dropped for `reason`.
    pub(super) fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason)
    }

    /// Counts a failed receive call.
    pub(super) fn receive_failed(&self, error: &io::Error) {
        self.receive_errors.add(error.raw_os_error().unwrap_or_default());
    }

    /// Failed receive calls, by error number.
    pub(super) fn receive_errors(&self) -> impl Iterator<Item = (i32, u64)> {
        self.receive_errors.counts()
    }

    /// DropReason datagrams by reason, including reasons with a count of zero.
    pub(super) fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        let overrun = self.overrun.get();
        self.dropped.counts().map(move |(reason, count)| match reason {
            DropReason::QueueFull => (reason, overrun),
            _ => (reason, count),
        })
    }

    pub(super) fn summary(&self) -> DatagramSummary {
        DatagramSummary {
            received: self.received.get(),
            sent: self.sent.get(),
            dropped: self.dropped().filter(|(_, count)| *count > 0).collect(),
            receive_errors: self.receive_errors().collect(),
        }
    }
}

/// The number of open connections of all workers.
pub(super) fn open(workers: &[Counters]) -> u64 {
    workers.iter().map(Counters::open).sum()
}

/// Logs the counters of each worker and their sums.
pub(super) fn log(workers: &[Counters]) {
    let (mut open, mut all) = (0, Summary::default());
    for (number, counters) in workers.iter().enumerate() {
        let (open_here, here) = (counters.open(), counters.summary());
        log::info!("Counters of worker {number}: {}", here.one_line(open_here));
        open += open_here;
        all.add(&here);
    }
    log::info!("Counters in all: {}", all.one_line(open));
}

#[cfg(test)]
mod tests {
    use super::Counters;
    use crate::connection::CloseReason;
    use crate::server::Refusal;
    use std::io;

    #[test]
    fn the_log_line_shows_all_counters() {
        let counters = Counters::default();
        let line = |counters: &Counters| counters.summary().one_line(counters.open());
        assert_eq!(
            line(&counters),
            "0 open, 0 accepted, 0 closed, 0 refused, 0 failed to be accepted, 0 B in, 0 B out"
        );
        counters.accepted.add(1_234);
        counters.closed.add(CloseReason::Idle);
        counters.closed.add(CloseReason::PeerClosed);
        counters.closed.add(CloseReason::Failed(io::ErrorKind::TimedOut));
        counters.refused.add(Refusal::AtLimit);
        counters.accept_failed(&io::Error::from_raw_os_error(24));
        counters.received_bytes.add(2048);
        counters.outgoing.opened.add(3);
        counters.outgoing.closed.add(CloseReason::PeerClosed);
        counters.outgoing.failed.add(CloseReason::ConnectRefused);
        assert_eq!(
            line(&counters),
            "1,231 open, 1,234 accepted, 3 closed (1 closed by peer, 1 idle timeout, 1 timed out), \
             1 refused (1 too many connections), 1 failed to be accepted (1 EMFILE), 2 KiB in, 0 B out, \
             3 outgoing opened, 1 outgoing closed (1 closed by peer), 1 outgoing failed (1 connect refused)"
        );
    }

    #[test]
    fn workers_share_no_cache_lines() {
        assert_eq!(align_of::<Counters>(), 128);
    }
}
