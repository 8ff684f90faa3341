//! Result files and thresholds: contents and exit status.

use super::fake_server::deaf;
use super::support::{Program, await_until, expect_refusal, has_python, skipped};
use super::{client, server};
use multiconn::results::{Latencies, RunResults};
use rustix::process::Signal;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::Path;
use tempfile::TempDir;

/// A path within `folder`, as an argument.
pub(crate) fn within(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn read(path: &str) -> RunResults {
    RunResults::from_json(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_results_of_a_run_are_complete() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let path = within(&folder, "run.json");
    let exit = client(server.address(), &["20", "--messages", "10", "--pipeline", "2", "--json", &path]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout[0].starts_with("20 connections to "), "the summary stays: {exit:#?}");
    let results = read(&path);
    assert_eq!(
        (results.connections.requested, results.connections.opened, results.connections.completed),
        (20, 20, 20)
    );
    assert_eq!((results.messages.sent, results.messages.answered, results.bytes.received), (200, 200, 4400));
    assert_eq!((results.latency().count(), results.histograms.connect.count()), (200, 20));
    assert_eq!(results.targets, [server.address().to_string()]);
    assert!(results.valid && !results.interrupted && results.measured_s > 0.0 && results.rate() > 0.0, "{results:?}");
    assert!(results.machine.kernel.is_some() && results.machine.descriptor_limit.is_some(), "{results:?}");
    let option = |name| results.configuration.get(name).cloned();
    assert_eq!(option("port"), Some(Value::from(server.address().port())));
    assert_eq!((option("num-connections"), option("pipeline")), (Some(Value::from(20)), Some(Value::from(2))));
    // Defaults are included.
    assert_eq!(option("reply-timeout"), Some(Value::from("10s")));
    let started = std::time::SystemTime::UNIX_EPOCH + results.started.since_1970();
    assert!(started.elapsed().is_ok_and(|age| age.as_secs() < 60), "{}", results.started);
}

#[test]
fn results_on_stdout_are_the_only_output() {
    let server = server();
    let exit = client(server.address(), &["3", "--json", "-"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert_eq!(exit.stdout.len(), 1, "one line: {exit:#?}");
    let results = RunResults::from_json(&exit.stdout[0]).unwrap();
    assert_eq!(results.messages.answered, 6);
    assert!(exit.stderr[0].starts_with("3 connections to "), "people read on: {exit:#?}");
    let exit = client(server.address(), &["3", "--json", "-", "-q"]).await_exit();
    assert!(RunResults::from_json(&exit.stdout.join("\n")).is_ok() && exit.stderr.is_empty(), "{exit:#?}");
}

#[test]
fn causes_are_counted_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "run.json");
    let (_socket, closed) = deaf(Ipv4Addr::LOCALHOST);
    let exit = client(closed, &["5", "--json", &path]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let results = read(&path);
    assert_eq!((results.errors.get("refused"), results.connections.failed), (Some(&5), 5));
    assert!(!results.is_success());
}

#[test]
fn udp_runs_have_results_too() {
    let server = Program::server(&["--udp", "127.0.0.1", "0"]);
    let address = server.address_of("(udp, ");
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "run.json");
    let work = ["3", "--udp", "--messages", "5", "--reply-timeout", "10s", "--json", &path, "--fail-if", "p50>1h"];
    let exit = client(address, &work).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let results = read(&path);
    assert_eq!((results.connections.opened, results.messages.answered, results.latency().count()), (3, 15, 15));
    assert!(results.is_success());
}

#[test]
fn external_tools_read_the_files() {
    const WHAT: &str = "the results read by Python's hdrhistogram";
    if !has_python(WHAT) {
        return;
    }
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let [json, hgrm, log] = ["run.json", "run.hgrm", "run.hlog"].map(|name| within(&folder, name));
    let files = ["50", "--messages", "100", "--json", &json, "--hgrm", &hgrm, "--hdr-log", &log];
    for schedule in [&[][..], &["--rate", "5k"]] {
        let exit = client(server.address(), &[&files[..], schedule].concat()).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let exit = Program::python("read_results.py", &[&json, &hgrm, &log]).await_exit();
        if exit.code == Some(3) {
            return skipped(WHAT, "the package is not here (pip install hdrhistogram)");
        }
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let results = read(&json);
        let p99 = |latencies: &Latencies| latencies.at(0.99).unwrap().as_nanos();
        let words: Vec<Vec<&str>> = exit.stdout.iter().map(|line| line.split(' ').collect()).collect();
        let names: Vec<_> = words.iter().map(|words| words[0]).collect();
        // Without a schedule the log has no other times than the service time, except with kernel timestamps.
        assert_eq!(names[..3], ["json", "hgrm", "log"]);
        let tags = &names[3..];
        let has = |tag: &str| tags.contains(&tag);
        assert!(
            tags.is_sorted() && has("service_time") != schedule.is_empty() && has("ceiling") != schedule.is_empty()
        );
        for words in &words {
            assert_eq!(words[1], "5000", "{words:?}");
        }
        let main = p99(results.latency());
        assert_eq!((words[0][2], words[2][2]), (&*main.to_string(), &*main.to_string()));
        // The distribution has a step at 99 %, and the next one is not far above.
        let stepped: u128 = words[1][2].parse().unwrap();
        assert!(stepped >= main, "{stepped} {main}");
        if let Some(tagged) = words.iter().find(|words| words[0] == "service_time") {
            assert_eq!(tagged[2], p99(&results.histograms.service_time).to_string());
        }
    }
}

#[test]
fn the_html_report_is_written() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let path = within(&folder, "run.html");
    std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
    assert_eq!(client(server.address(), &["--html", &path]).await_exit().code, Some(0));
    let html = std::fs::read_to_string(&path).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"), "nothing is left of what was there");
    assert!(html.contains("Latency by percentile"));
}

#[test]
fn crossed_thresholds_have_an_exit_status_of_their_own() {
    let server = server();
    let thresholds = ["--fail-if", "p99>1ns", "--fail-if", "errors>0", "--fail-if", "send.max < 1h"];
    let exit = client(server.address(), &[&["10"], &thresholds[..]].concat()).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(3), 2), "{exit:#?}");
    assert!(exit.stderr[0].starts_with("✗ p99 is ") && exit.stderr[0].ends_with(", which is > 1 ns"), "{exit:#?}");
    assert!(exit.stderr[1].starts_with("✗ send.max is ") && exit.stderr[1].ends_with(", which is < 1 h"), "{exit:#?}");
    // The report lists all thresholds, in their order.
    let evaluated = &exit.stdout[exit.stdout.len() - 3..];
    assert!(evaluated[0].starts_with("  thresholds   ✗ p99 is "), "{exit:#?}");
    assert_eq!(evaluated[1], "               ✓ errors is 0, not > 0");
    assert!(evaluated[2].starts_with("               ✗ send.max is "), "{exit:#?}");
    // When the report is on stderr, nothing is printed twice.
    let exit = client(server.address(), &["10", "--json", "-", "--fail-if", "p99>1ns"]).await_exit();
    assert_eq!((exit.code, exit.told(&["✗ p99 is "])), (Some(3), 1), "{exit:#?}");
    let exit = client(server.address(), &["10", "--fail-if", "p99>1h", "--fail-if", "rate<1"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!(exit.stdout.iter().filter(|line| line.contains("✓ ")).count(), 2, "{exit:#?}");
    // A value that was not measured must not pass.
    let exit = client(server.address(), &["10", "--fail-if", "lag.p99>1ms", "-q"]).await_exit();
    assert_eq!((exit.code, exit.stdout.len(), exit.stderr.len()), (Some(3), 0, 1), "{exit:#?}");
    assert_eq!(exit.stderr[0], "? lag.p99 was not measured");
}

#[test]
fn a_threshold_wins_over_a_failure() {
    let (_socket, closed) = deaf(Ipv4Addr::LOCALHOST);
    assert_eq!(client(closed, &["--fail-if", "errors>0"]).await_exit().code, Some(3));
    assert_eq!(client(closed, &["--fail-if", "errors>1"]).await_exit().code, Some(1));
}

#[test]
fn invalid_outputs_and_thresholds_are_rejected_before_the_run() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let address = server.address();
    let nowhere = within(&folder, "no/run.json");
    expect_refusal(client(address, &["--json", &nowhere]), 2, &[&nowhere, "no such file or folder"]);
    let inside = folder.path().to_str().unwrap();
    expect_refusal(client(address, &["--html", inside]), 2, &[inside]);
    for bad in ["p99>2", "p99", "speed>1", "errors>few", "rate<fast"] {
        let line = expect_refusal(client(address, &["--fail-if", bad]), 2, &[&format!("{bad:?}"), "p99>2ms"]);
        assert!(line.contains("--fail-if"), "{line}");
    }
    // A rejected command line creates no file, and leaves an existing one unchanged.
    let (new, old) = (within(&folder, "new.json"), within(&folder, "old.json"));
    std::fs::write(&old, "old").unwrap();
    expect_refusal(client(address, &["--json", &new, "--hgrm", &old, "--html", &nowhere]), 2, &[&nowhere]);
    assert!(!Path::new(&new).exists());
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "old");
}

#[test]
fn an_interrupted_run_is_stored_and_not_validated() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let path = within(&folder, "run.json");
    let mut program = client(server.address(), &["5", "--hold", "1h", "--json", &path, "--fail-if", "p99>1ns", "-v"]);
    await_until("five connections", || {
        program.stderr().iter().filter(|line| line.starts_with("Starting")).count() == 5
    });
    program.signal(Signal::INT);
    let exit = program.await_exit();
    assert_eq!(exit.code, Some(130), "{exit:#?}");
    assert!(!exit.stderr.iter().any(|line| line.contains("which is")), "{exit:#?}");
    let evaluated = "  thresholds   ? p99>1ns was not evaluated: the run was interrupted";
    assert_eq!(exit.stdout.last().map(String::as_str), Some(evaluated), "{exit:#?}");
    assert!(read(&path).interrupted);
}

/// Holding and closing connections adds no interval, and does not lower the rate.
#[test]
fn the_measured_time_ends_with_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "run.json");
    let run = |arguments: &[&str]| {
        let exit = Program::client(&[&["--embedded", "--json", &path], arguments].concat()).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let results = read(&path);
        let covered: f64 = results.intervals.iter().map(|interval| interval.seconds).sum();
        assert!((covered - results.measured_s).abs() < 1e-6, "{covered} {}", results.measured_s);
        let replies: u64 = results.intervals.iter().chain(&results.after_load).map(|interval| interval.answered).sum();
        assert_eq!(replies, results.messages.answered);
        results
    };
    for load in [&["--rate", "1k"][..], &["--pipeline", "1"]] {
        let results = run(&[&["-c", "50", "--duration", "2s"], load].concat());
        // A late client sends for longer.
        let is_late = results.measured_s > 2.1;
        assert!(is_late || results.intervals.len() == 2, "{:?}", results.intervals);
        assert!((2.0..10.0).contains(&results.measured_s), "{}", results.measured_s);
    }
    let results = run(&["-c", "5", "--messages", "20", "--hold", "5s"]);
    assert!(results.duration_s >= 5.0 && results.measured_s < 5.0, "{} {}", results.duration_s, results.measured_s);
    assert!(results.rate() > 20.0, "{}", results.rate());
}

#[test]
fn each_run_has_a_unique_id() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.json", "b.json"].map(|name| within(&folder, name));
    for (path, transport) in [(&a, &[][..]), (&b, &[]), (&b, &["--udp", "--reply-timeout", "10s"])] {
        let server = Program::server(&[&["127.0.0.1", "0"], &transport[..transport.len().min(1)]].concat());
        let line = server.await_stdout("Listening on ");
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(client(address, &[&["--json", path], transport].concat()).await_exit().code, Some(0));
        let results = read(path);
        assert!(results.run_ids.len() == 1 && results.run_ids[0].len() == 32, "{:?}", results.run_ids);
        if transport.is_empty() && path == &b {
            assert_ne!(results.run_ids, read(&a).run_ids);
            let exit = Program::report(&["merge", &a, &b]).await_exit();
            assert_eq!((exit.code, exit.stderr.len()), (Some(0), 1), "they were not there at the same time: {exit:#?}");
        }
    }
    expect_refusal(Program::report(&["merge", &a, &a]), 1, &["a.json", "the same run"]);
    expect_refusal(Program::report(&["merge", &a, &b]), 1, &["a.json is of TCP", "b.json of UDP"]);
}

/// A run that sent nothing is no success.
#[test]
fn a_run_that_measured_nothing_fails() {
    for load in [
        &["--rate", "0.001", "--arrivals", "poisson", "--duration", "100ms"][..],
        &["--messages", "2", "--warm-up", "1m", "--duration", "100ms"],
    ] {
        for quiet in [&[][..], &["-q"]] {
            let exit = Program::client(&[&["--embedded"], load, quiet].concat()).await_exit();
            assert_eq!(exit.code, Some(1), "{exit:#?}");
            assert!(exit.stdout.iter().any(|line| line.ends_with(": nothing was measured")), "{exit:#?}");
        }
    }
    let exit =
        Program::client(&["--embedded", "--expect", "none", "--rate", "100", "--duration", "100ms"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.ends_with(": every message was sent")), "{exit:#?}");
}

#[test]
fn a_load_that_runs_out_of_messages_says_how_long_it_was() {
    let exit = Program::client(&["--embedded", "--messages", "10", "--duration", "1h"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let text = exit.stdout.join(" ");
    let words: Vec<_> = text.split_whitespace().collect();
    assert!(words.windows(4).any(|part| part == ["of", "at", "most", "1"]), "{exit:#?}");
}
