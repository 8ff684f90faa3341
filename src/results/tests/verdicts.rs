//! Validity of runs.

use super::{STARTED, busy, lower_floor, sample};
use crate::results::{
    LoadKind, LoadStart, Reason, RunResults, StopCondition, TextReport, Threshold, Timestamp, Verdict, html_report,
    merge, validate,
};
use std::time::Duration;

#[test]
fn client_that_sends_on_time_is_valid() {
    assert_eq!(validate(&sample(3, 100, 1)), []);
    assert_eq!(validate(&RunResults::of("x")), []);
}

/// A late client measures correctly as long as it sends everything. Its percentiles are marked if that may matter.
#[test]
fn lateness_alone_is_valid() {
    let mut results = sample(3, 100, 1);
    (0..3000).for_each(|_| results.histograms.send_delay.record(Duration::from_millis(50)));
    lower_floor(&mut results, 0.1);
    results.finalize();
    assert!(results.valid && results.notes.is_empty(), "{results:?}");
}

#[test]
fn busy_client_is_invalid_if_its_median_is_bounded() {
    let mut results = sample(3, 100, 1);
    results.cpu = Some(busy(0.97));
    results.machine.cpus = Some(4);
    results.finalize();
    assert!(results.valid, "an exact median: {:?}", results.reasons);
    assert_eq!(results.notes, ["client CPU at 97 %; what helps: a CPU of its own, more workers, a lower rate"]);
    lower_floor(&mut results, 0.5);
    results.finalize();
    let reason = "client-limited: its CPU was at 97 %, and its delays may explain even the median; what helps: a CPU of \
                  its own, more workers, a lower rate";
    assert_eq!((results.valid, &results.reasons[..], results.notes.len()), (false, &[reason.to_owned()][..], 0));
    assert!(TextReport(&results).to_string().starts_with("NOT VALID: client-limited: its CPU was at 97 %"));
    // The merged runs together are as busy as the busiest one.
    let mut other = sample(3, 100, 2);
    (other.cpu, other.machine.cpus) = (Some(busy(0.2)), Some(4));
    let merged = merge(&[results.clone(), other]).expect("two runs");
    assert!(!merged.valid && merged.reasons == [reason], "{:?}", merged.reasons);
    results.cpu = Some(busy(0.89));
    results.finalize();
    assert!(results.valid, "{:?}", results.reasons);
}

/// With the client's own timestamps there is no floor. Then its delay decides.
#[test]
fn busy_client_without_a_floor_is_invalid_if_its_median_delay_is_large() {
    let mut results = sample(3, 100, 1);
    results.cpu = Some(busy(0.97));
    results.receive_timestamps = None;
    results.histograms.client_delay.clear();
    results.finalize();
    assert!(results.valid, "no delay: {:?}", results.reasons);
    let median = results.latency().at(0.5).expect("there are replies");
    (0..1000).for_each(|_| results.histograms.client_delay.record(median));
    results.finalize();
    assert!(!results.valid && results.reasons[0].starts_with("client-limited"), "{:?}", results.reasons);
    let floor: Threshold = "floor.p99>1ns".parse().expect("a threshold");
    assert_eq!(floor.evaluate(&results).verdict, Verdict::Unknown);
}

/// A loop that spins uses a CPU also while it waits.
#[test]
fn a_client_is_busy_in_its_rounds() {
    let mut results = sample(3, 100, 1);
    lower_floor(&mut results, 0.5);
    results.cpu = Some(busy(1.0));
    // 1.5 of 3 seconds. The loop polls in the rest.
    (0..1500).for_each(|_| results.histograms.loop_round.record(Duration::from_millis(1)));
    assert_eq!(validate(&results), []);
    (0..1400).for_each(|_| results.histograms.loop_round.record(Duration::from_millis(1)));
    assert!(matches!(validate(&results)[..], [Reason::Saturated { .. }]), "{:?}", validate(&results));
    // Two workers have twice the time.
    results.configuration.set("workers", 2);
    assert_eq!(validate(&results), []);
}

#[test]
fn one_percent_of_the_schedule_may_be_missing() {
    let mut results = RunResults::of("x");
    results.messages.due = Some(100_000);
    for (sent, is_valid) in [(100_000, true), (99_000, true), (98_999, false), (0, false)] {
        results.messages.sent = sent;
        assert_eq!(validate(&results).is_empty(), is_valid, "{sent}");
    }
}

#[test]
fn messages_blocked_by_the_server_do_not_invalidate_a_run() {
    let mut results = RunResults::of("x");
    (results.load.kind, results.messages.due) = (LoadKind::Open, Some(100_000));
    for (sent, unsent, is_valid) in [(60_000, 40_000, true), (60_000, 39_000, true), (60_000, 38_000, false)] {
        (results.messages.sent, results.messages.unsent) = (sent, unsent);
        results.finalize();
        assert_eq!(results.valid, is_valid, "{sent} {unsent}");
        assert!(results.notes[0].contains("not sent, or only in part"), "{:?}", results.notes);
        let reason = "; what helps: a CPU of its own, busy polling (spin), a lower rate";
        assert!(results.reasons.iter().all(|text| text.starts_with("client-limited: ") && text.ends_with(reason)));
    }
    (results.messages.sent, results.messages.unsent) = (60_000, 40_000);
    results.measured_s = 3.0;
    results.cpu = Some(busy(0.97));
    results.finalize();
    assert!(!results.valid, "a client without CPU time cannot tell who blocked its messages");
}

#[test]
fn poisson_arrivals_may_deviate_by_chance() {
    let mut results = RunResults::of("x");
    results.load.kind = LoadKind::Open;
    results.load.rate = Some(100.0);
    results.measured_s = 10.0;
    // 3 deviations of 1,000 arrivals are 95; 1 % of evenly spread ones is 10.
    for (arrivals, sent, is_valid) in
        [("poisson", 910, true), ("poisson", 900, false), ("uniform", 990, true), ("uniform", 985, false)]
    {
        results.load.arrivals = Some(arrivals.to_owned());
        results.messages.sent = sent;
        assert_eq!(validate(&results).is_empty(), is_valid, "{arrivals} {sent}");
    }
    results.load.kind = LoadKind::Closed;
    assert_eq!(validate(&results), [], "closed load has no schedule");
}

/// The integral of the rate up to the measured time counts.
#[test]
fn a_ramp_requires_the_integral_of_its_rate() {
    let mut results = RunResults::of("x");
    results.load =
        crate::results::Load { rate: Some(100.0), ramp_to: Some(300.0), duration_s: Some(10.0), ..results.load };
    results.load.kind = LoadKind::Open;
    for (measured_s, sent, is_valid) in [(10.0, 2000, true), (10.0, 1000, false), (5.0, 750, true), (5.0, 1000, false)]
    {
        (results.measured_s, results.messages.due, results.messages.sent) = (measured_s, Some(sent), sent);
        assert_eq!(validate(&results).is_empty(), is_valid, "{sent} in {measured_s} s");
    }
    (results.connections.opened, results.connections.failed, results.messages.sent) = (1, 1, 750);
    (results.measured_s, results.messages.due) = (5.0, Some(750));
    results.finalize();
    let reason = "about 1,250 messages of the schedule never became due";
    assert!(results.reasons.iter().any(|text| text.ends_with(reason)), "{:?}", results.reasons);
}

/// Connections that were open fail when the run is stopped; the others were missing.
#[test]
fn a_load_that_did_not_begin_names_the_missing_connections() {
    let requested = Timestamp::after_1970(STARTED);
    let mut results = RunResults::of("x");
    results.start = Some(LoadStart { requested: Some(requested), ..LoadStart::default() });
    (results.connections.requested, results.connections.failed) = (10, 10);
    results.errors.insert("stopped".to_owned(), 7);
    assert_eq!(validate(&results), [Reason::MissedStart { requested, missing: 3, connections: 10 }]);
    assert_eq!(validate(&RunResults { interrupted: true, ..results.clone() }), []);
    results.start = Some(LoadStart { requested: Some(requested), began: Some(requested), ..LoadStart::default() });
    assert_eq!(validate(&results), []);
}

#[test]
fn one_percent_of_the_messages_may_have_no_connection() {
    let mut results = RunResults::of("x");
    for (no_connection, expected) in [(10, vec![]), (11, vec![Reason::NoConnection { due: 1000, messages: 11 }])] {
        let messages = &mut results.messages;
        (messages.due, messages.sent, messages.no_connection) = (Some(1000), 1000 - no_connection, no_connection);
        assert_eq!(validate(&results), expected);
    }
}

#[test]
fn a_load_whose_connections_failed_at_its_end_did_not_end_early() {
    let mut results = RunResults::of("x");
    (results.load.duration_s, results.connections.opened, results.connections.failed) = (Some(3.0), 1, 1);
    for (measured_s, is_early) in [(3.0, false), (2.5, true)] {
        results.measured_s = measured_s;
        let is_found = validate(&results).iter().any(|reason| matches!(reason, Reason::EndedEarly { .. }));
        assert_eq!(is_found, is_early, "{measured_s} s");
        assert!(!results.has_late_client(), "its connections failed");
    }
}

/// A client that kept its own schedule may still have missed the requested rate.
#[test]
fn sent_messages_must_match_rate_and_time() {
    let mut results = RunResults::of("x");
    results.load = crate::results::Load { kind: LoadKind::Open, rate: Some(100.0), ..results.load };
    results.connections.completed = 5;
    (results.messages.due, results.messages.sent) = (Some(400), 400);
    for (measured_s, is_valid) in [(4.0, true), (4.03, true), (3.97, true), (4.05, false), (7.155, false), (2.0, false)]
    {
        results.measured_s = measured_s;
        results.finalize();
        assert_eq!(results.valid, is_valid, "{measured_s}: {:?}", results.reasons);
    }
    results.measured_s = 7.155;
    results.finalize();
    let behind = "it sent 400 messages in 7.16 s, and the rate requires 716";
    assert!(results.reasons[0].contains(behind), "{:?}", results.reasons);
    // The reason must not call a second number "due".
    assert!(!results.reasons[0].contains("due") && TextReport(&results).to_string().contains(" 400 due, 400 sent"));
    // The server left no room for the rest.
    (results.messages.due, results.messages.unsent) = (Some(716), 316);
    assert!(validate(&results).iter().all(|reason| !reason.invalidates()), "{:?}", validate(&results));
    results.messages.unsent = 0;
    // Chance explains a deviation up to 134: 5 standard deviations of 716.
    results.load.arrivals = Some("poisson".to_owned());
    for (sent, is_valid) in [(585, true), (575, false), (845, true), (855, false)] {
        (results.messages.due, results.messages.sent) = (Some(sent), sent);
        assert_eq!(validate(&results).is_empty(), is_valid, "{sent}");
    }
    // Merged clients need not have sent at the same time, and an interrupt ends the schedule.
    results.runs = 2;
    assert_eq!(validate(&results), []);
    (results.runs, results.interrupted) = (1, true);
    assert_eq!(validate(&results), []);
    let (expression, measured) = ("rate>1".to_owned(), "rate is 100 /s, which is > 1.00 /s".to_owned());
    (results.interrupted, results.stop) = (false, Some(StopCondition { expression, second: 1, measured }));
    assert_eq!(validate(&results), []);
}

#[test]
fn a_ramp_ends_at_its_last_rate() {
    let load = crate::results::Load {
        rate: Some(1.0),
        ramp_to: Some(3.0),
        duration_s: Some(10.0),
        ..RunResults::of("x").load
    };
    for (seconds, messages) in [(0.0, 0.0), (5.0, 7.5), (10.0, 20.0), (12.0, 26.0)] {
        assert_eq!(load.required(seconds), Some(messages), "{seconds}");
    }
}

/// Failed connections, and messages without a connection, are not the client's fault.
#[test]
fn load_whose_connections_all_failed_is_invalid() {
    let mut results = RunResults::of("x");
    results.load =
        crate::results::Load { kind: LoadKind::Open, rate: Some(500.0), duration_s: Some(30.0), ..results.load };
    (results.measured_s, results.connections.opened, results.connections.failed) = (10.0, 4, 4);
    (results.messages.due, results.messages.sent, results.messages.no_connection) = (Some(5000), 4000, 1000);
    results.finalize();
    let early = "the load ended early, after 10.0 s of 30.0 s: every connection had failed; about 10,000 messages of the \
                 schedule never became due";
    assert_eq!(results.reasons, [early]);
    assert_eq!(results.notes, ["no connection was open for 1,000 of 5,000 due messages"]);
    let text = TextReport(&results).to_string();
    assert!(!results.valid && text.starts_with("NOT VALID: the load ended early, after 10.0 s of 30.0 s"), "{text}");
    assert!(!text.contains("client-limited"), "{text}");
    // A load ends regularly when its connections are finished, or when it is interrupted.
    (results.connections.completed, results.messages.no_connection, results.messages.sent) = (1, 0, 5000);
    assert_eq!(validate(&results), []);
    (results.connections.completed, results.interrupted) = (0, true);
    assert_eq!(validate(&results), []);
    (results.connections.opened, results.interrupted) = (0, false);
    results.finalize();
    assert!(
        results.reasons[0].starts_with("the load never began: no connection could be opened; about 15,000 messages")
    );
}

/// If the network or the server fails, the few replies before that say nothing about the client.
#[test]
fn lost_messages_are_reported_first() {
    let mut results = RunResults::of("x");
    (results.load.kind, results.measured_s) = (LoadKind::Open, 4.0);
    (results.messages.due, results.messages.sent) = (Some(82), 82);
    (0..20).for_each(|_| results.histograms.response_time.record(Duration::from_micros(400)));
    results.messages.answered = 20;
    (0..62).for_each(|_| results.histograms.unanswered_age.record(Duration::from_secs(5)));
    for (timed_out, lost, words) in [
        (62, 0, "62 of 82 messages were not answered within the reply timeout"),
        (0, 62, "62 of 82 messages were lost"),
        (1, 61, "1 of 82 messages was not answered within the reply timeout, 61 lost"),
    ] {
        (results.messages.timed_out, results.messages.lost) = (timed_out, lost);
        results.finalize();
        let text = TextReport(&results).to_string();
        assert!(results.valid && text.starts_with(&format!("FAILED: {words}\n")), "{text}");
        assert!(html_report(&results).contains(&format!("<strong>FAILED.</strong> {words}.")));
    }
    results.errors.insert("mismatch".to_owned(), 2);
    results.errors.insert("reset".to_owned(), 1);
    for (wrong, lost, words) in [
        (2, 0, "1 of 82 messages was not answered within the reply timeout, 2 answered wrongly"),
        (
            2,
            3,
            "1 of 82 messages was not answered within the reply timeout, 2 answered wrongly, 3 lost (mismatch, reset)",
        ),
    ] {
        (results.messages.wrong, results.messages.lost) = (wrong, lost);
        let text = TextReport(&results).to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.starts_with(&format!("FAILED: {words} 0 connections")), "{text}");
    }
    results.messages.lost = 0;
    results.errors.clear();
    // Losses also come before reasons why the run is not valid.
    (results.messages.due, results.messages.sent) = (Some(200), 82);
    results.finalize();
    let text = TextReport(&results).to_string();
    assert!(text.starts_with("FAILED: 1 of 200") && text.contains("\nNOT VALID: client-limited"), "{text}");
    // A few losses appear only in the counts.
    let mut few = sample(3, 100, 1);
    few.messages.timed_out = 5;
    assert!(!TextReport(&few).to_string().contains("FAILED"));
}
