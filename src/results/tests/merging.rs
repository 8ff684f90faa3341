//! Merging gives the results that a single client would have counted.

use super::{STARTED, sample};
use crate::results::{
    Cpu, Datagrams, Histograms, Interval, Latencies, LoadKind, MergeError, Merger, PeerReplies, PortSearch,
    ReceiveTimestamps, Receivers, ReplyCheck, RunResults, SearchReply, Shard, StopCondition, Timestamp,
    TimestampSource, html_report, merge,
};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

#[test]
fn counts_and_histograms_are_added() {
    let (a, mut b) = (sample(3, 100, 1), sample(3, 200, 2));
    b.errors.insert("reset".to_owned(), 4);
    b.configuration.set("rate", "2k");
    b.targets = vec!["127.0.0.1:65433".to_owned()];
    let merged = merge(&[a.clone(), b.clone()]).expect("there are two");
    assert_eq!((merged.runs, merged.connections.opened), (2, 200));
    assert_eq!(merged.messages.answered, a.messages.answered + b.messages.answered);
    assert_eq!(merged.latency().count(), merged.messages.answered);
    assert_eq!(merged.errors["reset"], 4);
    assert_eq!(merged.load.rate, Some(2000.0));
    assert_eq!(merged.targets, ["127.0.0.1:65432", "127.0.0.1:65433"]);
    assert_eq!(merged.configuration.get("rate"), Some(&json!(["1k", "2k"])));
    assert_eq!(merged.configuration.get("connections"), Some(&json!(100)));
    assert_eq!((merged.intervals.len(), merged.measured_s), (3, 3.0));
    assert_eq!(merged.intervals[1].answered, a.intervals[1].answered + b.intervals[1].answered);
    assert!(merged.valid);
    assert!(merged.to_string().contains(", 2 runs merged\n"), "{merged}");
}

/// Facts that all runs share remain, and of others the one that promises less.
#[test]
fn descriptions_are_merged() {
    let stop = |second| StopCondition { expression: "p99>2ms".to_owned(), second, measured: "p99 is 3 ms".to_owned() };
    let described = |seed| {
        let mut run = sample(3, 100, seed);
        (run.load.duration_s, run.load.seed, run.warm_up_s) = (Some(3.0), Some(7), 2.0);
        run.shard = Some(Shard { index: 1, count: 2 });
        (run.machine.cpus, run.machine.host) = (Some(2), Some("node-1".to_owned()));
        run
    };
    let one = described(1);
    let mut same = described(2);
    same.stop = Some(stop(2));
    let merged = merge(&[one.clone(), same.clone()]).expect("one kind");
    assert_eq!(merged.run_ids, ["3-100-1", "3-100-2"]);
    assert_eq!((merged.program.as_str(), merged.warm_up_s), ("multiconn-client 1.2.3", 2.0));
    assert_eq!((merged.interrupted, merged.stop, merged.shard), (false, same.stop.clone(), one.shard));
    assert_eq!(merged.receive_timestamps, one.receive_timestamps);
    assert_eq!((merged.load.arrivals, merged.load.seed), (one.load.arrivals.clone(), Some(7)));
    assert_eq!((merged.load.duration_s, &merged.machine), (Some(3.0), &one.machine));

    let mut other = described(3);
    (other.program, other.warm_up_s, other.interrupted) = ("multiconn-client 2".to_owned(), 1.0, true);
    (other.stop, other.shard) = (Some(stop(3)), Some(Shard { index: 0, count: 2 }));
    other.receive_timestamps = Some(ReceiveTimestamps { source: TimestampSource::User, missing: 4 });
    (other.load.arrivals, other.load.seed, other.load.duration_s) = (Some("uniform".to_owned()), None, Some(5.0));
    (other.machine.cpus, other.machine.host) = (Some(4), None);
    let merged = merge(&[same.clone(), other]).expect("one kind");
    assert_eq!((merged.program.as_str(), merged.warm_up_s), ("multiconn-client 1.2.3, multiconn-client 2", 1.0));
    assert_eq!((merged.interrupted, merged.stop, merged.shard), (true, same.stop, None));
    let timestamps = ReceiveTimestamps { source: TimestampSource::User, missing: 4 };
    assert_eq!(merged.receive_timestamps, Some(timestamps));
    assert_eq!((merged.load.arrivals, merged.load.seed, merged.load.duration_s), (None, None, Some(5.0)));
    assert_eq!((merged.machine.cpus, merged.machine.host, merged.machine.kernel), (None, None, one.machine.kernel));
}

/// A third value joins the list of the first two, once.
#[test]
fn differing_options_become_a_list() {
    let runs = ["1k", "2k", "1k", "3k"].map(|rate| {
        let mut run = sample(1, 100, 1);
        run.configuration.set("rate", rate);
        run
    });
    let runs: Vec<_> =
        (0_u64..).zip(runs).map(|(id, run)| RunResults { run_ids: vec![id.to_string()], ..run }).collect();
    let merged = merge(&runs).expect("one kind");
    assert_eq!(merged.configuration.get("rate"), Some(&json!(["1k", "2k", "3k"])));
}

#[test]
fn intervals_are_aligned_by_the_clock() {
    let a = sample(3, 100, 1);
    let mut b = sample(3, 100, 2);
    b.started = Timestamp::after_1970(STARTED + Duration::from_millis(2100));
    let merged = merge(&[b.clone(), a.clone()]).expect("there are two");
    assert_eq!(merged.started, a.started);
    let answered: Vec<u64> = merged.intervals.iter().map(|interval| interval.answered).collect();
    let (a, b) = (&a.intervals, &b.intervals);
    let expected = [a[0].answered, a[1].answered, a[2].answered + b[0].answered, b[1].answered, b[2].answered];
    assert_eq!(answered, expected);
    let starts: Vec<f64> = merged.intervals.iter().map(|interval| interval.start_s).collect();
    assert!(starts.iter().copied().eq([0.0, 1.0, 2.0, 3.0, 4.0]), "{starts:?}");
    assert!((merged.duration_s - 5.1).abs() < 1e-9 && (merged.measured_s - 5.1).abs() < 1e-9, "{merged:?}");
    // The first run begins a quarter of a second after a whole second, and the other one 0.6 s later.
    let c = RunResults { started: Timestamp::after_1970(STARTED + Duration::from_millis(600)), ..sample(3, 100, 3) };
    let merged = merge(&[sample(3, 100, 1), c]).expect("there are two");
    assert_eq!((merged.intervals.len(), merged.intervals[0].answered), (4, a[0].answered));
}

/// A run is measured from the end of its warm-up.
#[test]
fn intervals_begin_after_the_warm_up() {
    let (mut a, mut b) = (sample(3, 100, 1), sample(3, 100, 2));
    a.started = Timestamp::after_1970(STARTED + Duration::from_secs(2));
    b.warm_up_s = 2.0;
    let merged = merge(&[a, b]).expect("there are two");
    assert_eq!((merged.intervals.len(), merged.measured_s), (3, 3.0));
}

#[test]
fn cpu_times_are_added_and_the_busiest_client_counts() {
    let with = |seed, seconds, share, times: [Option<f64>; 3]| {
        let [waiting_s, throttled_s, steal_s] = times;
        RunResults { cpu: Some(Cpu { seconds, share, waiting_s, throttled_s, steal_s }), ..sample(3, 100, seed) }
    };
    let runs =
        [with(1, 1.0, 0.25, [Some(0.5), Some(0.125), None]), with(2, 2.0, 0.5, [Some(0.25), Some(0.5), Some(1.0)])];
    let cpu = merge(&runs).expect("there are two").cpu;
    let expected = Cpu { seconds: 3.0, share: 0.5, waiting_s: Some(0.75), throttled_s: Some(0.5), steal_s: Some(1.0) };
    assert_eq!(cpu, Some(expected));
}

#[test]
fn equal_replies_of_two_workers_are_counted_together() {
    let with = |replies: &[(usize, &str, u64)]| {
        let reply = |&(request, text, count): &(usize, &str, u64)| SearchReply {
            request,
            text: text.to_owned(),
            is_binary: false,
            count,
        };
        RunResults { search_replies: replies.iter().map(reply).collect(), ..RunResults::of("x") }
    };
    let mut sum = with(&[(0, "a", 1), (1, "a", 2)]);
    sum.add_worker(&with(&[(0, "a", 4), (0, "b", 8)]));
    let found: Vec<_> =
        sum.search_replies.iter().map(|reply| (reply.request, reply.text.as_str(), reply.count)).collect();
    assert_eq!(found, [(0, "a", 5), (0, "b", 8), (1, "a", 2)]);
}

#[test]
fn the_first_ten_mismatches_are_kept() {
    let mut results = RunResults::of("x");
    (0..12).for_each(|number| results.mismatches.keep(number));
    assert_eq!(results.mismatches.first, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn concurrent_maxima_sum_only_overlapping_runs() {
    let at = |millis| {
        let started = Timestamp::after_1970(STARTED + Duration::from_millis(millis));
        RunResults { started, ..sample(3, 100, millis + 1) }
    };
    // In seconds: from 0 to 3, from 2 to 5, from 4 to 7, from 5 to 8.
    for (begins, most) in [
        (&[0, 3000][..], 1_u32),
        (&[0, 60_000], 1),
        (&[0, 0], 2),
        (&[0, 2000, 4000], 2),
        (&[4000, 2000, 0], 2),
        (&[0, 4000, 2000, 5000], 2),
        (&[0, 1000, 2000], 3),
    ] {
        let mut runs: Vec<_> = begins.iter().map(|begin| at(*begin)).collect();
        (0..).zip(&mut runs).for_each(|(number, results): (u64, _)| results.run_ids = vec![number.to_string()]);
        let merged = merge(&runs).expect("one kind");
        assert_eq!(
            (merged.connections.most_open, merged.load.rate),
            (u64::from(most) * 100, Some(f64::from(most) * 1000.0)),
            "{begins:?}"
        );
    }
}

#[test]
fn a_number_of_messages_and_a_duration_are_not_merged() {
    let (a, mut b) = (sample(3, 100, 1), sample(3, 100, 2));
    b.load.duration_s = Some(3.0);
    let are = ["a fixed number of messages", "a load with a duration"];
    assert_eq!(merge(&[a, b]), Err(MergeError::Differ { runs: [0, 1], are }));
}

#[test]
fn one_invalid_run_makes_the_merged_run_invalid() {
    let (a, mut b) = (sample(3, 100, 1), sample(3, 100, 2));
    b.messages.due = Some(3100);
    b.finalize();
    assert!(!b.valid);
    let merged = merge(&[a.clone(), b.clone()]).expect("there are two");
    assert!(!merged.valid && merged.reasons.contains(&b.reasons[0]), "{:?}", merged.reasons);
    // Even if no figure of the merged run shows why.
    let unexplained = RunResults { valid: false, ..sample(3, 100, 3) };
    assert_eq!(merge(&[a, unexplained]).map(|merged| merged.valid), Ok(false));
}

#[test]
fn single_run_is_unchanged_and_no_run_is_an_error() {
    let mut results = sample(3, 100, 1);
    results.load.rate = Some(1000.0 + 1.0 / 7.0);
    assert_eq!(merge(std::slice::from_ref(&results)), Ok(results));
    assert_eq!(merge(&[]), Err(MergeError::Nothing));
}

#[test]
fn different_or_duplicate_runs_are_rejected() {
    let (a, b) = (sample(3, 100, 1), sample(3, 100, 2));
    let changed = |change: fn(&mut RunResults)| {
        let mut results = sample(3, 100, 3);
        change(&mut results);
        results
    };
    let counted = changed(|run| run.reply_check = ReplyCheck::Counted);
    let merged = merge(&[a.clone(), counted]).expect("both count replies");
    assert_eq!(merged.reply_check, ReplyCheck::Counted, "replies of one run were not compared");
    for (other, text) in [
        (changed(|run| run.load.kind = LoadKind::Closed), "run 1 is of open loops and run 3 of closed loops"),
        (changed(|run| run.datagrams = Some(Datagrams::default())), "run 1 is of TCP and run 3 of UDP"),
        (changed(|run| run.configuration.set("unix", "a.sock")), "run 1 is of TCP and run 3 of Unix sockets"),
        (
            changed(|run| run.reply_check = ReplyCheck::Unframed),
            "run 1 is of counted replies and run 3 of replies without a known end",
        ),
        (b.clone(), "run 2 and run 3 hold the same run"),
        // A run that was already merged.
        (merge(&[a.clone(), sample(3, 100, 4)]).expect("two runs"), "run 1 and run 3 hold the same run"),
    ] {
        let error = merge(&[a.clone(), b.clone(), other]).expect_err(text).to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

/// Files of earlier versions have no ids.
#[test]
fn duplicate_without_an_id_is_found_by_its_content() {
    let [a, b] = [1, 2].map(|seed| RunResults { run_ids: Vec::new(), ..sample(3, 100, seed) });
    assert!(!a.to_json().contains("run_ids"));
    assert_eq!(RunResults::from_json(&a.to_json()).as_ref(), Ok(&a));
    assert_eq!(merge(&[a.clone(), b.clone(), a.clone()]), Err(MergeError::Duplicate { runs: [0, 2] }));
    assert_eq!(merge(&[a, b]).map(|merged| merged.runs), Ok(2));
}

#[test]
fn runs_that_do_not_overlap_cause_a_warning() {
    let a = sample(3, 100, 1);
    let later = |seconds: u64, seed| {
        let started = Timestamp::after_1970(STARTED + Duration::from_secs(seconds));
        RunResults { started, ..sample(3, 100, seed) }
    };
    for (others, warning) in [
        (vec![later(2, 2)], None),
        (vec![later(3, 2)], Some("the runs do not overlap in time: one began 0 s after another had ended")),
        (
            vec![later(2, 2), later(4, 3)],
            Some("the runs do not overlap in time: one began 1.00 s after another had ended"),
        ),
        (vec![RunResults { measured_s: 0.0, ..later(4, 2) }], None),
        (vec![later(30 * 86_400, 2)], Some("the runs do not overlap in time: one began 720 h after another had ended")),
    ] {
        let runs = [vec![a.clone()], others].concat();
        let mut sum = Merger::default();
        for run in &runs {
            sum.add(run).expect("one kind");
        }
        assert_eq!(sum.overlap_warning().as_deref(), warning);
        let merged = merge(&runs).expect("one kind");
        assert_eq!(merged.notes, warning.into_iter().collect::<Vec<_>>());
        assert!(merged.rate() > 700.0, "rates refer to the measured time: {}", merged.rate());
    }
}

/// The time grows with the number of texts, not with its square.
#[test]
fn many_different_texts_are_merged_at_once() {
    let runs: Vec<_> = (0..8_usize)
        .map(|number| {
            let text = |index: usize| format!("{} {index}", index.max(9) * number);
            let texts: Vec<_> = (0..9_999).map(text).collect();
            let run_ids = vec![number.to_string()];
            RunResults { run_ids, valid: false, reasons: texts.clone(), notes: texts, ..sample(1, 100, 1) }
        })
        .collect();
    let begun = std::time::Instant::now();
    let merged = merge(&runs).expect("one kind");
    assert_eq!((merged.reasons.len(), merged.notes.len()), (10_000, 10_000));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(merged.reasons.iter().collect::<std::collections::BTreeSet<_>>().len(), 10_000, "each one once");
}

/// An event of a run: its second, what happened, and how long it took in nanoseconds.
type Event = (u32, usize, u64);

/// Length of the runs in seconds.
const SECONDS: u32 = 4;

/// A run in which these events happened, as it is read from a file.
fn recorded(events: &[Event], id: usize) -> RunResults {
    let mut results = sample(0, 100, id as u64);
    results.run_ids = vec![id.to_string()];
    (results.messages, results.bytes, results.statuses) = Default::default();
    (results.histograms, results.datagrams) = Default::default();
    results.messages.due = Some(0);
    let mut latencies = vec![Latencies::default(); SECONDS as usize];
    let mut seconds = vec![Interval { seconds: 1.0, open: 3, ..Interval::default() }; SECONDS as usize];
    let empty = Histograms::default();
    for (second, kind, nanos) in events {
        let interval = &mut seconds[*second as usize];
        let pairs = results.histograms.pairs(&empty);
        let index = kind % pairs.len();
        pairs[index].1.record_nanos(*nanos);
        let (messages, count) = (&mut results.messages, nanos % 1000);
        match kind % 9 {
            0 => (messages.answered, interval.answered) = (messages.answered + 1, interval.answered + 1),
            1 => (messages.sent, interval.sent) = (messages.sent + count, interval.sent + count),
            2 => messages.due = messages.due.map(|due| due + count),
            3 => (messages.timed_out, messages.pending) = (messages.timed_out + 1, messages.pending + count),
            4 => (messages.lost, messages.unsent) = (messages.lost + count, messages.unsent + 1),
            5 => results.statuses.get_or_insert_default().count(u16::try_from(count).expect("below 1,000")),
            6 => (results.bytes.sent, interval.bytes_sent) = (results.bytes.sent + count, interval.bytes_sent + count),
            7 => *results.errors.entry(format!("cause_{}", count % 3)).or_default() += 1,
            _ => results.connections.opened += count,
        }
        latencies[*second as usize].record_nanos(*nanos);
    }
    for (second, (interval, latencies)) in (0_u32..).zip(seconds.iter_mut().zip(&latencies)) {
        (interval.start_s, interval.latency) = (f64::from(second), latencies.pack());
    }
    (results.intervals, results.measured_s, results.duration_s) = (seconds, f64::from(SECONDS), f64::from(SECONDS));
    RunResults::from_json(&results.to_json_line()).expect("it is whole")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever is recorded, and however it is divided over runs or workers: the sum is what one recorder has.
    #[test]
    fn merging_equals_one_recorder(
        events in prop::collection::vec((0..SECONDS, any::<prop::sample::Index>(), 1_u64..4_000_000_000_000, 0_usize..5), 0..300),
        number in 1_usize..5,
    ) {
        let events: Vec<_> = events
            .into_iter()
            .map(|(second, kind, nanos, run)| (run % number, (second, kind.index(117), nanos)))
            .collect();
        let all: Vec<Event> = events.iter().map(|(_, event)| *event).collect();
        let one = recorded(&all, 0);
        let of_run = |run| events.iter().filter(|(own, _)| *own == run).map(|(_, event)| *event).collect::<Vec<_>>();
        let runs: Vec<_> = (0..number).map(|run| recorded(&of_run(run), run)).collect();
        let merged = merge(&runs).expect("one kind");
        let mut workers = runs[0].clone();
        runs[1..].iter().for_each(|run| workers.add_worker(run));
        for sum in [&merged, &workers] {
            prop_assert_eq!(&sum.histograms, &one.histograms);
            prop_assert_eq!(&sum.messages, &one.messages);
            prop_assert_eq!(&sum.bytes, &one.bytes);
            prop_assert_eq!(&sum.errors, &one.errors);
            prop_assert_eq!(&sum.statuses, &one.statuses);
            prop_assert_eq!((sum.measured_s, sum.rate()), (one.measured_s, one.rate()));
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(sum.latency().at(quantile), one.latency().at(quantile));
            }
            let open = 3 * number as u64;
            let expected: Vec<_> = one.intervals.iter().map(|second| Interval { open, ..second.clone() }).collect();
            prop_assert_eq!(&sum.intervals, &expected);
        }
    }
}

/// A merged run can be read again, however many peers answered.
#[test]
fn peers_of_datagrams_are_joined_up_to_a_limit() {
    let runs = [0, 6000].map(|first| {
        let mut run = sample(2, 100, first);
        run.run_ids = vec![first.to_string()];
        let peers =
            (first..first + 6000).map(|number| (format!("10.0.0.1:{number}"), PeerReplies::default())).collect();
        run.datagrams = Some(Datagrams { peers, ..Datagrams::default() });
        run
    });
    let merged = merge(&runs).expect("they can be merged");
    assert_eq!(merged.datagrams.as_ref().map(|datagrams| datagrams.peers.len()), Some(10_000));
    assert_eq!(RunResults::from_json(&merged.to_json()), Ok(merged));
}

/// The longest search for a local port explains the slowest connects.
#[test]
fn the_longest_port_search_remains() {
    let runs = [None, Some(300_000), Some(1_040_000), Some(200_000)].map(|connect_cpu_ns| {
        let mut run = sample(2, 100, connect_cpu_ns.unwrap_or_default());
        let of = |connect_cpu_ns| PortSearch { connect_cpu_ns, tcp_sockets: 28_000, local_ports: 28_232 };
        run.connections.port_search = connect_cpu_ns.map(of);
        run
    });
    let merged = merge(&runs).expect("they can be merged");
    assert_eq!(merged.connections.port_search, runs[2].connections.port_search);
    let line = "  port search  each connect takes 1.04 ms of CPU time to find a free port:";
    let text = merged.to_string();
    assert!(text.contains(line) && html_report(&merged).contains("28,232 local ports"), "{text}");
    assert_eq!(RunResults::from_json(&merged.to_json()), Ok(merged));
}

#[test]
fn replies_of_receivers_are_added() {
    let mut runs = [(3, 1, 10, 20, 30, 2), (1, 2, 5, 60, 60, 1), (0, 9, 0, 0, 0, 3)].map(|numbers| {
        let (replies, missing, min_ns, mean_ns, max_ns, receivers) = numbers;
        let mut run = sample(2, 100, receivers);
        run.run_ids = vec![receivers.to_string()];
        let peers = [("10.0.0.1:1".to_owned(), PeerReplies { replies, missing, min_ns, mean_ns, max_ns })].into();
        let receivers = Some(Receivers { min: receivers, max: receivers, incomplete: missing }).filter(|_| replies > 0);
        run.datagrams = Some(Datagrams { peers, receivers, ..Datagrams::default() });
        run
    });
    let merged = merge(&runs).expect("they can be merged");
    let datagrams = merged.datagrams.as_ref().expect("they are of datagrams");
    let sum = PeerReplies { replies: 4, missing: 12, min_ns: 5, mean_ns: 30, max_ns: 60 };
    assert_eq!(datagrams.peers, [("10.0.0.1:1".to_owned(), sum)].into());
    assert_eq!(datagrams.receivers, Some(Receivers { min: 1, max: 2, incomplete: 3 }));
    let text = merged.to_string();
    for line in [
        "  answered by  1 peer: 10.0.0.1:1 4 (12 missing)",
        "  receivers    1 to 2 peers per message; 3 lacked a peer that answered others",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    // A run without replies has no shortest time; the order of the runs does not matter.
    for _ in 0..2 {
        runs.rotate_right(1);
        let again = merge(&runs).expect("they can be merged");
        assert_eq!(again.datagrams.map(|datagrams| datagrams.peers), Some(datagrams.peers.clone()));
    }
    // Earlier versions had a list of the peers.
    let mut value: serde_json::Value = serde_json::from_str(&merged.to_json()).expect("valid");
    value["datagrams"] =
        serde_json::json!({"late": 0, "duplicated": 0, "reordered": 0, "peers": ["10.0.0.1:2", "10.0.0.1:1"]});
    let old = RunResults::from_json(&value.to_string()).expect("it is still read");
    let text = old.to_string();
    assert!(text.lines().any(|line| line == "  answered by  2 peers: 10.0.0.1:1, 10.0.0.1:2"), "{text}");
}
