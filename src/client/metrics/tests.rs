//! Tests of what is counted when, and where the measured time ends.

use super::{DebtTracker, NANOS_PER_SECOND, Unanswered, WorkerMetrics};
use crate::client::tcp::in_flight::{Arrival, MessageTimes, SendRecorder, SentGroup};
use crate::results::RunResults;
use std::sync::Arc;

const MS: u64 = 1_000_000;

fn metrics(is_open_loop: bool) -> WorkerMetrics {
    WorkerMetrics::new(Arc::default(), is_open_loop, 0)
}

/// A reply that was read as soon as it arrived.
fn at_once(read: u64) -> Arrival {
    Arrival { arrived: read, read, is_stamped: true }
}

fn answer(metrics: &mut WorkerMetrics, times: MessageTimes, arrival: Arrival) {
    let reply = metrics.replied(times, arrival, true);
    metrics.answered(reply);
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[test]
fn the_delays_of_the_client_are_not_part_of_the_response_time() {
    let mut metrics = metrics(true);
    metrics.has_kernel_timestamps = true;
    metrics.sent(SentGroup { due: 10 * MS, blocked: 2 * MS, sent: 15 * MS, count: 1 });
    let times = MessageTimes { due: 10 * MS, assigned: 10 * MS, blocked: 2 * MS, sent: Some(15 * MS), batch: None };
    answer(&mut metrics, times, Arrival { arrived: 21 * MS, read: 25 * MS, is_stamped: true });
    metrics.close(30 * MS, false);
    let measured = metrics.into_results(&[]);
    let millis = |latencies: &crate::results::Latencies| latencies.max().map(|time| time.as_millis());
    let times = &measured.histograms;
    assert_eq!((millis(&times.blocked), millis(&times.service_time)), (Some(2), Some(6)));
    assert_eq!(millis(&times.response_time), Some(8), "blocked and service time");
    assert_eq!((millis(&times.send_delay), millis(&times.receive_delay)), (Some(3), Some(4)));
    assert_eq!(millis(&times.client_delay), Some(7), "both delays");
    assert_eq!(millis(&times.ceiling), Some(15), "from due to read");
    assert_eq!((measured.messages.sent, measured.messages.answered), (1, 1));
}

/// A message that is sent late, and one that is sent right behind it. The second one may have waited for the first.
#[test]
fn the_floor_is_without_what_the_lateness_of_the_client_may_have_added() {
    let mut metrics = WorkerMetrics { debts: Some(DebtTracker::default()), ..metrics(true) };
    let mut send = |due, sent| {
        let batch = metrics.begin_group(SentGroup { due, blocked: 0, sent, count: 1 }, false);
        MessageTimes { due, assigned: due, blocked: 0, sent: Some(sent), batch }
    };
    let [late, punctual] = [send(10 * MS, 14 * MS), send(15 * MS, 15 * MS)];
    metrics.begin_turn();
    answer(&mut metrics, late, at_once(20 * MS));
    answer(&mut metrics, punctual, at_once(21 * MS));
    metrics.close(30 * MS, false);
    let times = metrics.into_results(&[]).histograms;
    let millis = |latencies: &crate::results::Latencies| {
        [0.5, 1.0].map(|at| latencies.at(at).map(|time| time.as_secs_f64() * 1e3).map(f64::round))
    };
    assert_eq!(millis(&times.response_time), [Some(6.0), Some(6.0)]);
    assert_eq!(millis(&times.floor), [Some(2.0), Some(6.0)], "21 - 15 - 4, and 20 - 10 - 4");
}

/// The longest floor, in milliseconds, of a message that was sent on time behind one that was late. `first` counts the reply
/// to the late one.
fn floor_behind(first: impl FnOnce(&mut WorkerMetrics, MessageTimes), is_last: bool) -> Option<f64> {
    let mut metrics = WorkerMetrics { debts: Some(DebtTracker::default()), ..metrics(true) };
    let mut send = |due, sent| {
        let batch = metrics.begin_group(SentGroup { due, blocked: 0, sent, count: 1 }, false);
        MessageTimes { due, assigned: due, blocked: 0, sent: Some(sent), batch }
    };
    let [late, punctual] = [send(10 * MS, 14 * MS), send(15 * MS, 15 * MS)];
    first(&mut metrics, late);
    let reply = metrics.replied(punctual, at_once(21 * MS), is_last);
    metrics.answered(reply);
    metrics.close(30 * MS, false);
    metrics.into_results(&[]).histograms.floor.max().map(|time| (time.as_secs_f64() * 1e3).round())
}

#[test]
fn a_wrong_reply_keeps_its_debt() {
    let wrong = |metrics: &mut WorkerMetrics, times| {
        let reply = metrics.replied(times, at_once(20 * MS), true);
        metrics.wrong_status(reply, "503");
    };
    assert_eq!(floor_behind(wrong, true), Some(2.0), "21 - 15 - 4");
    assert_eq!(floor_behind(|_, _| {}, true), Some(2.0), "the late message is still in flight");
}

/// The timestamp of a read is that of the last segment: an earlier reply may have arrived right after its message was sent.
#[test]
fn the_floor_of_a_reply_that_others_follow_does_not_use_its_timestamp() {
    assert_eq!(floor_behind(|_, _| {}, false), Some(0.0));
}

#[test]
fn messages_due_in_the_warm_up_are_not_measured() {
    let mut metrics = metrics(true);
    metrics.sent(SentGroup { due: 1, blocked: 0, sent: 2, count: 1 });
    metrics.begin(NANOS_PER_SECOND);
    answer(
        &mut metrics,
        MessageTimes { due: 1, assigned: 1, blocked: 0, sent: Some(2), batch: None },
        at_once(NANOS_PER_SECOND + 5),
    );
    metrics.unanswered(
        MessageTimes { due: 999, assigned: 999, blocked: 0, sent: None, batch: None },
        NANOS_PER_SECOND,
        3,
        Unanswered::Pending,
    );
    metrics.close(NANOS_PER_SECOND * 2, false);
    let measured = metrics.into_results(&[]);
    assert_eq!((measured.messages.sent, measured.messages.answered, measured.messages.pending), (0, 0, 0));
    assert!(
        measured.histograms.response_time.is_empty()
            && measured.histograms.send_delay.is_empty()
            && measured.histograms.unanswered_age.is_empty()
    );
}

/// The end of the load came before a late client assigned this message. It is unsent if its connection is lost meanwhile, and
/// not if the run ends.
#[test]
fn a_message_that_was_assigned_late_and_lost_is_unsent() {
    for (why, unsent) in
        [(Unanswered::TimedOut, 1), (Unanswered::Lost, 1), (Unanswered::Wrong, 1), (Unanswered::Pending, 0)]
    {
        let mut metrics = metrics(true);
        metrics.begin(1);
        metrics.end(100, 200);
        metrics.unanswered(MessageTimes { due: 99, assigned: 200, blocked: 0, sent: None, batch: None }, 300, 1, why);
        metrics.close(400, false);
        assert_eq!(metrics.into_results(&[]).messages.unsent, unsent, "{why:?}");
    }
}

#[test]
fn messages_due_after_the_warm_up_are_measured_even_if_its_end_is_noticed_late() {
    let mut metrics = metrics(true);
    metrics.begin(NANOS_PER_SECOND);
    metrics.end_round(MS, 0, 1);
    for due in [NANOS_PER_SECOND - 1, NANOS_PER_SECOND] {
        metrics.count_due(due);
        metrics.sent(SentGroup { due, blocked: 0, sent: NANOS_PER_SECOND + MS, count: 1 });
    }
    metrics.end_warm_up();
    let (due, sent) = (NANOS_PER_SECOND, Some(NANOS_PER_SECOND + MS));
    answer(
        &mut metrics,
        MessageTimes { due, assigned: due, blocked: 0, sent, batch: None },
        at_once(NANOS_PER_SECOND + 2 * MS),
    );
    metrics.close(NANOS_PER_SECOND * 2, false);
    let measured = metrics.into_results(&[]);
    assert_eq!((measured.messages.due, measured.messages.sent, measured.messages.answered), (Some(1), 1, 1));
    assert_eq!((measured.intervals[0].sent, measured.intervals[0].answered), (1, 1));
    assert!(measured.histograms.loop_round.is_empty());
}

#[test]
fn every_second_has_an_interval_even_without_events() {
    let mut metrics = metrics(false);
    for (at, open) in [(100 * MS, 5), (3100 * MS, 6)] {
        answer(
            &mut metrics,
            MessageTimes { due: at, assigned: at, blocked: 0, sent: Some(at), batch: None },
            at_once(at + MS),
        );
        metrics.end_round(1, at + 2 * MS, open);
    }
    metrics.close(3500 * MS, true);
    let measured = metrics.into_results(&[]);
    let seconds: Vec<_> = measured.intervals.iter().map(|second| (second.start_s, second.answered)).collect();
    // The second reply arrived before the loop read the clock again.
    assert_eq!(seconds, [(0.0, 2), (1.0, 0), (2.0, 0), (3.0, 0)]);
    assert!((measured.intervals[3].seconds - 0.5).abs() < 1e-9);
    assert_eq!(measured.messages.answered, 2);
    assert_eq!(measured.histograms.service_time.count(), 2);
}

fn answered(metrics: &mut WorkerMetrics, at: u64) {
    answer(metrics, MessageTimes { due: at, assigned: at, blocked: 0, sent: Some(at), batch: None }, at_once(at));
    metrics.end_round(1, at, 5);
}

fn closed(mut metrics: WorkerMetrics, now: u64) -> RunResults {
    metrics.close(now, false);
    let mut results = metrics.into_results(&[]);
    results.end_intervals();
    results
}

/// Holding and closing connections adds neither an interval nor measured time.
#[test]
fn the_intervals_end_with_the_last_reply() {
    for at in [200 * MS, 1600 * MS] {
        let mut metrics = metrics(false);
        answered(&mut metrics, 100 * MS);
        answered(&mut metrics, at);
        metrics.end_round(1, 5000 * MS, 5);
        let measured = closed(metrics, 5500 * MS);
        assert_eq!(nanos(measured.measured_s), at);
        assert_eq!(measured.intervals.len() as u64, at.div_ceil(NANOS_PER_SECOND));
        let seconds: f64 = measured.intervals.iter().map(|second| second.seconds).sum();
        assert!((seconds - measured.measured_s).abs() < 1e-9, "{seconds}");
        assert_eq!(nanos(measured.duration_s), 5500 * MS);
    }
}

#[test]
fn replies_after_the_end_of_the_load_are_in_no_interval() {
    let mut metrics = metrics(false);
    for at in [500, 900, 1500] {
        answered(&mut metrics, at * MS);
    }
    metrics.end(1900 * MS, 1901 * MS);
    for at in [2100, 3700] {
        answered(&mut metrics, at * MS);
    }
    metrics.second.errors += 1;
    let measured = closed(metrics, 4000 * MS);
    let seconds: Vec<_> = measured.intervals.iter().map(|second| (second.answered, second.open)).collect();
    // A reply counts in the second that was current when the loop last read the clock.
    assert_eq!(seconds, [(3, 5), (0, 5)]);
    assert!((measured.intervals[1].seconds - 0.9).abs() < 1e-9, "{measured:?}");
    let after = measured.after_load.as_ref().expect("there were replies after the load");
    assert_eq!((after.answered, after.latency.count, after.errors), (2, 2, 1));
    assert!((after.start_s - 1.9).abs() < 1e-9 && (after.seconds - 2.1).abs() < 1e-9, "{after:?}");
    assert_eq!((nanos(measured.measured_s), nanos(measured.duration_s)), (1900 * MS, 1900 * MS));
    assert_eq!((measured.messages.answered, measured.histograms.service_time.count()), (5, 5));
}

/// The workers of a load that ends at a second's boundary notice its end at different times.
#[test]
fn a_short_rest_is_added_to_the_second_before_it() {
    for (ends, lengths) in [([2013, 2001], &[1.0, 1.013][..]), ([2490, 2510], &[1.0, 1.0, 0.51]), ([20, 3], &[0.02])] {
        let mut all = RunResults::default();
        for end in ends {
            let mut metrics = metrics(false);
            answered(&mut metrics, MS);
            metrics.end(end * MS, end * MS);
            metrics.close(3000 * MS, false);
            all.add_worker(&metrics.into_results(&[]));
        }
        all.end_intervals();
        let seconds: Vec<_> = all.intervals.iter().map(|second| second.seconds).collect();
        assert_eq!(seconds.len(), lengths.len(), "{seconds:?}");
        assert!(seconds.iter().zip(lengths).all(|(is, expected)| (is - expected).abs() < 1e-9), "{seconds:?}");
    }
}
