//! Exchange plan: what the connections of a worker send and expect, and how far the load has come.

use super::check::generated_bytes::Pattern;
use super::check::search::SearchReplies;
use super::clock::{Clock, KernelClock};
use super::config::{ExpectedText, HalfClose};
use super::tcp::in_flight::Arrival;
use super::{Expect, Shared, WorkerMetrics};
use crate::codec::Framing;
use crate::event_loop::monotonic_time;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Phase of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum LoadPhase {
    /// Connections are being opened.
    Connecting,
    /// Messages are sent.
    Sending,
    /// No new message is sent; replies are still awaited.
    Draining,
}

/// Bytes that the kernel has accepted in the current turn.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct KernelWrite {
    /// Number of bytes.
    pub(in crate::client) bytes: u64,
    /// When the first of them was written.
    pub(in crate::client) since: u64,
}

/// Plan shared by all connections of a worker.
#[derive(Debug)]
pub(in crate::client) struct Plan {
    messages: Arc<[Vec<u8>]>,
    /// Offsets of `messages` in the stream in which they follow each other, and their total size, in bytes.
    offsets: Vec<u64>,
    /// Size of messages that are generated from each connection's pattern.
    size: Option<usize>,
    seed: u64,
    /// Number of messages of a connection and its replacements together.
    pub(in crate::client) total: u64,
    /// Maximum number of messages of each connection.
    pub(in crate::client) reconnect_every: u64,
    pub(in crate::client) pipeline: u64,
    pub(in crate::client) reply_timeout: Duration,
    pub(in crate::client) expect: Expect,
    pub(in crate::client) expected_text: Option<ExpectedText>,
    pub(in crate::client) framing: Option<Framing>,
    pub(in crate::client) reply_size: Option<usize>,
    pub(in crate::client) buffer_bytes: usize,
    pub(in crate::client) half_close: HalfClose,
    /// Open loop: messages are sent when they are due, not when replies arrive.
    pub(in crate::client) is_open_loop: bool,
    pub(in crate::client) clock: Clock,
    kernel_clock: KernelClock,
    /// Whether sockets report the kernel's receive timestamps.
    pub(in crate::client) has_kernel_timestamps: bool,
    /// Arrival of the bytes last read, from the connection whose turn it is.
    arrival: Cell<Option<Arrival>>,
    pub(in crate::client) phase: Cell<LoadPhase>,
    /// Bytes that the kernel accepted from the connection whose turn it is.
    pub(in crate::client) kernel_write: Cell<Option<KernelWrite>>,
    /// While set, connections whose exchange is complete stay open.
    pub(in crate::client) holding: Cell<bool>,
    /// While set, connections whose exchange is complete stay open until those of the whole run are complete or have
    /// failed.
    pub(in crate::client) keeps_open: Cell<bool>,
    pub(in crate::client) metrics: RefCell<WorkerMetrics>,
    /// When the first connection of the run was open, and whether this worker measures from then on.
    first_open: Arc<OnceLock<u64>>,
    is_measuring: Cell<bool>,
    /// Known replies, if the messages are requests.
    pub(in crate::client) search_replies: Option<SearchReplies>,
}

impl Plan {
    pub(in crate::client) fn new(shared: &Shared, metrics: WorkerMetrics) -> Self {
        let config = &shared.config;
        let together = config.load.has_common_start();
        let is_open_loop = config.load.rate.is_some();
        Self {
            messages: Arc::clone(&shared.messages),
            offsets: offsets(&shared.messages),
            size: config.size,
            seed: config.load.seed,
            total: config.total_messages(shared.messages.len()),
            reconnect_every: config.load.reconnect_every.unwrap_or(u64::MAX),
            pipeline: match config.pipeline {
                // No message waits for a reply.
                _ if config.expect == Expect::Nothing && config.udp.is_none() => u64::MAX,
                Some(count) => count,
                // Many servers answer only one request at a time.
                None if matches!(config.expect, Expect::Http { .. }) => 1,
                None if !is_open_loop && (config.load.duration.is_some() || config.udp.is_some()) => 1,
                None => u64::MAX,
            },
            reply_timeout: config.reply_timeout,
            expect: config.expect,
            expected_text: config.expected_text.clone(),
            framing: config.framing,
            reply_size: config.reply_size,
            buffer_bytes: config.buffer_bytes,
            half_close: HalfClose::of(config),
            is_open_loop,
            clock: shared.clock,
            kernel_clock: KernelClock::new(shared.clock),
            has_kernel_timestamps: shared.has_kernel_timestamps(),
            arrival: Cell::new(None),
            phase: Cell::new(if together { LoadPhase::Connecting } else { LoadPhase::Sending }),
            kernel_write: Cell::new(None),
            holding: Cell::new(config.hold.is_some()),
            keeps_open: Cell::new(config.keeps_open()),
            metrics: RefCell::new(metrics),
            first_open: Arc::clone(&shared.first_open),
            // Otherwise the load itself starts the measured time.
            is_measuring: Cell::new(together),
            search_replies: (!shared.requests.is_empty()).then(|| SearchReplies::new(Arc::clone(&shared.requests))),
        }
    }

    /// Called when a connection is open. Where connections do not wait for each other, the first one of the run
    /// starts the measured time; the wait for the server before that is excluded.
    pub(in crate::client) fn on_open(&self) {
        if !self.is_measuring.replace(true) {
            let begin = *self.first_open.get_or_init(|| self.clock.nanos(monotonic_time()));
            let mut metrics = self.metrics.borrow_mut();
            metrics.begin(begin);
            metrics.begin_publishing();
        }
    }

    /// When bytes arrived that were read at `read`, in the round of the loop that began at `round`. `since_1970` is the
    /// kernel's timestamp.
    #[inline]
    pub(in crate::client) fn arrival(&self, since_1970: Option<Duration>, round: Instant, read: u64) -> Arrival {
        let arrived = since_1970.and_then(|since_1970| self.kernel_clock.nanos(since_1970, round));
        match arrived.filter(|arrived| *arrived <= read) {
            Some(arrived) => Arrival { arrived, read, is_stamped: true },
            None => Arrival::unstamped(read),
        }
    }

    /// Records when the bytes arrived that are read in this turn.
    #[inline]
    pub(in crate::client) fn set_arrival(&self, arrival: Arrival) {
        self.arrival.set(Some(arrival));
    }

    /// Arrival of the bytes that were read in this turn at `read`.
    #[inline]
    pub(in crate::client) fn take_arrival(&self, read: u64) -> Arrival {
        self.arrival.take().unwrap_or_else(|| Arrival::unstamped(read))
    }

    /// Returns the metrics, including the replies received.
    pub(in crate::client) fn into_metrics(self) -> WorkerMetrics {
        let mut metrics = self.metrics.into_inner();
        metrics.results.search_replies = self.search_replies.map(SearchReplies::into_replies).unwrap_or_default();
        metrics
    }

    /// Pattern of the connection with this number, if messages are generated.
    pub(in crate::client) fn pattern(&self, number: u64) -> Option<Pattern> {
        self.size.map(|_| Pattern::new(self.seed, number))
    }

    /// Size of message `number`, in bytes.
    #[inline]
    pub(in crate::client) fn size_of(&self, number: u64) -> usize {
        self.size.unwrap_or_else(|| self.message(number).len())
    }

    /// Number of bytes from the beginning of message `first` to that of message `last`.
    #[inline]
    pub(in crate::client) fn offset_between(&self, first: u64, last: u64) -> u64 {
        match self.size {
            Some(size) => (last - first) * size as u64,
            None => self.offset_of(last) - self.offset_of(first),
        }
    }

    /// Offset of message `number`, where all connections send the same messages.
    fn offset_of(&self, number: u64) -> u64 {
        let (rounds, index) = self.position(number);
        rounds * self.offsets[self.messages.len()] + self.offsets[index]
    }

    /// How many times all messages come before message `number`, and its index.
    // The remainder is an index into a vector.
    #[allow(clippy::cast_possible_truncation)]
    fn position(&self, number: u64) -> (u64, usize) {
        let count = self.messages.len() as u64;
        (number / count, (number % count) as usize)
    }

    /// Message `number`, where all connections send the same messages.
    #[inline]
    pub(in crate::client) fn message(&self, number: u64) -> &[u8] {
        &self.messages[self.position(number).1]
    }
}

/// Offsets of messages that follow each other, and the end of the last one.
fn offsets(messages: &[Vec<u8>]) -> Vec<u64> {
    let ends = messages.iter().scan(0, |end, message| {
        *end += message.len() as u64;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
