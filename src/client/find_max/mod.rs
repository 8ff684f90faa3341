//! Search for the highest rate at which objectives hold, such as `p99<1ms`: runs a client at one rate after the other,
//! until the search knows enough of each.

mod search;
mod statistics;

use super::config::{Expect, MAX_PER_SECOND};
use super::failure::Failure;
use super::{Client, ClientConfig, DueSecond, SIGNALS, WorkerProgress, ends_run};
use crate::error::Error;
use crate::event_loop::SignalWatch;
use crate::results::{MeasuredRate, Objective, ReplyCheck, RunResults, SearchEnd, SliceCounts};
use crate::units::{format_count, format_duration, format_rate, nanos};
use search::{Measurement, Search, SearchPlan, Step};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Length of the slices at the lowest rate, if that is not given.
const FIRST_SLICE_S: f64 = 10.0;

/// Messages over the limit in a slice at the highest rate that holds; see [`search`].
const OVER_PER_SLICE: f64 = 100.0;

/// Duration of the confirmation, if none is given.
const CONFIRMATION: Duration = Duration::from_secs(30);

/// Interval between two looks at the progress of a run.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Limits of the width: at less than 0.5 % noise decides, at more than half the passes would not narrow anything.
const MIN_WIDTH: f64 = 0.005;
const MAX_WIDTH: f64 = 0.5;

/// A search for the highest rate at which all objectives hold.
///
/// Each rate is a run of its own, with its own connections. The search climbs in steps of two, narrows the bounds, and
/// confirms the lower one in a fresh run of the configured duration (default: 30 seconds), whose results it returns. A
/// rate holds if the share of messages that exceed the limit, or are not answered, does not exceed the allowed one with
/// a one-sided confidence of 95 %. Neighbouring seconds are correlated, which widens the error by the lag-1 correction
/// of Bayley and Hammersley (1946). A median that rises while a rate is measured is overload, by the test of Mann (1945)
/// and Kendall (1975). `docs/methodology.md` describes the search, and its results with simulated servers.
///
/// ```no_run
/// use multiconn::client::{ClientConfig, RateSearch};
/// use multiconn::socket::Endpoint;
///
/// let mut config = ClientConfig::to(Endpoint::tcp("127.0.0.1", 65432));
/// config.connections = 64;
/// config.size = Some(64);
/// let search = RateSearch::new(vec!["p99<1ms".parse()?]);
/// let results = search.run(&config, |_| ())?;
/// println!("{:?} messages per second", results.find_max.and_then(|found| found.holds));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RateSearch {
    /// What has to hold.
    pub objectives: Vec<Objective>,
    /// Lowest rate, in messages per second. Default: the rate at which a slice takes ten seconds.
    pub from: Option<f64>,
    /// Highest rate. Default: as high as the client manages.
    pub to: Option<f64>,
    /// Distance between the rate that holds and one that fails, as a share from 0.005 to 0.5. Default: 0.02.
    pub width: f64,
    /// Maximum duration with the confirmation. Default: 5 minutes.
    pub budget: Duration,
}

/// Progress of a search, after a slice or a rate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SearchProgress<'a> {
    /// Time since the start of the search.
    pub elapsed: Duration,
    /// The rate that is being measured, or was, with its slices so far.
    pub measured: &'a MeasuredRate,
    /// Whether its verdict is final.
    pub is_concluded: bool,
    /// Highest rate that holds so far.
    pub holds: Option<f64>,
    /// Lowest rate that does not hold so far.
    pub fails: Option<f64>,
}

impl RateSearch {
    /// A search with the default bounds, width and budget.
    #[must_use]
    pub fn new(objectives: Vec<Objective>) -> Self {
        Self { objectives, from: None, to: None, width: 0.02, budget: Duration::from_secs(300) }
    }

    /// Searches, and returns the results of the confirmation with [`RunResults::find_max`]. If no rate holds, the results
    /// are those of the last run. `config` describes the connections and messages; its rate is that of the search. While
    /// the search runs, `report` is called with its progress.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an impossible configuration; the errors of [`Client::new`] and [`Client::run`].
    pub fn run(&self, config: &ClientConfig, mut report: impl FnMut(&SearchProgress<'_>)) -> Result<RunResults, Error> {
        let plan = self.plan(config)?;
        let signals = config.handle_signals.then(|| SignalWatch::new(SIGNALS)).transpose();
        let mut runner = Runner {
            config: self.base_config(config),
            objectives: &self.objectives,
            plan: plan.clone(),
            signals: signals.map_err(Error::system("handle signals"))?,
            is_interrupted: false,
            began: Instant::now(),
        };
        let (mut search, mut step) = Search::begin(plan);
        let (mut last, mut has_ended) = (None, false);
        while let Step::Measure(measurement) = step {
            let Some((results, ended)) = runner.measure(measurement, &mut search, &mut report)? else { break };
            has_ended = ended.is_by_itself;
            last = Some(results);
            step = ended.step;
        }
        let mut results: RunResults = last.unwrap_or_default();
        let has_failed = has_ended && results.connections.completed == 0;
        if !has_ended && !runner.is_interrupted {
            complete_stopped(&mut results);
        }
        let end = match () {
            () if runner.is_interrupted => Some(SearchEnd::Interrupted),
            () if has_failed && search.bounds().0.is_none() => Some(SearchEnd::Failed),
            () => None,
        };
        let mut found = search.into_results(runner.began.elapsed(), end);
        found.expressions = self.objectives.iter().map(ToString::to_string).collect();
        results.find_max = Some(Box::new(found));
        // Runs are stopped once the search knows enough of them.
        results.interrupted = runner.is_interrupted;
        Ok(results)
    }

    /// The configuration of all runs.
    fn base_config(&self, config: &ClientConfig) -> ClientConfig {
        let limits = self.objectives.iter().map(Objective::limit).collect();
        ClientConfig { limits, handle_signals: false, ..config.clone() }
    }

    /// Checks that the search is possible with `config`, as [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] and [`Error::Descriptors`].
    pub fn check(&self, config: &ClientConfig) -> Result<(), Error> {
        let plan = self.plan(config)?;
        let mut first = self.base_config(config);
        (first.load.rate, first.load.duration) = (Some(plan.from), Some(plan.confirmation));
        Client::new(first).map(drop)
    }

    fn plan(&self, config: &ClientConfig) -> Result<SearchPlan, Error> {
        let refuse = |settings: &'static [&'static str], problem: &str| Err(Error::config(settings, problem));
        if self.objectives.is_empty() {
            return refuse(&["search.objectives"], "a search needs an objective; give one such as p99<1ms");
        }
        if !(MIN_WIDTH..=MAX_WIDTH).contains(&self.width) {
            return refuse(&["search.width"], "a width is a share from 0.5 % to 50 %; give one such as 2%");
        }
        let checks = [config.expect == Expect::ReadOnly, !config.reply_check(&config.requests).has_counts()];
        if checks.contains(&true) || config.reply_check(&config.requests) == ReplyCheck::Unframed {
            let problem =
                "a search needs replies whose ends are known; expect the echo, or replies of a size or a frame";
            return refuse(&["search.objectives", "expect"], problem);
        }
        if config.messages_per_connection.is_some() || config.hold.is_some() {
            let problem = "a search ends its runs itself; leave out the number of messages and the hold";
            return refuse(&["search.objectives", "messages_per_connection", "hold"], problem);
        }
        if config.load.rate.is_some() || config.load.ramp_to.is_some() {
            let problem = "a search sets the rate itself; give bounds such as 10k..200k";
            return refuse(&["search.from", "load.rate"], problem);
        }
        if config.shard.is_some() || config.load.start_at.is_some() || !config.stop_if.is_empty() {
            let problem = "a search sends the whole load, and begins and ends its runs itself; leave out the shard, the \
                           start and the thresholds that end a load";
            return refuse(&["search.objectives", "shard", "load.start_at", "stop_if"], problem);
        }
        self.check_bounds(config)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
    fn check_bounds(&self, config: &ClientConfig) -> Result<SearchPlan, Error> {
        let allowed: Vec<_> = self.objectives.iter().map(Objective::allowed).collect();
        let smallest = allowed.iter().copied().fold(1.0, f64::min);
        let to = self.to.unwrap_or(MAX_PER_SECOND);
        let from = self.from.unwrap_or_else(|| (OVER_PER_SLICE / smallest / FIRST_SLICE_S).min(to));
        if !(from > 0.0 && from <= to && to <= MAX_PER_SECOND) {
            let problem = format!(
                "the bounds of a search rise, up to 100M; {} to {} do not; give such as 10k..200k",
                format_rate(from),
                format_rate(to)
            );
            return Err(Error::config(&["search.from"], problem));
        }
        let limit = self.objectives.iter().map(Objective::limit).max().unwrap_or_default();
        let plan = SearchPlan {
            allowed,
            limit,
            from,
            to,
            width: self.width,
            budget: self.budget,
            warm_up: config.load.warm_up,
            confirmation: config.load.duration.unwrap_or(CONFIRMATION),
        };
        let shortest = plan.min_budget();
        if shortest > self.budget {
            let problem = format!(
                "the shortest search from {} takes {}, more than the budget of {}: a slice has {} messages, with a \
                 limit of {} a rate is held for {} before it is judged, and the confirmation takes {}; give a higher lowest \
                 rate or a larger budget, such as {}",
                format_rate(from),
                format_duration(shortest),
                format_duration(self.budget),
                format_count((OVER_PER_SLICE / smallest).round() as u64),
                format_duration(limit),
                format_duration(plan.settle(1.0)),
                format_duration(plan.confirmation),
                format_duration(Duration::from_secs(
                    shortest.as_secs().saturating_mul(4).div_ceil(60).saturating_mul(60)
                )),
            );
            return Err(Error::config(&["search.budget", "search.from"], problem));
        }
        Ok(plan)
    }
}

/// Counts the connections that were open when the search stopped a run as completed.
fn complete_stopped(results: &mut RunResults) {
    let stopped = results.errors.remove(Failure::Stopped.name().as_ref()).unwrap_or_default();
    results.connections.failed -= stopped.min(results.connections.failed);
    results.connections.completed += stopped;
    results.failed_by_target.clear();
    results.finalize();
}

/// Runs the client for a search.
struct Runner<'a> {
    config: ClientConfig,
    objectives: &'a [Objective],
    plan: SearchPlan,
    signals: Option<SignalWatch>,
    is_interrupted: bool,
    began: Instant,
}

/// How a run ended.
struct RunEnd {
    step: Step,
    /// Nobody stopped it.
    is_by_itself: bool,
}

impl Runner<'_> {
    /// Measures one rate until the search knows enough. Returns nothing if a signal arrives in the pause before it.
    fn measure(
        &mut self,
        measurement: Measurement,
        search: &mut Search,
        report: &mut impl FnMut(&SearchProgress<'_>),
    ) -> Result<Option<(RunResults, RunEnd)>, Error> {
        if !self.pause(measurement.pause) {
            return Ok(None);
        }
        let index = search.rates().len() - 1;
        let client = Client::new(self.config_of(measurement, index))?;
        let (handle, progress) = (client.handle(), client.progress());
        let (done, ended) = channel();
        let (results, end) = std::thread::scope(|scope| {
            let run = std::thread::Builder::new().name("search".to_owned()).spawn_scoped(scope, move || {
                let results = client.run();
                drop(done);
                results
            });
            let run = run.map_err(Error::system("start a thread"))?;
            let end = self.observe(search, &progress, &ended, report);
            handle.stop();
            let results = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok::<_, Error>((results, end))
        })?;
        let measured = &mut search.rates_mut()[index];
        let at = |objective: &Objective| results.histograms.response_time.at(objective.quantile()).map(nanos);
        measured.percentiles_ns = self.objectives.iter().filter_map(at).collect();
        self.report(search, index, true, report);
        Ok(Some((results, end)))
    }

    fn config_of(&self, Measurement { rate, purpose, settle, .. }: Measurement, index: usize) -> ClientConfig {
        let mut config = self.config.clone();
        config.load.rate = Some(rate);
        config.load.warm_up = settle;
        config.load.seed = config.load.seed.wrapping_add(index as u64);
        let is_confirmation = purpose == crate::results::Purpose::Confirm;
        config.load.duration = Some(if is_confirmation { self.plan.confirmation } else { self.plan.budget });
        config
    }

    /// Waits, with nothing outstanding. Returns false if a signal arrives.
    fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while !self.has_signal() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(POLL_INTERVAL));
        }
        false
    }

    /// Whether a signal ends the search.
    fn has_signal(&mut self) -> bool {
        if let Some(signals) = &mut self.signals {
            self.is_interrupted |= signals.received().filter(|signal| ends_run(*signal)).count() > 0;
        }
        self.is_interrupted
    }

    /// Passes the slices of a run to the search until that knows enough, or the run ends. Every sender of `ended` is
    /// dropped then.
    fn observe(
        &mut self,
        search: &mut Search,
        progress: &[Arc<WorkerProgress>],
        ended: &Receiver<()>,
        report: &mut impl FnMut(&SearchProgress<'_>),
    ) -> RunEnd {
        let index = search.rates().len() - 1;
        let mut seconds = Seconds::of(progress);
        loop {
            let is_by_itself = ended.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Disconnected);
            if self.has_signal() {
                return RunEnd { step: Step::Done, is_by_itself: false };
            }
            seconds.collect();
            let mut step = Step::Continue;
            while step == Step::Continue
                && let Some(counts) = seconds.next_slice(search.slice_seconds())
            {
                step = search.observe(self.began.elapsed(), counts);
                if step == Step::Continue {
                    self.report(search, index, false, report);
                }
            }
            if step == Step::Continue {
                let at = self.began.elapsed();
                step = if is_by_itself { search.run_ended(at) } else { search.wait(at) };
            }
            if step != Step::Continue {
                return RunEnd { step, is_by_itself };
            }
        }
    }

    fn report(&self, search: &Search, index: usize, is_concluded: bool, report: &mut impl FnMut(&SearchProgress<'_>)) {
        let (holds, fails) = search.bounds();
        let measured = &search.rates()[index];
        report(&SearchProgress { elapsed: self.began.elapsed(), measured, is_concluded, holds, fails });
    }
}

/// The seconds of all workers of a run, joined to slices.
struct Seconds<'a> {
    workers: Vec<(&'a WorkerProgress, VecDeque<DueSecond>)>,
}

impl<'a> Seconds<'a> {
    fn of(progress: &'a [Arc<WorkerProgress>]) -> Self {
        Self { workers: progress.iter().map(|worker| (&**worker, VecDeque::new())).collect() }
    }

    fn collect(&mut self) {
        for (progress, seconds) in &mut self.workers {
            seconds.extend(progress.take_due_seconds());
        }
    }

    /// The next slice of this length, once every worker has published its seconds.
    fn next_slice(&mut self, length: u64) -> Option<SliceCounts> {
        let count = usize::try_from(length).ok()?;
        if self.workers.iter().any(|(_, seconds)| seconds.len() < count) {
            return None;
        }
        let (mut slice, mut medians) = (SliceCounts { seconds: length, ..SliceCounts::default() }, (0_u128, 0_u128));
        for second in self.workers.iter_mut().flat_map(|(_, seconds)| seconds.drain(..count)) {
            slice.due += second.due;
            slice.missed += second.missed;
            add_each(&mut slice.over, &second.over);
            add_each(&mut slice.over_floor, &second.over_floor);
            if let Some((median, replies)) = second.median {
                medians = (medians.0 + median.as_nanos() * u128::from(replies), medians.1 + u128::from(replies));
            }
        }
        // The workers share one load, so their medians hardly differ.
        slice.median_ns =
            medians.0.checked_div(medians.1).and_then(|mean| u64::try_from(mean).ok()).unwrap_or_default();
        Some(slice)
    }
}

fn add_each(sums: &mut Vec<u64>, counts: &[u64]) {
    sums.resize(counts.len(), 0);
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}
