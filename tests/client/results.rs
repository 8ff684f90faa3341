//! The files of a run, and the thresholds: what is written, for whom, and with which exit status.

use super::support::{Program, await_until, expect_refusal, has_python, skipped};
use super::{client, server};
use multiconn::results::{Latencies, RunResults};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// A path within `folder`, as an argument.
fn within(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn read(path: &str) -> RunResults {
    RunResults::from_json(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_record_of_a_run_is_complete() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let path = within(&folder, "run.json");
    let exit = client(server.address(), &["20", "--messages", "10", "--pipeline", "2", "--json", &path]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout[0].starts_with("20 connections to "), "the summary stays: {exit:#?}");
    let record = read(&path);
    assert_eq!((record.connections.wanted, record.connections.opened, record.connections.verified), (20, 20, 20));
    assert_eq!((record.messages.sent, record.messages.verified, record.bytes.verified), (200, 200, 4400));
    assert_eq!((record.latency().count(), record.histograms.connect.count()), (200, 20));
    assert_eq!(record.target, server.address().to_string());
    assert!(record.valid && !record.interrupted && record.measured_s > 0.0 && record.rate() > 0.0, "{record:?}");
    assert!(record.environment.kernel.is_some() && record.environment.descriptor_limit.is_some(), "{record:?}");
    let option = |name| record.configuration.get(name).cloned();
    assert_eq!(option("port"), Some(Value::from(server.address().port())));
    assert_eq!((option("num-connections"), option("pipeline")), (Some(Value::from(20)), Some(Value::from(2))));
    // Defaults are part of it.
    assert_eq!(option("reply-timeout"), Some(Value::from("10s")));
    let started = std::time::SystemTime::UNIX_EPOCH + record.started.since_1970();
    assert!(started.elapsed().is_ok_and(|age| age.as_secs() < 60), "{}", record.started);
}

#[test]
fn on_stdout_the_record_stands_alone() {
    let server = server();
    let exit = client(server.address(), &["3", "--json", "-"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let record = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!(record.messages.verified, 6);
    assert!(exit.stderr[0].starts_with("3 connections to "), "people read on: {exit:#?}");
    let exit = client(server.address(), &["3", "--json", "-", "-q"]).await_exit();
    assert!(RunResults::from_json(&exit.stdout.join("\n")).is_ok() && exit.stderr.is_empty(), "{exit:#?}");
}

#[test]
fn causes_are_counted_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "run.json");
    // Bound, and not listening.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let exit = client(closed, &["5", "--json", &path]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let record = read(&path);
    assert_eq!((record.errors.get("refused"), record.connections.failed), (Some(&5), 5));
    assert!(!record.is_success());
}

#[test]
fn datagrams_have_a_record_too() {
    let server = Program::server(&["--udp", "127.0.0.1", "0"]);
    let line = server.await_stdout("(udp, ");
    let address = line.strip_prefix("Listening on ").unwrap().split(' ').next().unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "run.json");
    let exit = client(address, &["3", "--udp", "--messages", "5", "--json", &path, "--fail-if", "p50>1h"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let record = read(&path);
    assert_eq!((record.connections.opened, record.messages.verified, record.latency().count()), (3, 15, 15));
    assert!(record.is_success());
}

#[test]
fn the_tools_of_others_read_the_files() {
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
        let record = read(&json);
        let p99 = |latencies: &Latencies| latencies.at(0.99).unwrap().as_nanos();
        let words: Vec<Vec<&str>> = exit.stdout.iter().map(|line| line.split(' ').collect()).collect();
        let names: Vec<_> = words.iter().map(|words| words[0]).collect();
        // Both latencies are in the log, where there are two.
        let expected = ["json", "hgrm", "log", "from_send"];
        assert_eq!(names, expected[..if schedule.is_empty() { 3 } else { 4 }]);
        for words in &words {
            assert_eq!(words[1], "5000", "{words:?}");
        }
        let main = p99(record.latency());
        assert_eq!((words[0][2], words[2][2]), (&*main.to_string(), &*main.to_string()));
        // The distribution has its steps beside the 99 %, the next one not far above.
        let stepped: u128 = words[1][2].parse().unwrap();
        assert!(stepped >= main, "{stepped} {main}");
        if let Some(tagged) = words.get(3) {
            assert_eq!(tagged[2], p99(&record.histograms.latency_from_send).to_string());
        }
    }
}

#[test]
fn the_page_is_written() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let path = within(&folder, "run.html");
    std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
    assert_eq!(client(server.address(), &["--html", &path]).await_exit().code, Some(0));
    let html = std::fs::read_to_string(&path).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"), "nothing is left of what was there");
    assert!(html.contains("Latency by percentile"));
}

#[test]
fn crossed_thresholds_end_with_a_status_of_their_own() {
    let server = server();
    let thresholds = ["--fail-if", "p99>1ns", "--fail-if", "errors>0", "--fail-if", "send.max < 1h"];
    let exit = client(server.address(), &[&["10"], &thresholds[..]].concat()).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(3), 2), "{exit:#?}");
    assert!(exit.stderr[0].starts_with("✗ p99 is ") && exit.stderr[0].ends_with(", which is > 1 ns"), "{exit:#?}");
    assert!(exit.stderr[1].starts_with("✗ send.max is ") && exit.stderr[1].ends_with(", which is < 1 h"), "{exit:#?}");
    // The report has them all, in their order.
    let judged = &exit.stdout[exit.stdout.len() - 3..];
    assert!(judged[0].starts_with("  thresholds   ✗ p99 is "), "{exit:#?}");
    assert_eq!(judged[1], "               ✓ errors is 0, not > 0");
    assert!(judged[2].starts_with("               ✗ send.max is "), "{exit:#?}");
    // Where that is on stderr, nothing stands there twice.
    let exit = client(server.address(), &["10", "--json", "-", "--fail-if", "p99>1ns"]).await_exit();
    assert_eq!((exit.code, exit.told(&["✗ p99 is "])), (Some(3), 1), "{exit:#?}");
    let exit = client(server.address(), &["10", "--fail-if", "p99>1h", "--fail-if", "rate<1"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!(exit.stdout.iter().filter(|line| line.contains("✓ ")).count(), 2, "{exit:#?}");
    // What was not measured must not pass.
    let exit = client(server.address(), &["10", "--fail-if", "lag.p99>1ms", "-q"]).await_exit();
    assert_eq!((exit.code, exit.stdout.len(), exit.stderr.len()), (Some(3), 0, 1), "{exit:#?}");
    assert_eq!(exit.stderr[0], "? lag.p99 was not measured, so that it cannot be compared");
}

#[test]
fn a_threshold_wins_over_a_failure() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(client(closed, &["--fail-if", "errors>0"]).await_exit().code, Some(3));
    assert_eq!(client(closed, &["--fail-if", "errors>1"]).await_exit().code, Some(1));
}

#[test]
fn what_cannot_be_written_or_asked_is_refused_before_the_run() {
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
    // A refused command line leaves no empty file behind, and an old one as it was.
    let (new, old) = (within(&folder, "new.json"), within(&folder, "old.json"));
    std::fs::write(&old, "old").unwrap();
    expect_refusal(client(address, &["--json", &new, "--hgrm", &old, "--html", &nowhere]), 2, &[&nowhere]);
    assert!(!Path::new(&new).exists());
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "old");
}

#[test]
fn an_interrupted_run_is_kept_and_not_judged() {
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
    let judged = "  thresholds   ? p99>1ns was not judged: the run was interrupted";
    assert_eq!(exit.stdout.last().map(String::as_str), Some(judged), "{exit:#?}");
    assert!(read(&path).interrupted);
}

/// Holding and closing connections are no interval, and do not lower a rate.
#[test]
fn the_measured_time_ends_with_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "run.json");
    let run = |arguments: &[&str]| {
        let exit = Program::client(&[&["--embedded", "--json", &path], arguments].concat()).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let record = read(&path);
        let covered: f64 = record.intervals.iter().map(|interval| interval.seconds).sum();
        assert!((covered - record.measured_s).abs() < 1e-6, "{covered} {}", record.measured_s);
        let replies: u64 = record.intervals.iter().map(|interval| interval.replies).sum();
        assert_eq!(replies, record.messages.verified);
        record
    };
    for load in [&["--rate", "1k"][..], &["--pipeline", "1"]] {
        let record = run(&[&["-c", "50", "--duration", "2s"], load].concat());
        assert_eq!(record.intervals.len(), 2, "{:?}", record.intervals);
    }
    let record = run(&["-c", "5", "--messages", "20", "--hold", "2s"]);
    assert!(record.duration_s >= 2.0 && record.measured_s < 2.0, "{} {}", record.duration_s, record.measured_s);
    assert!(record.rate() > 50.0, "{}", record.rate());
}

#[test]
fn each_run_has_an_id_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.json", "b.json"].map(|name| within(&folder, name));
    for (path, transport) in [(&a, &[][..]), (&b, &[]), (&b, &["--udp"])] {
        let server = Program::server(&[&["127.0.0.1", "0"], transport].concat());
        let line = server.await_stdout("Listening on ");
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(client(address, &[&["--json", path], transport].concat()).await_exit().code, Some(0));
        let record = read(path);
        assert!(record.run_ids.len() == 1 && record.run_ids[0].len() == 32, "{:?}", record.run_ids);
        if transport.is_empty() && path == &b {
            assert_ne!(record.run_ids, read(&a).run_ids);
            let exit = Program::report(&["merge", &a, &b]).await_exit();
            assert_eq!((exit.code, exit.stderr.len()), (Some(0), 1), "they were not there at the same time: {exit:#?}");
        }
    }
    expect_refusal(Program::report(&["merge", &a, &a]), 1, &["a.json", "the same run"]);
    expect_refusal(Program::report(&["merge", &a, &b]), 1, &["a.json is of TCP", "b.json of UDP"]);
}

/// Where nothing was sent, nothing can be wrong; that is no success.
#[test]
fn a_run_that_measured_nothing_fails() {
    for load in [
        &["--rate", "0.001", "--arrivals", "poisson", "--duration", "100ms"][..],
        &["--messages", "2", "--warm-up", "100ms", "--duration", "100ms"],
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
