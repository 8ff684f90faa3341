//! Pump observer: timestamps of bytes sent and received, and the log of connection events.

use crate::client::plan::{KernelWrite, Plan};
use crate::event_loop::monotonic_time;
use crate::log_targets::CLIENT_LOG;
use crate::pump::Observer;
use crate::python_repr::BytesRepr;
use crate::service::Host;
use crate::socket::ByteStream;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Logs the bytes of a connection and records when the kernel accepted them.
///
/// Latencies are based on the time read here, after each read and before each write, and on the kernel's receive
/// timestamps.
pub(in crate::client) struct ClientObserver<'a> {
    number: u32,
    plan: &'a Plan,
    /// When the connect succeeded and the TLS handshake began.
    connected: Instant,
    /// Start of this round of the loop.
    round: Instant,
    now: Option<Instant>,
    /// When the kernel received the bytes last read, as time since 1970.
    arrival: Option<Duration>,
}

impl<'a> ClientObserver<'a> {
    pub(in crate::client) fn new(number: u32, plan: &'a Plan, connected: Instant, round: Instant) -> Self {
        Self { number, plan, connected, round, now: None, arrival: None }
    }
}

impl Host for ClientObserver<'_> {}

impl Observer for ClientObserver<'_> {
    #[inline]
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(monotonic_time)
    }

    #[inline(always)]
    fn read<T: ByteStream>(&mut self, socket: &mut T, room: &mut [u8]) -> io::Result<usize> {
        if !self.plan.has_kernel_timestamps {
            return socket.read(room);
        }
        let (count, arrival) = socket.read_with_arrival(room)?;
        self.arrival = arrival;
        Ok(count)
    }

    #[inline(always)]
    fn write<T: ByteStream>(&mut self, socket: &mut T, bytes: &[u8]) -> io::Result<usize> {
        self.now = Some(monotonic_time());
        socket.write(bytes)
    }

    fn handshake_done(&mut self, negotiated: &dyn fmt::Display) {
        self.plan.on_open();
        let now = monotonic_time();
        self.now = Some(now);
        self.plan.metrics.borrow_mut().handshake_done(now - self.connected);
        log::debug!(connection = self.number, tls:% = negotiated; "TLS handshake complete");
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        let now = monotonic_time();
        self.now = Some(now);
        if self.arrival.is_some() {
            self.plan.set_arrival(self.plan.arrival(self.arrival, self.round, self.plan.clock.nanos(now)));
        }
        log::trace!(
            target: CLIENT_LOG, connection = self.number, bytes = bytes.len();
            "Received {} from connection {}", BytesRepr(bytes), self.number
        );
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        let since = self.now();
        let before = self.plan.kernel_write.get();
        let since = before.map_or_else(|| self.plan.clock.nanos(since), |before| before.since);
        let bytes_before = before.map_or(0, |before| before.bytes);
        self.plan.kernel_write.set(Some(KernelWrite { bytes: bytes_before + bytes.len() as u64, since }));
    }
}
