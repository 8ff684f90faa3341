//! What one worker counts. It alone writes, and whoever wants to know reads: nothing in here is locked, and counting
//! costs a load and a store.

use super::admission::Refusal;
use super::summary::Summary;
use super::udp::DatagramCounters;
use crate::connection::CloseReason;
use crate::counter::{Counter, FixedHistogram, Gauge, Tally};
use std::io;
use std::time::Duration;

/// The counters of one worker.
///
/// Those of two workers never share a cache line, nor a pair of lines that the processor fetches together.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counters {
    /// Bytes received from all peers.
    pub(super) received_bytes: Counter,
    /// Bytes sent to all peers.
    pub(super) sent_bytes: Counter,
    /// Connections accepted.
    pub(super) accepted: Counter,
    /// Connections ended.
    pub(super) closed: Tally<CloseReason>,
    /// Peers that were not let in.
    pub(super) refused: Tally<Refusal>,
    /// Attempts to accept that failed, by the number of the error (errno(3)); 0 where there was none.
    pub(super) accept_errors: Tally<i32>,
    /// What came without a connection.
    pub(super) datagrams: DatagramCounters,
    /// Kept only while there is a metrics page.
    pub(super) rounds: Rounds,
}

/// What a worker notes at the end of each round of its loop.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// How long the work of a round took: what a peer waits for at most before it is the next one's turn.
    pub(super) turn: FixedHistogram,
    /// How late the entries of the timer wheel came up.
    pub(super) timer_lag: FixedHistogram,
    /// Storage that waits to be lent, in bytes.
    pub(super) spare_bytes: Gauge,
    /// Entries in the ready queue.
    pub(super) ready: Gauge,
    /// When the loop was seen turning, in seconds since the server was made.
    pub(super) beat_s: Gauge,
    /// 1 when the worker has ended in order.
    pub(super) has_left: Gauge,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            accepted: Counter::default(),
            closed: Tally::of(&CloseReason::EXCEPT_FAILED),
            refused: Tally::of(&Refusal::ALL),
            accept_errors: Tally::of(&[]),
            datagrams: DatagramCounters::default(),
            rounds: Rounds::default(),
        }
    }
}

impl Counters {
    /// Counts a failed attempt to accept.
    pub(super) fn accept_failed(&self, error: &io::Error) {
        self.accept_errors.add(error.raw_os_error().unwrap_or_default());
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> u64 {
        // What was closed is read first: in between, a connection can only come.
        let closed = self.closed.total();
        self.accepted.get().saturating_sub(closed)
    }

    /// All of it as it is now.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            accepted: self.accepted.get(),
            refused: self.refused.counts().filter(|(_, count)| *count > 0).collect(),
            accept_errors: self.accept_errors.counts().collect(),
            closed: self.closed.counts().filter(|(_, count)| *count > 0).collect(),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
            datagrams: self.datagrams.summary(),
            elapsed: Duration::ZERO,
        }
    }
}

/// Writes the counters of each worker, and of all together, to the log.
pub(super) fn log(workers: &[Counters]) {
    let (mut open, mut all) = (0, Summary::default());
    for (number, counters) in workers.iter().enumerate() {
        let (open_here, here) = (counters.open(), counters.summary());
        log::info!("Counters of worker {number}: {}", here.in_a_line(open_here));
        open += open_here;
        all.add(&here);
    }
    log::info!("Counters in all: {}", all.in_a_line(open));
}

#[cfg(test)]
mod tests {
    use super::Counters;
    use crate::connection::CloseReason;
    use crate::server::Refusal;
    use std::io;

    #[test]
    fn a_line_tells_everything_that_happened() {
        let counters = Counters::default();
        let line = |counters: &Counters| counters.summary().in_a_line(counters.open());
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
        assert_eq!(
            line(&counters),
            "1,231 open, 1,234 accepted, 3 closed (1 closed by peer, 1 idle timeout, 1 timed out), \
             1 refused (1 too many connections), 1 failed to be accepted (1 EMFILE), 2 KiB in, 0 B out"
        );
    }

    #[test]
    fn workers_share_no_cache_line() {
        assert_eq!(align_of::<Counters>(), 128);
    }
}
