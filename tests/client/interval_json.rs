//! `--interval-json`: one line per second while the run lasts, and what becomes of them.

use super::load::expect_one_of_five;
use super::results::within;
use super::support::{Program, expect_refusal};
use super::udp::own_server;
use super::{client, server};
use multiconn::results::{Latencies, RunResults};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

fn parse(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Adds the integers of `value` and of the objects in it by their paths, without those that do not add up.
fn add_counts(value: &Value, path: &str, sums: &mut BTreeMap<String, u64>) {
    for (name, value) in value.as_object().unwrap() {
        let path = format!("{path}.{name}");
        match value {
            Value::Object(fields) if !fields.contains_key("hdr") => add_counts(value, &path, sums),
            Value::Number(number) if ![".open", ".second", ".start_s", ".seconds"].contains(&&*path) => {
                *sums.entry(path).or_default() += number.as_u64().unwrap();
            }
            _ => {}
        }
    }
}

/// Runs a load and expects that the figures of its lines add up to its results.
#[track_caller]
fn expect_sums(address: SocketAddr, arguments: &[&str]) -> (Vec<Value>, RunResults) {
    let folder = tempfile::tempdir().unwrap();
    let path = within(&folder, "lines");
    let outputs = ["--interval-json", &path, "--json", "-"];
    let exit = client(address, &[arguments, &outputs].concat()).await_exit();
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {exit:#?}"));
    let lines = parse(&std::fs::read_to_string(path).unwrap());
    let mut sums = BTreeMap::new();
    for line in &lines {
        add_counts(line, "", &mut sums);
    }
    let whole = serde_json::to_value(&results).unwrap();
    assert!(!sums.is_empty());
    for (path, sum) in &sums {
        let expected = match path.as_str() {
            ".mismatches" => whole["mismatches"]["count"].as_u64(),
            _ => path.split('.').skip(1).fold(&whole, |value, name| &value[name]).as_u64(),
        };
        assert_eq!(Some(*sum), expected.or(Some(0)), "{path}: {exit:#?}");
    }
    assert!(results.errors.keys().all(|cause| sums.contains_key(&format!(".errors.{cause}"))), "{sums:?}");
    for (name, expected) in whole["histograms"].as_object().unwrap() {
        let mut sum = Latencies::default();
        for histogram in lines.iter().filter_map(|line| line["histograms"].get(name)) {
            sum.add(&serde_json::from_value(histogram.clone()).unwrap());
        }
        assert!(sum == serde_json::from_value(expected.clone()).unwrap(), "{name}: {sum:?} and {expected}");
    }
    assert!(lines.iter().all(|line| line["format"] == "multiconn-interval/1"), "{lines:#?}");
    assert!(lines.iter().all(|line| line["run_id"] == *results.run_ids[0]), "{lines:#?}");
    assert!(results.cpu.is_some());
    (lines, results)
}

fn phases(lines: &[Value]) -> Vec<&str> {
    let mut phases: Vec<_> = lines.iter().map(|line| line["phase"].as_str().unwrap()).collect();
    phases.dedup();
    phases
}

#[test]
fn the_lines_of_a_load_add_up_to_its_results() {
    let server = server();
    let times = ["--duration", "2500ms", "--warm-up", "500ms", "--hold", "2500ms"];
    // The lines of a client that was stopped may lack a phase, or count a connection in a later second.
    expect_one_of_five(|| {
        let work = ["--rate", "500", "-c", "5", "--workers", "2"];
        let (lines, results) = expect_sums(server.address(), &[&work[..], &times].concat());
        assert_eq!(results.messages.answered, 1250);
        expect_connected(&lines);
        let has_phases = phases(&lines) == ["before_load", "load", "after_load", "end"];
        let is_open = lines.iter().any(|line| line["open"] == 5) && lines[0]["connections"]["opened"] == 5;
        if has_phases && is_open { Ok(()) } else { Err(format!("{lines:#?}")) }
    });
}

/// Expects that the seconds rise from 0, and that each line begins where the one before ended.
#[track_caller]
fn expect_connected(lines: &[Value]) {
    let seconds: Vec<_> = lines.iter().map(|line| line["second"].as_u64().unwrap()).collect();
    assert!(seconds.is_sorted_by(|one, other| one < other) && seconds[0] == 0, "{seconds:?}");
    let starts = lines.windows(2).all(|pair| {
        let end = pair[0]["start_s"].as_f64().unwrap() + pair[0]["seconds"].as_f64().unwrap();
        (pair[1]["start_s"].as_f64().unwrap() - end).abs() < 1e-9
    });
    assert!(starts, "each begins where the one before ended: {lines:#?}");
}

#[test]
fn the_lines_of_failures_add_up() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "200ms"]);
    let failing = ["--target", "127.0.0.1:1", "-c", "8", "--duration", "1500ms", "--reply-timeout", "100ms"];
    let (_, results) = expect_sums(server.address(), &failing);
    assert!(results.errors.len() >= 2, "{:?}", results.errors);
    // The tutorial's job has no common start.
    let (lines, results) = expect_sums(server.address(), &["20", "--workers", "3"]);
    let phases = phases(&lines);
    assert_eq!((results.messages.answered, phases[0], phases[phases.len() - 1]), (40, "before_load", "end"));
    let (_server, address) = own_server(&["--service", "discard"]);
    let work = ["--udp", "3", "--rate", "100", "--duration", "1500ms", "--reply-timeout", "200ms"];
    let (_, results) = expect_sums(address, &work);
    assert_eq!(results.messages.timed_out, 150, "{:?}", results.messages);
}

#[test]
fn lines_are_written_while_the_run_lasts() {
    let server = server();
    let mut program = client(server.address(), &["--duration", "1m", "--interval-json", "-"]);
    program.await_stdout("\"second\":1,");
    program.await_stdout("\"second\":2,");
    program.signal(Signal::INT);
    let exit = program.await_exit();
    assert_eq!(exit.code, Some(130), "{exit:#?}");
    let lines = parse(&exit.stdout.join("\n"));
    assert_eq!(phases(&lines), ["before_load", "load", "end"], "stdout has nothing else");
    assert!(exit.stderr.iter().any(|line| line.contains(": interrupted")), "{exit:#?}");
}

/// The run goes on, and ends with status 1.
#[test]
fn lines_that_cannot_be_written_are_reported() {
    let server = server();
    let (address, folder) = (server.address().to_string(), tempfile::tempdir().unwrap());
    let path = within(&folder, "run.json");
    let script = "(\"$0\" \"$@\"; echo \"status $?\" >&2) | head -n 1";
    let mut command = Program::client_under(&["sh", "-c", script]);
    let load = ["--rate", "10", "--duration", "6s", "--json", &path];
    let exit = Program::spawn(command.arg(&address).args(load).args(["--interval-json", "-"])).await_exit();
    assert!(exit.stderr.iter().any(|line| line == "status 1"), "{exit:#?}");
    let is_told = |line: &String| line == "error: cannot write stdout: the peer no longer reads";
    assert!(exit.stderr.iter().any(is_told) && exit.stdout.len() == 1, "{exit:#?}");
    let answered =
        |path: &str| RunResults::from_json(&std::fs::read_to_string(path).unwrap()).unwrap().messages.answered;
    assert_eq!(answered(&path), 60, "the run was complete");
    let exit = client(server.address(), &["3", "--interval-json", "/dev/full"]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stderr.iter().any(|line| line.starts_with("error: cannot write /dev/full: ")), "{exit:#?}");
    for bad in [&["--json", "-", "--interval-json", "-"][..], &["--html", &path, "--interval-json", &path]] {
        expect_refusal(client(server.address(), bad), 2, &[bad[0], "--interval-json", "both write", bad[1]]);
    }
    let nowhere = within(&folder, "none/lines");
    expect_refusal(client(server.address(), &["--interval-json", &nowhere]), 2, &["none/lines"]);
    for other in [&["--stdin"][..], &["--find-max", "p99<1ms"]] {
        for live in [["--interval-json", "-"], ["--stop-if", "errors>0"]] {
            expect_refusal(client(server.address(), &[other, &live].concat()), 2, &[other[0], live[0]]);
        }
    }
}

/// `docs/results-format.md` names every key of a line.
#[test]
fn every_key_of_a_line_is_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/results-format.md")).unwrap();
    let (_, rest) = page.split_once("\n## Lines of --interval-json\n").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let (_server, address) = own_server(&[]);
    let (lines, _) = expect_sums(address, &["--udp", "2", "--rate", "10", "--duration", "300ms"]);
    for key in lines.iter().flat_map(|line| line.as_object().unwrap().keys()) {
        assert!(section.contains(&format!("`{key}`")), "{key} is not documented");
    }
}
