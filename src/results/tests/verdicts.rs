//! When a run is not valid, and when it is.

use super::sample;
use crate::results::{Cpu, LoadKind, Reason, RunResults, TextReport, page, validate};
use std::time::Duration;

#[test]
fn a_client_that_sends_on_time_is_valid() {
    assert_eq!(validate(&sample(3, 100, 1)), []);
    assert_eq!(validate(&RunResults::of("x")), []);
}

#[test]
fn a_lag_of_more_than_a_tenth_is_too_much() {
    let mut record = RunResults::of("x");
    record.load.kind = LoadKind::Open;
    (0..100).for_each(|_| record.histograms.latency_from_due.record(Duration::from_millis(1)));
    (0..100).for_each(|_| record.histograms.lag.record(Duration::from_micros(99)));
    assert_eq!(validate(&record), []);
    (0..2).for_each(|_| record.histograms.lag.record(Duration::from_micros(102)));
    assert!(matches!(validate(&record)[..], [Reason::Lag { .. }]), "{:?}", validate(&record));
    record.settle();
    assert!(!record.valid && record.reasons[0].contains("102 µs") && record.hints.is_empty(), "{:?}", record.reasons);
}

#[test]
fn a_client_that_is_late_without_any_reply_is_not_valid_either() {
    let mut record = RunResults::of("x");
    (record.load.kind, record.measured_s) = (LoadKind::Open, 10.0);
    (0..100).for_each(|_| record.histograms.lag.record(Duration::from_millis(99)));
    assert_eq!(validate(&record), []);
    (0..2).for_each(|_| record.histograms.lag.record(Duration::from_millis(102)));
    record.settle();
    assert!(
        !record.valid && record.reasons[0].contains("102 ms is more than 1 % of the 10.0 s"),
        "{:?}",
        record.reasons
    );
    assert!(TextReport(&record).to_string().starts_with("NOT VALID: the client was the limit"));
}

#[test]
fn one_per_cent_of_the_schedule_may_be_missing() {
    let mut record = RunResults::of("x");
    record.messages.due = Some(100_000);
    for (sent, is_kept) in [(100_000, true), (99_000, true), (98_999, false), (0, false)] {
        record.messages.sent = sent;
        assert_eq!(validate(&record).is_empty(), is_kept, "{sent}");
    }
}

#[test]
fn what_the_server_holds_back_is_not_the_clients_fault() {
    let mut record = RunResults::of("x");
    record.messages.due = Some(100_000);
    for (sent, withheld, is_kept) in [(60_000, 40_000, true), (60_000, 39_000, true), (60_000, 38_000, false)] {
        (record.messages.sent, record.messages.withheld) = (sent, withheld);
        record.settle();
        assert_eq!(record.valid, is_kept, "{sent} {withheld}");
        assert!(record.hints[0].contains("not sent, or not whole"), "{:?}", record.hints);
    }
    (record.messages.sent, record.messages.withheld) = (60_000, 40_000);
    record.measured_s = 3.0;
    record.cpu = Some(Cpu { seconds: 2.9, share: 0.97 });
    record.settle();
    assert!(!record.valid, "a client without time does not know who held its messages back");
}

#[test]
fn without_a_count_of_what_was_due_chance_is_given_its_share() {
    let mut record = RunResults::of("x");
    record.load.kind = LoadKind::Open;
    record.load.rate = Some(100.0);
    record.measured_s = 10.0;
    // 3 deviations of 1,000 arrivals are 95; 1 % of evenly spread ones is 10.
    for (arrivals, sent, is_kept) in
        [("poisson", 910, true), ("poisson", 900, false), ("uniform", 990, true), ("uniform", 985, false)]
    {
        record.load.arrivals = Some(arrivals.to_owned());
        record.messages.sent = sent;
        assert_eq!(validate(&record).is_empty(), is_kept, "{arrivals} {sent}");
    }
    record.load.kind = LoadKind::Closed;
    assert_eq!(validate(&record), [], "closed load has no schedule");
}

/// That all was sent that the client's own schedule held does not say that it held what was asked for.
#[test]
fn the_rate_times_the_time_is_what_was_due() {
    let mut record = RunResults::of("x");
    record.load = crate::results::Load { kind: LoadKind::Open, rate: Some(100.0), ..record.load };
    record.connections.verified = 5;
    (record.messages.due, record.messages.sent) = (Some(400), 400);
    for (measured_s, is_kept) in [(4.0, true), (4.03, true), (3.97, true), (4.05, false), (7.155, false), (2.0, false)]
    {
        record.measured_s = measured_s;
        record.settle();
        assert_eq!(record.valid, is_kept, "{measured_s}: {:?}", record.reasons);
    }
    record.measured_s = 7.155;
    record.settle();
    let behind = "the rate makes 716 messages in the 7.16 s that were measured, and it sent 400";
    assert!(record.reasons[0].contains(behind), "{:?}", record.reasons);
    // The same word is not used for two numbers.
    assert!(!record.reasons[0].contains("due") && TextReport(&record).to_string().contains(" 400 due, 400 sent"));
    // The server left no room for the rest.
    (record.messages.due, record.messages.withheld) = (Some(716), 316);
    assert!(validate(&record).iter().all(|reason| !reason.invalidates()), "{:?}", validate(&record));
    record.messages.withheld = 0;
    // By chance it can be so many, and no more: 5 deviations of 716 are 134.
    record.load.arrivals = Some("poisson".to_owned());
    for (sent, is_kept) in [(585, true), (575, false), (845, true), (855, false)] {
        (record.messages.due, record.messages.sent) = (Some(sent), sent);
        assert_eq!(validate(&record).is_empty(), is_kept, "{sent}");
    }
    // Several clients need not have sent at the same time, and whoever interrupts a run ends its schedule.
    record.runs = 2;
    assert_eq!(validate(&record), []);
    (record.runs, record.interrupted) = (1, true);
    assert_eq!(validate(&record), []);
}

/// That every connection failed is not the client's fault, and neither is what nobody could take.
#[test]
fn a_load_that_its_connections_did_not_last_for_is_not_valid() {
    let mut record = RunResults::of("x");
    record.load =
        crate::results::Load { kind: LoadKind::Open, rate: Some(500.0), duration_s: Some(30.0), ..record.load };
    (record.measured_s, record.connections.opened, record.connections.failed) = (10.0, 4, 4);
    (record.messages.due, record.messages.sent, record.messages.unconnected) = (Some(5000), 4000, 1000);
    record.settle();
    let early = "the load ended early, after 10.0 s of 30.0 s: every connection had failed; about 10,000 messages of the \
                 schedule never became due";
    assert_eq!(record.reasons, [early]);
    assert_eq!(record.hints, ["no connection was there for 1,000 of 5,000 messages that were due"]);
    let text = TextReport(&record).to_string();
    assert!(!record.valid && text.starts_with("NOT VALID: the load ended early, after 10.0 s of 30.0 s"), "{text}");
    assert!(!text.contains("the client was the limit"), "{text}");
    // Connections that did all they had to do end a load when it is time for that, and so does whoever interrupts it.
    (record.connections.verified, record.messages.unconnected, record.messages.sent) = (1, 0, 5000);
    assert_eq!(validate(&record), []);
    (record.connections.verified, record.interrupted) = (0, true);
    assert_eq!(validate(&record), []);
    (record.connections.opened, record.interrupted) = (0, false);
    record.settle();
    assert!(
        record.reasons[0].starts_with("the load never began: no connection could be opened; about 15,000 messages")
    );
}

#[test]
fn a_busy_client_is_a_hint() {
    let mut record = sample(3, 100, 1);
    record.cpu = Some(Cpu { seconds: 2.9, share: 0.97 });
    record.settle();
    assert!(record.valid && record.hints.len() == 1 && record.hints[0].contains("97 %"), "{:?}", record.hints);
}

/// With the network cut, or the server stopped, the few replies before that say nothing about the client.
#[test]
fn where_most_messages_have_no_reply_that_is_said_first() {
    let mut record = RunResults::of("x");
    (record.load.kind, record.measured_s) = (LoadKind::Open, 4.0);
    (record.messages.due, record.messages.sent) = (Some(82), 82);
    (0..20).for_each(|_| record.histograms.latency_from_due.record(Duration::from_micros(400)));
    (0..82).for_each(|_| record.histograms.lag.record(Duration::from_millis(2)));
    record.messages.verified = 20;
    record.settle();
    assert!(!record.valid, "the client was too late for so short a latency: {:?}", record.reasons);
    (0..62).for_each(|_| record.histograms.unanswered_age.record(Duration::from_secs(5)));
    for (timed_out, failed, words) in [
        (62, 0, "62 of 82 messages were not answered within the reply timeout"),
        (0, 62, "62 of 82 messages were lost"),
        (1, 61, "1 of 82 messages was not answered within the reply timeout, 61 lost"),
    ] {
        (record.messages.timed_out, record.messages.failed) = (timed_out, failed);
        record.settle();
        let text = TextReport(&record).to_string();
        assert!(record.valid && text.starts_with(&format!("FAILED: {words}\n")), "{text}");
        assert!(page(&record).contains(&format!("<strong>FAILED.</strong> {words}.")));
    }
    // It comes before what is wrong with the client, too.
    (record.messages.due, record.messages.sent) = (Some(200), 82);
    record.settle();
    let text = TextReport(&record).to_string();
    assert!(text.starts_with("FAILED: 1 of 200") && text.contains("\nNOT VALID: the client was the limit"), "{text}");
    // A few among many are counted below.
    let mut few = sample(3, 100, 1);
    few.messages.timed_out = 5;
    assert!(!TextReport(&few).to_string().contains("FAILED"));
}
