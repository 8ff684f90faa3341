//! All outputs of two runs, compared with their stored text.

use super::{RunResults, busy, lower_floor, sample};
use crate::results::{
    Datagrams, LoadKind, Statuses, StopCondition, TextReport, compare, html_comparison, html_report, intervals_csv,
    percentile_plot, write_percentiles,
};
use std::time::Duration;

/// A load with a late client, errors, and all optional figures.
fn before() -> RunResults {
    let mut results = sample(10, 100, 1);
    lower_floor(&mut results, 0.5);
    results.targets.extend(["[::1]:2", "localhost:3", "/run/echo.socket"].map(str::to_owned));
    results.cpu = Some(busy(0.97));
    results.warm_up_s = 1.0;
    results.load.seed = Some(7);
    results.load.duration_s = Some(10.0);
    (results.connections.failed, results.connections.retries) = (3, 2);
    results.failed_by_target.insert("localhost:3".to_owned(), 3);
    results.errors.insert("connect_timeout".to_owned(), 3);
    results.errors.insert("wrong_status".to_owned(), 40);
    results.mismatches.count = 40;
    results.mismatches.first.push("connection 4: status 503".to_owned());
    results.statuses = Some(Statuses { successful: 9_000, server_error: 40, ..Statuses::default() });
    results.stop = Some(StopCondition {
        expression: "p99>2ms".to_owned(),
        second: 10,
        measured: "p99 is 3.10 ms, which is > 2.00 ms".to_owned(),
    });
    (results.messages.timed_out, results.messages.wrong, results.messages.no_connection) = (200, 40, 12);
    (results.messages.pending, results.messages.lost) = (5, 20);
    results.messages.unsent = 30;
    results.histograms.unanswered_age.record(Duration::from_secs(5));
    results.histograms.blocked.record(Duration::from_millis(3));
    results.histograms.handshake.record(Duration::from_micros(900));
    results.histograms.first_byte.record(Duration::from_micros(80));
    results.histograms.loop_round.record(Duration::from_secs(9));
    results.intervals[4].errors = 40;
    results.finalize();
    results
}

/// A closed load on datagrams, of which one second has no reply.
fn after() -> RunResults {
    let mut results = sample(9, 140, 2);
    results.load.kind = LoadKind::Closed;
    (results.load.rate, results.load.arrivals, results.messages.due) = (None, None, None);
    results.configuration.set("connections", 50);
    results.datagrams = Some(Datagrams { late: 3, duplicated: 2, reordered: 1, ..Datagrams::default() });
    results.intervals[3] = crate::results::Interval { start_s: 3.0, seconds: 1.0, ..Default::default() };
    results.finalize();
    results
}

/// A difference shows the text as it is now.
#[test]
fn outputs_are_as_stored() {
    let (before, after) = (before(), after());
    let mut outputs = Vec::new();
    for (name, results) in [("before", &before), ("after", &after)] {
        let mut percentiles = Vec::new();
        write_percentiles(results, &mut percentiles).expect("a vector takes everything");
        outputs.extend([
            (format!("full report, {name}"), TextReport(results).to_string()),
            (format!("report, {name}"), results.to_string()),
            (format!("plot, {name}"), percentile_plot(results).expect("there are replies")),
            (format!("intervals, {name}"), intervals_csv(results)),
            (format!("percentiles, {name}"), String::from_utf8(percentiles).expect("it is text")),
            (format!("page, {name}"), html_report(results)),
        ]);
    }
    let comparison = compare(&before, &after);
    outputs.push(("comparison".to_owned(), comparison.to_string()));
    outputs.push(("page of the comparison".to_owned(), html_comparison(&before, &after)));
    let texts = outputs.iter().map(|(name, text)| format!("==== {name}\n{}\n", text.trim_end()));
    let texts = texts.collect::<Vec<_>>().concat();
    assert!(texts == include_str!("golden.txt"), "{texts}");
}
