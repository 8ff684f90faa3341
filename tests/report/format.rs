//! The format of result files: every field is documented, and files of version 1 are read.

use super::support::{PATIENCE, Program};
use super::{file, report, text_file};
use multiconn::results::{LoadKind, PortSearch, ReplyCheck, RunResults, Threshold, Verdict, merge};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Objects whose keys are names of options, causes or targets.
const FREE: [&str; 3] = ["configuration", "errors", "failed_by_target"];

/// Paths of all fields of a result. A histogram is `histogram` wherever it stands, and `after_load` an interval.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Array(values) => values.iter().for_each(|value| paths(value, path, found)),
        Value::Object(fields) if fields.contains_key("hdr") && path != "histogram" => paths(value, "histogram", found),
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(at(name));
                match name.as_str() {
                    name if FREE.contains(&name) => {}
                    // Its keys are addresses.
                    "peers" => {
                        value.as_object().into_iter().flatten().for_each(|(_, value)| paths(value, &at(name), found));
                    }
                    "after_load" => paths(value, "intervals", found),
                    name => paths(value, &at(name), found),
                }
            }
        }
        _ => {}
    }
}

/// Paths of the fields in the tables of docs/results-format.md.
fn documented() -> BTreeSet<String> {
    let page: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "results-format.md"].iter().collect();
    let text = std::fs::read_to_string(page).unwrap();
    let (mut prefix, mut is_of_fields, mut found) = ("", false, BTreeSet::new());
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            prefix = match heading {
                "Machine" => "machine.",
                "Load" => "load.",
                "Intervals" => "intervals.",
                _ => "",
            };
        } else if line.starts_with("| field |") {
            is_of_fields = true;
            prefix = match line {
                "| field | from | to |" => "histograms.",
                _ if prefix == "histograms." => "histogram.",
                _ => prefix,
            };
        } else if !line.starts_with('|') {
            is_of_fields = false;
        } else if is_of_fields {
            let names = line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2);
            found.extend(names.map(|name| format!("{prefix}{name}")));
        }
    }
    found
}

/// The result of the client as JSON.
fn run(arguments: &[&str]) -> Value {
    let exit = Program::client(&[arguments, &["--json", "-"]].concat()).await_exit();
    serde_json::from_str(exit.stdout.last().unwrap_or_else(|| panic!("{exit:#?}"))).unwrap()
}

/// Several runs are needed to see all optional fields.
#[test]
fn every_field_is_documented() {
    // Replies arrive after the end of the load.
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "300ms"]);
    let target = server.address().to_string();
    let mut found = BTreeSet::new();
    let load = ["-c", "4", "--rate", "40..60", "--duration", "700ms", "--connect-timeout", "10s"];
    for arguments in [
        &[&load[..], &["--shard", "0/1", "--target", &target, "--target", "127.0.0.1:1"]].concat()[..],
        &["--expect", "any", "--start-at", "+3s", &target],
        &["--duration", "30s", "--stop-if", "rate>0", &target],
    ] {
        paths(&run(arguments), "", &mut found);
    }
    let admin = Program::server(&["127.0.0.1", "0", "--metrics", "127.0.0.1:0"]);
    let line = admin.await_stdout(", metrics)");
    let pages = line.split(" (").next().unwrap().trim_start_matches("Listening on ");
    let request = r"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    paths(&run(&[pages, "--frame", "http", "--message", request]), "", &mut found);
    let server = Program::server(&["--udp", "", "0"]);
    let line = server.await_stdout(" (udp, ");
    let port = line.split(' ').nth(2).unwrap().rsplit(':').next().unwrap().to_owned();
    let group = ["--udp", "--broadcast", "127.255.255.255", &port, "--reply-timeout", "10s"];
    paths(&run(&group), "", &mut found);
    let folder = tempfile::tempdir().unwrap();
    let parts = ["a.json", "b.json"].map(|name| {
        let mut run = run(&[&target]);
        // It takes thousands of sockets.
        run["connections"]["port_search"] = json!(PortSearch::default());
        text_file(&folder, name, &run.to_string())
    });
    let merged = report(&["merge", &parts[0], &parts[1]]);
    paths(&serde_json::from_str(&merged.stdout[0]).unwrap(), "", &mut found);
    let search = ["--find-max", "p50<200ms", "--rate", "200..200", "--find-width", "20%", "--find-budget", "20s"];
    // On a busy machine a search may find nothing.
    let mut searches = (0..5).map(|_| run(&[&["--embedded", "--duration", "1s"], &search[..]].concat()));
    let confirmed = searches.find(|run| run["find_max"]["confirmed"] == true).expect("one of five is confirmed");
    paths(&confirmed, "", &mut found);
    let documented = documented();
    let differ: Vec<_> = found.symmetric_difference(&documented).collect();
    assert!(differ.is_empty(), "in a result or in the documentation, not in both: {differ:?}");
    assert!(found.contains("histogram.p99_9_ns") && found.contains("intervals.answered"), "{found:?}");
    let is_identifier = |path: &String| path.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
    assert!(found.iter().all(is_identifier), "{found:?}");
    assert!(PATIENCE.as_secs() > 1);
}

/// A file that version 1 wrote.
fn version_1(name: &str) -> (String, RunResults) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/data");
    let path = folder.join(format!("version-1-{name}.json")).to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"multiconn-run/1\""));
    (path, RunResults::from_json(&text).unwrap())
}

#[test]
fn version_1_is_read() {
    let (path, results) = version_1("tcp");
    let (messages, times) = (&results.messages, &results.histograms);
    assert_eq!((results.load.kind, results.reply_check), (LoadKind::Open, ReplyCheck::Compared));
    assert_eq!((messages.due, messages.sent, messages.answered), (Some(3000), 3000, 2998));
    assert_eq!((messages.lost, messages.wrong, messages.unanswered()), (1, 1, 2));
    assert_eq!((results.connections.completed, results.connections.failed), (6, 2));
    assert_eq!((results.bytes.sent, results.bytes.received), (192_000, 191_872));
    assert_eq!((results.errors["mismatch"], results.errors["reset"], results.mismatches.count), (1, 1, 1));
    assert_eq!((times.response_time.count(), times.service_time.count(), times.send_delay.count()), (2998, 2998, 3000));
    assert!(!times.loop_round.is_empty() && results.machine.kernel.is_some() && !results.valid);
    assert_eq!(results.intervals.iter().map(|interval| interval.answered).sum::<u64>(), 2998);
    let exit = report(&["show", &path]);
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    for line in [
        "  messages     3,000 due, 3,000 sent, 2,998 answered and verified, 300 /s",
        "  unanswered   0 timed out, 0 pending, 1 lost, 1 wrong",
        "  mismatches   1",
    ] {
        assert!(exit.stdout.iter().any(|shown| shown == line), "{line}: {exit:#?}");
    }
    let table: Vec<_> = exit.stdout.iter().skip_while(|line| !line.starts_with("  latency")).collect();
    assert!(table[1].starts_with("    response         183 µs"), "{exit:#?}");
    // Nothing is known about the lateness of that client, except for how late it sent.
    let has = |start: &str| table.iter().any(|line| line.starts_with(start));
    let is_old = has("    service ") && has("    send delay ") && has("    loop round ");
    assert!(is_old && !has("    client ") && !has("      at least "), "{exit:#?}");
    assert!(!table.iter().any(|line| line.contains('!')), "{exit:#?}");
}

#[test]
fn version_1_of_datagrams_is_read() {
    let (path, results) = version_1("udp");
    let (messages, datagrams) = (&results.messages, results.datagrams.as_ref().unwrap());
    assert_eq!((messages.answered, messages.timed_out, messages.lost, messages.wrong), (1976, 20, 0, 4));
    assert_eq!((datagrams.duplicated, results.errors["reply_timeout"], results.errors["corrupt"]), (20, 20, 4));
    assert!(!results.is_success());
    assert_eq!(report(&["show", &path]).code, Some(0));
}

/// Version 1 had one text for all targets, and two names for a failed receive call of which one remains.
#[test]
fn targets_and_causes_of_version_1_are_converted() {
    let (path, _) = version_1("udp");
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(value["target"].is_string());
    value["target"] = "[::1]:1, a.sock".into();
    value["errors"] = json!({ "lost": 1, "receive_enobufs": 3, "not_received_enobufs": 4 });
    let results = RunResults::from_json(&value.to_string()).unwrap();
    assert_eq!(results.targets, ["[::1]:1", "a.sock"]);
    assert_eq!((results.errors["not_received_enobufs"], results.errors.len()), (7, 2));
    let mut current = results.clone();
    current.run_ids = vec!["another".to_owned()];
    assert_eq!(merge(&[results, current]).unwrap().targets, ["[::1]:1", "a.sock"]);
}

#[test]
fn version_1_is_compared_merged_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let (path, results) = version_1("tcp");
    let current = file(&folder, "current.json", &results);
    assert!(std::fs::read_to_string(&current).unwrap().contains("\"multiconn-run/2\""));
    let exit = report(&["compare", &path, &current]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let verdicts: Vec<_> = exit.stdout.iter().filter(|line| line.ends_with("  within the noise")).collect();
    assert_eq!(verdicts.len(), 4, "{exit:#?}");
    let other = std::fs::read_to_string(&path).unwrap().replace(&results.run_ids[0], "another");
    let other = text_file(&folder, "other.json", &other);
    let exit = report(&["merge", &path, &other]);
    let merged = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!((merged.runs, merged.messages.wrong, merged.messages.answered), (2, 2, 5996));
    let exit = report(&["html", &path]);
    assert!(exit.code == Some(0) && exit.stdout.iter().any(|line| line.contains("response time")), "{exit:#?}");
    assert_eq!(merge(std::slice::from_ref(&results)).map(|merged| merged.messages), Ok(results.messages));
}

/// Thresholds have the names of both versions.
#[test]
fn thresholds_of_version_1_hold() {
    let (_, results) = version_1("tcp");
    for (old, new) in [("send.p99<1h", "service.p99<1h"), ("lag.p50>1ns", "send_delay.p50>1ns")] {
        for text in [old, new] {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(threshold.evaluate(&results).verdict, Verdict::Crossed, "{text}");
        }
    }
    for text in ["lost==2", "unanswered==2", "timeouts==0", "timed_out==0"] {
        let threshold: Threshold = text.parse().unwrap();
        assert_eq!(threshold.evaluate(&results).verdict, Verdict::Crossed, "{text}");
    }
}
