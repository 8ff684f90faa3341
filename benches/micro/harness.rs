//! Time of an operation: the median of many samples, each of enough operations to be longer than the clock is coarse.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Length of a sample. Short enough that most samples are not interrupted.
const SAMPLE: Duration = Duration::from_micros(100);
const SAMPLES: usize = 501;

/// Runs benchmarks and prints a line for each: its name and the nanoseconds of one operation.
pub(crate) struct Harness {
    /// Only benchmarks whose name contains this text run.
    filter: String,
    /// Each operation runs a few times only, to show that it works.
    quick: bool,
    /// A benchmark has run.
    has_run: Cell<bool>,
}

impl Harness {
    pub(crate) fn new(filter: String, quick: bool) -> Self {
        Self { filter, quick, has_run: Cell::new(false) }
    }

    /// Whether any benchmark was selected.
    pub(crate) fn has_run(&self) -> bool {
        self.has_run.get()
    }

    /// Measures `operation` under this name, if it is selected.
    pub(crate) fn bench<T>(&self, name: &str, mut operation: impl FnMut() -> T) {
        if !name.contains(&self.filter) {
            return;
        }
        self.has_run.set(true);
        let operations = self.operations_per_sample(&mut operation);
        let count = if self.quick { 1 } else { SAMPLES };
        let mut samples: Vec<f64> = (0..count).map(|_| time(operations, &mut operation)).collect();
        samples.sort_by(f64::total_cmp);
        println!("{name:<36} {:>10.1} ns", samples[count / 2]);
    }

    /// As [`bench`](Self::bench), for each size. `setup` returns the operation.
    pub(crate) fn bench_each<T, O: FnMut() -> T>(&self, name: &str, sizes: &[usize], setup: impl Fn(usize) -> O) {
        for &size in sizes {
            let name = format!("{name}/{size}");
            if name.contains(&self.filter) {
                self.bench(&name, setup(size));
            }
        }
    }

    fn operations_per_sample<T>(&self, operation: &mut impl FnMut() -> T) -> u32 {
        let mut operations = 1;
        while !self.quick && time(operations, operation) * f64::from(operations) < SAMPLE.as_secs_f64() * 1e9 {
            operations *= 2;
        }
        operations
    }
}

/// Nanoseconds of one of `operations`.
fn time<T>(operations: u32, operation: &mut impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..operations {
        black_box(operation());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(operations)
}
