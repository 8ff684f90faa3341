//! Runs the worlds of many seeds, and names the seed that fails.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Seeds without `MULTICONN_SEEDS`.
const DEFAULT_SEEDS: u64 = 5_000;

/// A kind of world.
pub(crate) struct Worlds<T> {
    /// What runs in it: `server` or `client`.
    pub(crate) name: &'static str,
    /// Seeds that failed once.
    pub(crate) found: &'static [u64],
    pub(crate) run: fn(u64) -> T,
    /// Describes the world of a seed.
    pub(crate) describe: fn(u64) -> String,
}

/// Names the seed when its world fails.
struct Failing(u64, &'static str);

impl Drop for Failing {
    #[allow(clippy::print_stderr, reason = "the seed repeats the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, name) = self;
            eprintln!("seed {seed} fails; repeat it with: MULTICONN_SEED={seed} scripts/simulate 1 {name}");
        }
    }
}

impl<T: Debug + PartialEq> Worlds<T> {
    pub(crate) fn run_named(&self, seed: u64) -> T {
        let _failing = Failing(seed, self.name);
        (self.run)(seed)
    }

    /// Runs the seeds of the environment, and calls `add` with what came of each. Returns their number and the time; none
    /// if a single one was asked for, which is shown.
    #[allow(clippy::print_stderr, reason = "the plan of the seed is the result")]
    pub(crate) fn run_all(&self, mut add: impl FnMut(T)) -> Option<(u64, Duration)> {
        if let Some(seed) = variable("MULTICONN_SEED") {
            eprintln!("{}", (self.describe)(seed));
            eprintln!("seed {seed}: {:?}", self.run_named(seed));
            return None;
        }
        let first = variable("MULTICONN_FIRST_SEED").unwrap_or(1);
        let count = variable("MULTICONN_SEEDS").unwrap_or(DEFAULT_SEEDS);
        let start = Instant::now();
        for seed in first..first + count {
            add(self.run_named(seed));
        }
        let took = start.elapsed();
        for seed in self.found {
            self.run_named(*seed);
        }
        Some((count, took))
    }

    /// The same seed gives the same world.
    pub(crate) fn check_repetition(&self) {
        for seed in 1..200 {
            assert_eq!(self.run_named(seed), self.run_named(seed), "seed {seed}");
        }
    }
}

/// Seeds per minute, for the line that a run prints.
pub(crate) fn per_minute((count, took): (u64, Duration)) -> u128 {
    Duration::from_secs(60).as_nanos() * u128::from(count) / took.as_nanos().max(1)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
