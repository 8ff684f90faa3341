//! Fuzzers: each target is a function of bytes that panics when a property does not hold.
//!
//! They are part of the library's unit tests, because most of what they test is not public. `cargo test` replays the
//! inputs in `corpus/TARGET`, then mutates them for 0.4 s. `scripts/fuzz` runs the same functions under libFuzzer,
//! which is guided by coverage. `dictionaries/TARGET` holds tokens for both, in the format of libFuzzer.
//!
//! An input that takes too long or too much memory fails as well, as does one that does not end.

#![allow(clippy::print_stdout, reason = "the seeds are printed")]

mod codec;
mod escapes;
mod http;
mod http_admin;
mod message;
#[cfg(not(fuzzing))]
mod mutation;
mod proxy_protocol;
mod results;
mod threshold;
mod tls;
mod units;

use rustix::time::{ClockId, clock_gettime};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// After so long without another input, the current one is taken for one that does not end.
const HANG_TIME: Duration = Duration::from_secs(60);

/// How much time of the CPU one input may take. An input is repeated before more is a failure, because the machine may
/// be busy. All outputs of a whole result file take 0.3 s with the instrumentation of libFuzzer.
const INPUT_TIME: Duration = Duration::from_millis(if cfg!(fuzzing) { 1000 } else { 2000 });

const MAX_INPUT_BYTES: usize = 64 * 1024;

/// How often an input is repeated that takes too long.
const ATTEMPTS: usize = 3;

/// Memory that an input of so many bytes may take at a time: `fixed + per_byte * bytes`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) fixed: usize,
    pub(crate) per_byte: usize,
}

/// A function of bytes, and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The name of the test, and of the files.
    pub(crate) name: &'static str,
    pub(crate) memory: Memory,
    pub(crate) check: fn(&[u8]),
}

impl Target {
    /// Runs the function on inputs until one fails, or the time is over. They run in a thread of their own, so that one that
    /// does not end fails the test.
    pub(crate) fn fuzz(self) {
        let current = Arc::new(Current::default());
        let (running, end) = mpsc::channel::<()>();
        let shared = Arc::clone(&current);
        let thread = std::thread::spawn(move || {
            let _running = running;
            // What is made once per process is not the memory of an input.
            let _ = catch_unwind(|| (self.check)(b""));
            self.run_inputs(&shared);
        });
        let mut before = 0;
        while end.recv_timeout(HANG_TIME) == Err(mpsc::RecvTimeoutError::Timeout) {
            let input = current.lock();
            assert_ne!(input.number, before, "{} does not end on {input}", self.name);
            before = input.number;
        }
        assert!(thread.join().is_ok(), "{} fails on {}", self.name, current.lock());
    }

    #[cfg(fuzzing)]
    fn run_inputs(self, current: &Current) {
        bolero::check!(name = self.name).with_max_len(MAX_INPUT_BYTES).for_each(|input: &[u8]| {
            current.set(String::new, input);
            self.run(input);
        });
    }

    #[cfg(not(fuzzing))]
    fn run_inputs(self, current: &Current) {
        mutation::run(self, current);
    }

    /// Runs the function on one input.
    ///
    /// # Panics
    ///
    /// When the function does, or takes too much time or memory.
    fn run(self, input: &[u8]) {
        let limit = self.memory.fixed + self.memory.per_byte * input.len();
        for attempt in 1.. {
            let start = cpu_time();
            let mut outcome = Ok(());
            let used = allocation_counter::measure(|| {
                outcome = catch_unwind(AssertUnwindSafe(|| (self.check)(input)));
            });
            outcome.unwrap_or_else(|panic| resume_unwind(panic));
            let used = used.bytes_max;
            assert!(used <= limit as u64, "{used} bytes of memory for {} bytes of input", input.len());
            let time = cpu_time().saturating_sub(start);
            if time <= INPUT_TIME {
                return;
            }
            assert!(attempt < ATTEMPTS, "{time:?} for {} bytes of input", input.len());
        }
    }
}

/// The input that runs now, for the message about a failure.
#[derive(Default)]
struct Current(Mutex<Input>);

#[derive(Default)]
struct Input {
    number: u64,
    /// Where it comes from; empty for one of libFuzzer.
    origin: String,
    bytes: Vec<u8>,
}

impl Current {
    fn lock(&self) -> MutexGuard<'_, Input> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, origin: impl FnOnce() -> String, bytes: &[u8]) {
        let mut input = self.lock();
        *input = Input { number: input.number + 1, origin: origin(), bytes: bytes.to_vec() };
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "b\"{}\" ({})", self.bytes.escape_ascii(), self.origin)
    }
}

/// Time of the CPU that this thread has taken.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// A source of decisions: the bytes at the start of an input.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    /// The next byte; 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next number below `count`, which is at most 256.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// The next number of two bytes.
    pub(crate) fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }
}
