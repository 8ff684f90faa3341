//! Seconds of a run while it lasts: a thread joins what the workers counted in each, and hands it to the consumers.
//!
//! A worker hands over its counts by exchanging them for empty ones: it neither copies nor packs a histogram. Everything
//! is handed over exactly once, so the sum over all seconds and the rest is the result of the run.

use crate::error::Error;
use crate::results::RunResults;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a second waits for workers that are late. Their counts then go with a later second.
const GRACE: Duration = Duration::from_secs(1);

/// One second of a run while it lasts: the sum of all workers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// Counts, errors and histograms of this second alone; [`measured_s`](RunResults::measured_s) is its length. It has
    /// no configuration, intervals and verdict.
    pub results: RunResults,
    /// Number of the second in the measured time: the first one is 1. 0 stands for the time before: opening connections
    /// and warming up.
    pub second: u64,
    /// Start, in seconds since the start of the measured time.
    pub start_s: f64,
    /// Connections open at its end.
    pub open: u64,
    /// Part of the run.
    pub phase: SnapshotPhase,
}

impl Snapshot {
    /// A second that ends the measured time of `results`, without open connections.
    pub(crate) fn of(results: RunResults, second: u64, phase: SnapshotPhase) -> Self {
        let start_s = (seconds(second) - results.measured_s).max(0.0);
        Self { results, second, start_s, open: 0, phase }
    }
}

/// Part of a run that a [`Snapshot`] belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotPhase {
    /// Before the measured time. Messages are not measured.
    BeforeLoad,
    /// The load lasts.
    Load,
    /// The load is over, while replies are awaited or connections are held.
    AfterLoad,
    /// The run is over. The snapshot has everything since the last whole second.
    End,
}

/// Receives each second of a run. It runs on a thread of its own and must not block.
pub(super) type Consumer = Box<dyn FnMut(&Snapshot) + Send>;

/// What one worker hands over.
struct Piece {
    worker: usize,
    second: u64,
    open: u64,
    is_after_load: bool,
    counts: Box<RunResults>,
}

/// Empty counts, which a worker exchanges for its own.
type Spare = Arc<Mutex<Option<Box<RunResults>>>>;

/// The end of a worker: hands over its counts once per second.
#[derive(Debug)]
pub(super) struct Publisher {
    worker: usize,
    spare: Spare,
    pieces: Sender<Piece>,
}

impl Publisher {
    /// Empty counts to exchange for those of the worker. None until the counts handed over last were joined: then the
    /// counts go with a later second, so that no more than one second of each worker is ever waiting.
    pub(super) fn take_spare(&self) -> Option<Box<RunResults>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands over the counts up to the end of `second`, when `open` connections were open.
    pub(super) fn publish(&self, second: u64, open: u64, is_after_load: bool, counts: Box<RunResults>) {
        // Without the thread that joins them the run has failed already.
        let _ = self.pieces.send(Piece { worker: self.worker, second, open, is_after_load, counts });
    }
}

/// The thread that joins the seconds of all workers.
pub(super) struct Seconds(JoinHandle<Joining>);

impl Seconds {
    /// Starts the thread for `workers` workers. `description` are the results without counts.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the thread cannot be started.
    pub(super) fn start(
        workers: usize,
        description: RunResults,
        consumers: Vec<Consumer>,
    ) -> Result<(Self, Vec<Publisher>), Error> {
        let (sender, pieces) = channel();
        let spares: Vec<Spare> = (0..workers).map(|_| Arc::new(Mutex::new(Some(Box::default())))).collect();
        let publisher =
            |(worker, spare): (usize, &Spare)| Publisher { worker, spare: Arc::clone(spare), pieces: sender.clone() };
        let publishers = spares.iter().enumerate().map(publisher).collect();
        let joining = Joining {
            total: description.clone(),
            description,
            consumers,
            spares,
            pending: BTreeMap::new(),
            reached: vec![None; workers],
            open: vec![0; workers],
            last: None,
        };
        let thread = std::thread::Builder::new().name("seconds".to_owned()).spawn(move || joining.run(&pieces));
        Ok((Self(thread.map_err(Error::system("start the thread that joins seconds"))?), publishers))
    }

    /// Adds everything that was handed over to `results`, which hold the rest; that is handed to the consumers first.
    /// The publishers no longer exist.
    pub(super) fn finish(self, results: &mut RunResults) {
        let joining = self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        joining.finish(results);
    }
}

/// A second that some workers have handed over.
struct Pending {
    results: RunResults,
    /// When the first worker reached its end.
    since: Option<Instant>,
    is_after_load: bool,
}

struct Joining {
    description: RunResults,
    consumers: Vec<Consumer>,
    spares: Vec<Spare>,
    pending: BTreeMap<u64, Pending>,
    /// The last second that each worker handed over, and the number of connections that were open.
    reached: Vec<Option<u64>>,
    open: Vec<u64>,
    /// The last second that was handed to the consumers.
    last: Option<u64>,
    total: RunResults,
}

impl Joining {
    fn run(mut self, pieces: &Receiver<Piece>) -> Self {
        loop {
            let received = match self.deadline() {
                Some(deadline) => pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())),
                None => pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(piece) => self.add(piece),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while self.is_first_complete() {
                self.hand_out_first();
            }
        }
        while self.deadline().is_some() {
            self.hand_out_first();
        }
        self
    }

    /// When the first pending second no longer waits for late workers.
    fn deadline(&self) -> Option<Instant> {
        self.pending.first_key_value().and_then(|(_, pending)| Some(pending.since? + GRACE))
    }

    fn is_first_complete(&self) -> bool {
        let Some((second, Pending { since: Some(since), .. })) = self.pending.first_key_value() else { return false };
        // A worker without an open connection may never begin to measure.
        let has_reached = |reached: &Option<u64>| reached.map_or(*second > 0, |reached| reached >= *second);
        self.reached.iter().all(has_reached) || since.elapsed() >= GRACE
    }

    fn add(&mut self, mut piece: Piece) {
        let next = self.last.map_or(0, |last| last + 1);
        let pending = self.pending.entry(piece.second.max(next)).or_insert_with(|| Pending {
            results: self.description.clone(),
            since: None,
            is_after_load: true,
        });
        pending.results.add_counts(&piece.counts);
        if piece.second >= next {
            pending.since.get_or_insert_with(Instant::now);
            pending.is_after_load &= piece.is_after_load;
        }
        self.reached[piece.worker] = Some(piece.second);
        self.open[piece.worker] = piece.open;
        *piece.counts = RunResults::default();
        *self.spares[piece.worker].lock().unwrap_or_else(PoisonError::into_inner) = Some(piece.counts);
    }

    fn hand_out_first(&mut self) {
        let Some((second, pending)) = self.pending.pop_first() else { return };
        let phase = match second {
            0 => SnapshotPhase::BeforeLoad,
            _ if pending.is_after_load => SnapshotPhase::AfterLoad,
            _ => SnapshotPhase::Load,
        };
        let open = self.open.iter().sum();
        let start = self.last.unwrap_or_default();
        let results = RunResults { measured_s: seconds(second - start), ..pending.results };
        let snapshot = Snapshot { open, ..Snapshot::of(results, second, phase) };
        self.hand_out(&snapshot);
        self.total.add_counts(&snapshot.results);
        self.last = Some(second);
    }

    fn hand_out(&mut self, snapshot: &Snapshot) {
        self.consumers.iter_mut().for_each(|consumer| consumer(snapshot));
    }

    fn finish(mut self, results: &mut RunResults) {
        for late in std::mem::take(&mut self.pending).into_values() {
            results.add_counts(&late.results);
        }
        let (measured_s, cpu, last) = (results.measured_s, results.cpu, self.last.unwrap_or_default());
        let (intervals, after_load) = (std::mem::take(&mut results.intervals), results.after_load.take());
        results.measured_s = (measured_s - seconds(last)).max(0.0);
        let rest = std::mem::take(results);
        let mut snapshot = Snapshot { start_s: seconds(last), ..Snapshot::of(rest, last + 1, SnapshotPhase::End) };
        self.hand_out(&snapshot);
        snapshot.results.add_counts(&self.total);
        *results = RunResults { measured_s, cpu, intervals, after_load, ..snapshot.results };
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds of a run")]
fn seconds(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{GRACE, Publisher, Seconds, Snapshot, SnapshotPhase};
    use crate::results::RunResults;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    fn start(workers: usize) -> (Seconds, Vec<Publisher>, Receiver<Snapshot>) {
        let (sender, snapshots) = channel();
        let consumer = Box::new(move |snapshot: &Snapshot| sender.send(snapshot.clone()).expect("the test receives"));
        let (seconds, publishers) = Seconds::start(workers, RunResults::of("x"), vec![consumer]).expect("a thread");
        (seconds, publishers, snapshots)
    }

    /// Hands over `answered` messages once the counts before were joined.
    fn publish(publisher: &Publisher, second: u64, answered: u64) {
        let mut counts = loop {
            if let Some(counts) = publisher.take_spare() {
                break counts;
            }
            std::thread::yield_now();
        };
        assert_eq!(*counts, RunResults::default());
        counts.messages.answered = answered;
        counts.histograms.service_time.record_many_nanos(second + 1, answered);
        publisher.publish(second, 5, false, counts);
    }

    #[test]
    fn a_second_is_handed_out_when_all_workers_have_reached_it() {
        let (seconds, publishers, snapshots) = start(2);
        publish(&publishers[0], 0, 1);
        publish(&publishers[1], 0, 2);
        publish(&publishers[1], 1, 20);
        publish(&publishers[0], 1, 10);
        for (second, answered, phase) in [(0, 3, SnapshotPhase::BeforeLoad), (1, 30, SnapshotPhase::Load)] {
            let snapshot = snapshots.recv().expect("a second");
            assert_eq!((snapshot.second, snapshot.phase, snapshot.open), (second, phase, 10));
            assert_eq!(snapshot.results.messages.answered, answered);
            assert_eq!(snapshot.results.histograms.service_time.count(), answered);
        }
        drop(publishers);
        let mut results = RunResults::of("x");
        (results.messages.answered, results.measured_s) = (7, 1.5);
        seconds.finish(&mut results);
        assert_eq!((results.messages.answered, results.measured_s), (40, 1.5));
        assert_eq!(results.histograms.service_time.count(), 33);
        let end = snapshots.recv().expect("the rest");
        assert_eq!((end.phase, end.second, end.results.messages.answered), (SnapshotPhase::End, 2, 7));
        assert!((end.results.measured_s - 0.5).abs() < 1e-9 && snapshots.recv().is_err());
    }

    #[test]
    fn counts_of_a_late_worker_go_with_a_later_second() {
        let (seconds, publishers, snapshots) = start(2);
        publish(&publishers[0], 0, 1);
        let first = snapshots.recv_timeout(GRACE * 100).expect("it does not wait for ever");
        assert_eq!((first.second, first.results.messages.answered), (0, 1));
        publish(&publishers[1], 0, 10);
        assert!(snapshots.recv_timeout(GRACE + Duration::from_millis(50)).is_err(), "no second before its end");
        publish(&publishers[0], 1, 2);
        publish(&publishers[1], 4, 20);
        let second = snapshots.recv_timeout(GRACE * 100).expect("the next one");
        assert_eq!((second.second, second.results.messages.answered), (1, 12));
        drop(publishers);
        let last = snapshots.recv().expect("the last one");
        assert_eq!((last.second, last.results.messages.answered), (4, 20));
        assert!((last.start_s - 1.0).abs() < 1e-9 && (last.results.measured_s - 3.0).abs() < 1e-9);
        let mut results = RunResults::of("x");
        seconds.finish(&mut results);
        assert_eq!(results.messages.answered, 33);
    }

    /// The counts stay with the worker until those before were joined.
    #[test]
    fn a_worker_has_one_spare() {
        let (_seconds, publishers, _snapshots) = start(1);
        assert!(publishers[0].take_spare().is_some());
        assert!(publishers[0].take_spare().is_none());
    }
}
