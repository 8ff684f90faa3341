//! Misbehaving services: every connection limit applies to them, and they delay no other connection.

use super::support::{await_until, connect};
use super::{Running, Upper, expect_upper};
use multiconn::connection::{CloseReason, Limits};
use multiconn::server::ServerConfig;
use multiconn::service::{Context, Input, Output, Service, Wait};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The limit under test. The others are far longer.
const SOON: Duration = Duration::from_millis(300);

/// Creates a wait, relative to now.
type MakeWait = fn(Instant) -> Wait;

/// Past instants, in every form.
const PAST: [(&str, MakeWait); 5] = [
    ("Until(now)", Wait::Deadline),
    ("Until(past)", |now| Wait::Deadline(now.checked_sub(SOON).unwrap())),
    ("At(now)", Wait::PreciseDeadline),
    ("At(past)", |now| Wait::PreciseDeadline(now.checked_sub(SOON).unwrap())),
    // A different one in each call.
    ("At(before now)", |now| Wait::PreciseDeadline(now.checked_sub(now.elapsed()).unwrap())),
];

/// Echoes, waits for a past instant, and is never done.
struct PastDeadline {
    wait: MakeWait,
    calls: Arc<AtomicU64>,
}

impl Service for PastDeadline {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        self.calls.fetch_add(1, Ordering::Relaxed);
        let count = output.write(input.bytes());
        input.consume(count);
        (self.wait)(now)
    }

    fn is_busy(&self) -> bool {
        true
    }
}

/// Serves one connection with each kind of [`PastDeadline`], which a limit ends for this `reason`.
#[track_caller]
fn ends_by(configure: fn(&mut ServerConfig), reason: CloseReason) {
    for (name, wait) in PAST {
        let calls = Arc::new(AtomicU64::new(0));
        let change = |config: &mut ServerConfig| {
            config.workers = 1;
            config.limits = Limits::without_timeouts();
            configure(config);
        };
        let counted = Arc::clone(&calls);
        let server = Running::start_with(change, move |_| PastDeadline { wait, calls: Arc::clone(&counted) });
        let since = Instant::now();
        let mut peer = connect(server.address);
        if reason != CloseReason::FirstByteTimeout {
            // On a busy machine the limit may come first.
            let _ = peer.write_all(b"served").and_then(|()| peer.read_exact(&mut [0; 6]));
        }
        if reason == CloseReason::DrainCut {
            await_until("further calls", || calls.load(Ordering::Relaxed) >= 10);
            server.handle.drain();
        }
        // It closes in order or by a reset, depending on the limit.
        let _ = peer.read_to_end(&mut Vec::new());
        let (made, ticks) = (calls.load(Ordering::Relaxed), u64::try_from(since.elapsed().as_millis()).unwrap());
        assert!(made <= ticks + 10, "{name}: {made} calls in {ticks} ms");
        drop(peer);
        let summary = server.drain();
        assert_eq!(summary.closed, [(reason, 1)].into(), "{name}");
    }
}

#[test]
fn a_service_that_waits_for_the_past_is_subject_to_the_idle_timeout() {
    ends_by(|config| config.limits.idle = Some(SOON), CloseReason::Idle);
}

#[test]
fn a_service_that_waits_for_the_past_is_subject_to_the_lifetime() {
    ends_by(|config| config.limits.lifetime = Some(SOON), CloseReason::Lifetime);
}

#[test]
fn a_service_that_waits_for_the_past_is_subject_to_the_first_byte_timeout() {
    ends_by(|config| config.limits.first_byte = Some(SOON), CloseReason::FirstByteTimeout);
}

#[test]
fn a_service_that_waits_for_the_past_is_subject_to_the_drain_timeout() {
    ends_by(|config| config.drain_timeout = SOON, CloseReason::DrainCut);
}

/// Wakes itself in every call, which is a call in every loop iteration.
struct SelfWaking {
    waker: multiconn::service::Handle,
}

impl Service for SelfWaking {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        input.clear();
        self.waker.wake();
        Wait::Either
    }
}

#[test]
fn a_service_that_wakes_itself_is_subject_to_the_idle_timeout() {
    let change = |config: &mut ServerConfig| {
        config.workers = 1;
        config.limits = Limits::without_timeouts();
        config.limits.idle = Some(10 * SOON);
    };
    let server = Running::start_with(change, |opened| -> Box<dyn Service> {
        if opened.id() == 1 { Box::new(SelfWaking { waker: opened.handle() }) } else { Box::new(Upper) }
    });
    let mut restless = connect(server.address);
    expect_upper(&mut connect(server.address), b"the other connection");
    let _ = restless.read_to_end(&mut Vec::new());
    drop(restless);
    let summary = server.drain();
    assert_eq!(summary.closed[&CloseReason::Idle], 1);
}

/// Claims to hold all memory from the first input on, which it leaves in its buffer.
#[derive(Default)]
struct ClaimsAllMemory {
    has_input: bool,
}

impl Service for ClaimsAllMemory {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        self.has_input = !input.is_empty();
        Wait::Input
    }

    fn held_bytes(&self) -> usize {
        if self.has_input { usize::MAX } else { 0 }
    }
}

/// The sum of a service's claim and the buffers must not overflow.
#[test]
fn a_service_that_claims_all_memory_reaches_the_limit() {
    let server = Running::start_with(|_| {}, |_| ClaimsAllMemory::default());
    let mut peer = connect(server.address);
    peer.write_all(b"input").unwrap();
    let _ = peer.read_to_end(&mut Vec::new());
    assert_eq!(server.drain().closed, [(CloseReason::MemoryLimit, 1)].into());
}
