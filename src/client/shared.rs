//! State that the workers of a client share, and the messages between them.

use super::clock::{Clock, nanos};
use super::tcp::interactive::Interactive;
use super::{ClientConfig, ClientHandle};
use crate::event_loop::{monotonic_time, unix_time};
use crate::results::TimestampSource;
use crate::service::search::Request;
use crate::socket::{Address, REPORTS_ARRIVALS, TlsConnector};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Messages to a worker.
#[derive(Debug)]
pub(super) enum Message {
    /// Every connection of every worker was opened or has failed. A load begins at this instant.
    AllAttempted(Instant),
    /// The exchange of every connection of every worker is complete, or has failed.
    AllCompleted,
    /// Every connection of every worker is closed, and none will be opened.
    AllEnded,
    /// The load ends at this instant.
    EndLoad(Instant),
    /// Interactive mode: there is input to send, or the output has room again.
    Wake,
    Stop,
}

/// State that all workers of a client share. It is accessed when a connection opens or closes, never per message.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ClientConfig,
    pub(super) clock: Clock,
    /// Messages of the configuration. They can be large, so one copy serves all workers.
    pub(super) messages: Arc<[Vec<u8>]>,
    /// Requests of the message protocol that the messages carry; empty without that protocol.
    pub(super) requests: Arc<[Request]>,
    /// Addresses of each target.
    pub(super) targets: Vec<Vec<Address>>,
    /// One per target; empty for plain text.
    pub(super) tls: Vec<TlsConnector>,
    /// Set in interactive mode: input and output are forwarded instead of exchanging messages.
    pub(super) interactive: Option<Arc<Interactive>>,
    /// When the first connection was open.
    pub(super) first_open: Arc<OnceLock<u64>>,
    attempted: AtomicUsize,
    completed: AtomicUsize,
    ended: AtomicUsize,
    /// When the last connection of all workers had ended.
    all_ended: OnceLock<Instant>,
    open: AtomicU64,
    /// When the load begins that was requested for an instant; none if it cannot begin.
    start: OnceLock<Option<Instant>>,
    pub(super) most_open: AtomicU64,
    pub(super) handle: ClientHandle,
}

impl Shared {
    pub(super) fn new(
        mut config: ClientConfig,
        messages: Vec<Vec<u8>>,
        targets: Vec<Vec<Address>>,
        tls: Vec<TlsConnector>,
        handle: ClientHandle,
    ) -> Self {
        Self {
            clock: Clock::new(),
            messages: messages.into(),
            requests: std::mem::take(&mut config.requests).into(),
            targets,
            tls,
            interactive: None,
            first_open: Arc::default(),
            attempted: AtomicUsize::new(0),
            completed: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            all_ended: OnceLock::new(),
            open: AtomicU64::new(0),
            start: OnceLock::new(),
            most_open: AtomicU64::new(0),
            handle,
            config,
        }
    }

    /// Whether the workers were told to stop before the end of the run.
    pub(super) fn is_stopped(&self) -> bool {
        self.handle.stopped().is_some() || self.has_missed_start()
    }

    /// Whether the workers were told to stop by `instant`, so that a load does not begin then. If the stop came later, a worker
    /// that learns of both together begins nevertheless: it has to count the messages that were due in between.
    pub(super) fn was_stopped_by(&self, instant: Instant) -> bool {
        self.handle.stopped().is_some_and(|stopped| stopped <= instant) || self.has_missed_start()
    }

    /// Index of the target of connection `number`.
    pub(super) fn target_of(&self, number: u32) -> usize {
        (number as usize - 1) % self.targets.len()
    }

    /// Whether the kernel timestamps the replies on some connection: of TCP without TLS, and of UDP.
    pub(super) fn has_kernel_timestamps(&self) -> bool {
        let is_stamped = |(number, addresses): (usize, &Vec<Address>)| {
            self.tls.get(number).is_none() && addresses.iter().any(|address| matches!(address, Address::Ip(_)))
        };
        let is_wanted = self.config.timestamps == TimestampSource::Kernel && REPORTS_ARRIVALS;
        is_wanted && self.targets.iter().enumerate().any(is_stamped)
    }

    /// Counts one more open connection.
    pub(super) fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
    }

    /// Counts one open connection less.
    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection whose exchange is complete or has failed. After the last one, notifies every worker.
    pub(super) fn count_completed(&self) {
        if self.config.keeps_open()
            && self.completed.fetch_add(1, Ordering::Relaxed) + 1 == self.config.own_connections()
        {
            self.handle.send(|| Message::AllCompleted);
        }
    }

    /// Counts a connection that is closed and not replaced. After the last one, notifies every worker. In interactive
    /// mode only queued output remains to be written.
    pub(super) fn count_ended(&self) {
        if let Some(interactive) = &self.interactive {
            interactive.connection_closed();
        }
        if self.ended.fetch_add(1, Ordering::Relaxed) + 1 == self.config.own_connections() {
            let _ = self.all_ended.set(monotonic_time());
            self.handle.send(|| Message::AllEnded);
        }
    }

    /// When the last connection of all workers had ended, if it has. A worker can learn of it much later.
    pub(super) fn all_ended(&self) -> Option<Instant> {
        self.all_ended.get().copied()
    }

    /// Whether all output of interactive mode is written.
    pub(super) fn is_output_done(&self) -> bool {
        self.interactive.as_ref().is_none_or(|interactive| interactive.is_output_done())
    }

    /// Counts a connection that was opened or has failed. After the last one, notifies every worker.
    pub(super) fn count_attempted(&self) {
        if self.attempted.fetch_add(1, Ordering::Relaxed) + 1 == self.config.own_connections() {
            if self.config.load.start_at.is_none() {
                let begin = monotonic_time() + self.config.load.preparation();
                self.handle.send(|| Message::AllAttempted(begin));
            } else if !self.is_all_open() {
                self.decide_start(None);
            }
        }
    }

    /// Time until the workers prepare for a load that was requested for an instant. The wall clock may be set meanwhile.
    pub(super) fn time_until_preparation(&self) -> Option<Duration> {
        let load = &self.config.load;
        Some(load.start_at?.since_1970().saturating_sub(unix_time()).saturating_sub(load.preparation()))
    }

    /// When the load begins that was requested for an instant and for which the workers prepare now; the same for all
    /// workers. None if a connection is not open: then every worker is told to stop.
    pub(super) fn start(&self) -> Option<Instant> {
        let start_at = self.config.load.start_at?.since_1970();
        let start = self.clock.instant(nanos(start_at.saturating_sub(self.clock.unix_origin())));
        self.decide_start(self.is_all_open().then_some(start))
    }

    /// Decides once when the load begins.
    fn decide_start(&self, start: Option<Instant>) -> Option<Instant> {
        *self.start.get_or_init(|| {
            if start.is_none() {
                self.handle.send(|| Message::Stop);
            }
            start
        })
    }

    /// Whether the load could not begin at the requested instant.
    pub(super) fn has_missed_start(&self) -> bool {
        self.start.get() == Some(&None)
    }

    /// Whether every connection is open, and its handshake complete.
    fn is_all_open(&self) -> bool {
        let own = self.config.own_connections();
        self.attempted.load(Ordering::Relaxed) == own && self.open.load(Ordering::Relaxed) == own as u64
    }
}
