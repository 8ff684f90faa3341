//! What all connections of a worker have to do.

use super::search::Answers;
use crate::client::clock::Clock;
use crate::client::expect::HalfClose;
use crate::client::pattern::Pattern;
use crate::client::{Expect, Shared, WorkerMetrics};
use crate::codec::Framing;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum LoadPhase {
    /// Not every connection is open yet.
    Waiting,
    /// Messages are sent.
    Sending,
    /// No message is begun any more; answers are still awaited.
    HalfClose,
}

/// What the kernel has just taken from one connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct HandedOver {
    /// So many bytes.
    pub(in crate::client) bytes: u64,
    /// Since this time.
    pub(in crate::client) since: u64,
}

/// What all connections of a worker have to do.
#[derive(Debug)]
pub(in crate::client) struct Plan {
    messages: Arc<[Vec<u8>]>,
    /// Messages are parts of each connection's own pattern, of this size.
    size: Option<usize>,
    seed: u64,
    /// How many messages there are to send on a connection and those that follow it.
    pub(in crate::client) total: u64,
    pub(super) pipeline: u64,
    pub(super) reply_timeout: Duration,
    pub(super) expect: Expect,
    pub(super) framing: Option<Framing>,
    pub(super) reply_size: Option<usize>,
    pub(super) buffer_bytes: usize,
    pub(super) ending: HalfClose,
    /// Messages go out when they are due, and not when answers come in.
    pub(super) is_paced: bool,
    pub(in crate::client) clock: Clock,
    pub(in crate::client) phase: Cell<LoadPhase>,
    /// What the kernel took from the connection that has its turn.
    pub(in crate::client) handed_over: Cell<Option<HandedOver>>,
    /// Connections that are done stay open until this is unset.
    pub(in crate::client) holding: Cell<bool>,
    /// Connections that are done stay open until every connection of the run is, or has failed.
    pub(in crate::client) keeps_open: Cell<bool>,
    pub(in crate::client) metrics: RefCell<WorkerMetrics>,
    /// What is known of the answers, if the messages are requests.
    pub(super) answers: Option<Answers>,
}

impl Plan {
    pub(in crate::client) fn new(shared: &Shared, metrics: WorkerMetrics) -> Self {
        let config = &shared.config;
        let together = config.load.begins_together();
        let endless = config.load.duration.map(|_| u64::MAX);
        let each_once = if config.size.is_some() { 1 } else { shared.messages.len() as u64 };
        Self {
            messages: Arc::clone(&shared.messages),
            size: config.size,
            seed: config.load.seed,
            total: config.messages_per_connection.or(endless).unwrap_or(each_once),
            pipeline: config.pipeline.unwrap_or(if endless.is_some() && config.load.rate.is_none() {
                1
            } else {
                u64::MAX
            }),
            reply_timeout: config.reply_timeout,
            expect: config.expect,
            framing: config.framing,
            reply_size: config.reply_size,
            buffer_bytes: config.buffer_bytes,
            ending: HalfClose::of(config),
            is_paced: config.load.rate.is_some(),
            clock: shared.clock,
            phase: Cell::new(if together { LoadPhase::Waiting } else { LoadPhase::Sending }),
            handed_over: Cell::new(None),
            holding: Cell::new(config.hold.is_some()),
            keeps_open: Cell::new(config.keeps_open()),
            metrics: RefCell::new(metrics),
            answers: (!shared.requests.is_empty()).then(|| Answers::new(Arc::clone(&shared.requests))),
        }
    }

    /// What was written down in the end.
    pub(in crate::client) fn into_metrics(self) -> WorkerMetrics {
        let mut metrics = self.metrics.into_inner();
        metrics.answers = self.answers.map(Answers::into_counts).unwrap_or_default();
        metrics
    }

    /// The bytes that a connection with this number sends, if they are its own.
    pub(super) fn pattern(&self, number: u64) -> Option<Pattern> {
        self.size.map(|_| Pattern::new(self.seed, number))
    }

    /// How long message `number` is, in bytes.
    #[inline]
    pub(super) fn size_of(&self, number: u64) -> usize {
        self.size.unwrap_or_else(|| self.message(number).len())
    }

    /// Message `number`, where all connections send the same.
    #[inline]
    pub(super) fn message(&self, number: u64) -> &[u8] {
        // The remainder is an index into a vector.
        #[allow(clippy::cast_possible_truncation)]
        let index = (number % self.messages.len() as u64) as usize;
        &self.messages[index]
    }
}
