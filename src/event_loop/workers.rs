//! Worker threads: runs several jobs in parallel and stops all when one fails.

use crate::error::Error;
use crate::panic_guard::guarded;

/// Runs `work` for each of `jobs` and returns the results in order. The first job runs on the calling thread, each
/// other one on its own thread. When one fails or panics, `stop` is called with the error and has to make the others
/// end.
///
/// # Errors
///
/// The first error of `work`, [`Error::Panic`] when it panicked, or [`Error::System`] when a thread cannot be started.
pub fn run_workers<J: Send, T: Send>(
    jobs: Vec<J>,
    work: impl Fn(J) -> Result<T, Error> + Sync,
    stop: impl Fn(&Error) + Sync,
) -> Result<Vec<T>, Error> {
    let work = |job| guarded(|| work(job)).unwrap_or_else(|text| Err(Error::Panic(text))).inspect_err(&stop);
    let mut jobs = jobs.into_iter();
    let Some(first) = jobs.next() else { return Ok(Vec::new()) };
    std::thread::scope(|scope| {
        let start = |(number, job): (usize, J)| {
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            thread.spawn_scoped(scope, move || work(job)).map_err(Error::system("start a worker thread"))
        };
        let threads: Result<Vec<_>, Error> = (1..).zip(jobs).map(start).collect();
        let threads = threads.inspect_err(&stop)?;
        let mut results = vec![work(first)?];
        for worker in threads {
            // A panic of `work` was already turned into an error on that thread.
            results.push(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(results)
    })
}

#[cfg(test)]
mod tests {
    use super::run_workers;
    use crate::error::Error;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Runs three workers of which one fails as given; the others run until they are stopped.
    fn run_with_one_failure(number: usize, fail: fn() -> Result<(), Error>) -> Error {
        let is_stopped = AtomicBool::new(false);
        let work = |job| {
            if job == number {
                return fail();
            }
            while !is_stopped.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Ok(())
        };
        run_workers(vec![0, 1, 2], work, |_| is_stopped.store(true, Ordering::Relaxed)).expect_err("one worker fails")
    }

    #[test]
    fn one_failure_stops_all_workers() {
        for number in 0..3 {
            let error = run_with_one_failure(number, || panic!("out of order"));
            assert!(matches!(&error, Error::Panic(text) if text == "out of order"), "{error}");
            let error = run_with_one_failure(number, || Err(Error::Usage("wrong".to_owned())));
            assert!(matches!(error, Error::Usage(_)), "{error}");
        }
    }
}
