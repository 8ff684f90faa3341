//! Splits of a stream: the same bytes in other parts, at other times, and with other buffers give the same answer.

use super::schedule::{Schedule, random_schedule};
use super::simulation::Simulation;
use crate::connection::{CloseReason, Limits};
use std::fmt::Write as _;
use std::time::Duration;

/// Bytes of streams and answers in all splits in two parts together. It bounds the time that a long stream takes.
const SPLIT_BYTES: usize = 4_000_000;

/// Maximum number of splits in two parts, four times that of pseudo-random schedules.
const MAX_RUNS: usize = 2_000;

/// Timers that may expire after the stream has ended. A service that still names instants then never closes.
const MAX_TIMERS: usize = 10_000;

/// What a service did with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    bytes: Vec<u8>,
    closed: Option<CloseReason>,
}

impl Simulation<'_> {
    /// Checks that the answer to `stream` does not depend on how it arrives and how the answer is taken, and returns
    /// the answer.
    ///
    /// A peer sends the stream, then its end, in one part; then, on a new connection each, in every split in two parts,
    /// byte by byte, and in pseudo-random parts with pauses between them. The socket takes parts of the answer only,
    /// is full, or stalls until everything was sent; calls are interrupted, events are spurious; buffers are as
    /// small as the service can work with. Every time the answer and the close reason must be those of the first
    /// time.
    ///
    /// It finds a service that consumes an incomplete message, forgets what it consumed, or handles a message twice
    /// because the output was full. For the last, the stream needs several messages, whose answers together do not fit
    /// the smallest buffers. The timeouts of the limits do not apply. Of a stream with more than 1,000 bytes, or a long
    /// answer, only some of the splits in two parts are tried.
    ///
    /// # Panics
    ///
    /// Panics when an answer differs, and describes the parts, the buffers, both answers, and the
    /// [seed](Self::with_seed) that repeats it.
    #[allow(clippy::must_use_candidate, reason = "the check is of use without the answer")]
    #[track_caller]
    pub fn assert_split_invariant(&self, stream: &[u8]) -> Vec<u8> {
        let limits = Limits { drain_by: None, linger: self.limits.linger, ..Limits::without_timeouts() };
        let limits = Limits { buffer_bytes: self.limits.buffer_bytes, turn_bytes: self.limits.turn_bytes, ..limits };
        let whole = Schedule::whole(stream, limits);
        let expected = self.answer(&whole);
        let sizes = self.buffer_sizes(&whole, &expected);
        let runs = (SPLIT_BYTES / (stream.len() + expected.bytes.len() + 1)).clamp(50, MAX_RUNS);
        let splits = (1..stream.len()).step_by(stream.len().div_ceil(runs).max(1)).map(|offset| whole.split_at(offset));
        splits.for_each(|schedule| self.expect(&schedule, &expected, None));
        for &size in &sizes {
            for schedule in whole.with_buffers(size).extremes() {
                self.expect(&schedule, &expected, None);
            }
        }
        for seed in (self.seed..).take(runs / 4) {
            self.expect(&random_schedule(&whole, &sizes, seed), &expected, Some(seed));
        }
        expected.bytes
    }

    /// Buffer sizes to try: the smallest with which the service works, some larger ones, and the given one.
    fn buffer_sizes(&self, whole: &Schedule<'_>, expected: &Answer) -> Vec<usize> {
        let largest = whole.limits.buffer_bytes;
        let works = |size: &usize| {
            let closed = self.answer(&whole.with_buffers(*size)).closed;
            closed == expected.closed || !closed.is_some_and(is_too_small)
        };
        let mut sizes =
            std::iter::successors(Some(1), |size| Some(size + 1 + size / 16)).take_while(|&size| size < largest);
        let smallest = sizes.find(works).unwrap_or(largest);
        let mut sizes = vec![smallest, smallest + 1, smallest + smallest / 2, smallest * 2, largest];
        sizes.retain(|&size| size <= largest && works(&size));
        sizes.dedup();
        sizes
    }

    #[track_caller]
    fn expect(&self, schedule: &Schedule<'_>, expected: &Answer, seed: Option<u64>) {
        let answer = self.answer(schedule);
        assert!(answer == *expected, "{}", description(schedule, expected, &answer, seed));
    }

    /// Runs `schedule` on a new connection until it closes, or nothing more happens.
    fn answer(&self, schedule: &Schedule<'_>) -> Answer {
        let simulation = self.restarted(schedule.limits.clone());
        let mut peer = simulation.connect();
        peer.with_socket(|socket| schedule.begin(socket));
        for part in &schedule.parts {
            if let Some(pause) = part.pause {
                simulation.advance(pause);
            }
            if part.wakes {
                peer.wake();
            }
            peer.with_socket(|socket| part.inputs().for_each(|input| socket.push(input)));
        }
        simulation.advance(Duration::ZERO);
        peer.with_socket(|socket| schedule.finish(socket));
        let timers = (0..MAX_TIMERS).take_while(|_| peer.closed().is_none() && simulation.advance_to_next_timer());
        timers.for_each(drop);
        Answer { bytes: peer.receive(), closed: peer.closed() }
    }
}

/// Whether a connection closes for this reason because a message or an answer does not fit its buffers.
fn is_too_small(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::FrameTooLarge | CloseReason::ReplyTooLarge | CloseReason::NoProgress)
}

/// Describes a difference between two answers.
fn description(schedule: &Schedule<'_>, expected: &Answer, answer: &Answer, seed: Option<u64>) -> String {
    let closed = |answer: &Answer| answer.closed.map_or_else(|| "still open".to_owned(), |reason| reason.to_string());
    let common = expected.bytes.iter().zip(&answer.bytes).take_while(|(one, other)| one == other).count();
    let around = |bytes: &[u8]| {
        let from = common.saturating_sub(20);
        let to = bytes.len().min(common + 40);
        let [before, after] = [from > 0, to < bytes.len()].map(|is_cut| if is_cut { "…" } else { "" });
        format!("{before}\"{}\"{after}", bytes[from..to].escape_ascii())
    };
    let mut text = format!("the answer depends on the split of the stream\n{schedule}");
    for (name, answer) in [("expected:", expected), ("actual:", answer)] {
        let (bytes, closed) = (answer.bytes.len(), closed(answer));
        let _ = write!(text, "\n  {name:<9} {bytes} bytes, {closed}: {}", around(&answer.bytes));
    }
    let _ = write!(text, "\n  the answers differ from byte {common} on");
    if let Some(seed) = seed {
        let _ = write!(text, "; repeat this first with `.with_seed({seed})`");
    }
    text
}
