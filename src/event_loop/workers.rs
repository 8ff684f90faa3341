//! Several workers, each on a thread of its own.

use crate::error::Error;

/// Runs `work` for each of `jobs`, the first on the calling thread and each other one on a thread of its own, and returns
/// what they gave, in order. When one fails, `stop` has to make the others end.
///
/// # Errors
///
/// The first error of `work`, or [`Error::System`] when a thread cannot be started.
///
/// # Panics
///
/// When `work` panicked.
pub fn run_workers<J: Send, T: Send>(
    jobs: Vec<J>,
    work: impl Fn(J) -> Result<T, Error> + Sync,
    stop: impl Fn() + Sync,
) -> Result<Vec<T>, Error> {
    let work = |job| work(job).inspect_err(|_| stop());
    let mut jobs = jobs.into_iter();
    let Some(first) = jobs.next() else { return Ok(Vec::new()) };
    std::thread::scope(|scope| {
        let start = |(number, job): (usize, J)| {
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            thread.spawn_scoped(scope, move || work(job)).map_err(Error::system("start a worker thread"))
        };
        let others: Result<Vec<_>, Error> = (1..).zip(jobs).map(start).collect();
        let others = others.inspect_err(|_| stop())?;
        let mut results = vec![work(first)?];
        for worker in others {
            results.push(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(results)
    })
}
