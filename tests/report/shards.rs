//! `multiconn-report merge` as the collector of a load over several machines: results among the lines of logs.

use super::support::{Exit, Program, expect_refusal};
use super::{file, sample, text_file};
use multiconn::client::Shard;
use multiconn::results::RunResults;
use std::io::Write;
use std::process::Stdio;
use tempfile::TempDir;

/// The results of all shards of a load.
fn shards(count: usize) -> Vec<RunResults> {
    let of = |index: usize| {
        let mut results = sample(8, 100 + index as u64);
        results.shard = Some(Shard { index, count });
        results.configuration.set("shard", format!("{index}/{count}"));
        results.machine.host = Some(format!("load-{index}"));
        results
    };
    (0..count).map(of).collect()
}

/// Starts `multiconn-report` with these arguments, and with `input` on a pipe as stdin.
fn start(input: &[u8], arguments: &[&str]) -> Program {
    let (program, stdin) = Program::spawn_reading(Program::report_command().args(arguments), Stdio::piped());
    let mut stdin = stdin.unwrap();
    // A program that refuses its input does not read the rest.
    let _ = stdin.write_all(input);
    program
}

fn read(input: &str, arguments: &[&str]) -> Exit {
    start(input.as_bytes(), arguments).await_exit()
}

fn lines(runs: &[RunResults]) -> String {
    runs.iter().map(RunResults::to_json_line).collect()
}

#[test]
fn any_number_of_results_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let runs = shards(5);
    let of_one_line = read(&lines(&runs), &["merge", "-"]);
    assert_eq!((of_one_line.code, of_one_line.stderr.len()), (Some(0), 0), "{of_one_line:#?}");
    let merged = RunResults::from_json(&of_one_line.stdout[0]).unwrap();
    assert_eq!((merged.runs, merged.load.rate, merged.connections.requested), (5, Some(2500.0), 50));
    let pretty: String = runs.iter().map(RunResults::to_json).collect();
    let spaced = pretty.replace('\n', "\r\n\r\n");
    let mixed = runs[..2].iter().map(RunResults::to_json).collect::<String>() + "\n" + &lines(&runs[2..]);
    for other in [&pretty, &spaced, &mixed, &format!("\u{feff}{pretty}")] {
        assert_eq!(read(other, &["merge", "-"]).stdout, of_one_line.stdout);
    }
    // Files hold any number, too.
    let (first, second) =
        (text_file(&folder, "two", &lines(&runs[..2])), text_file(&folder, "three", &lines(&runs[2..])));
    let exit = Program::report(&["merge", &first, &second]).await_exit();
    assert_eq!(exit.stdout, of_one_line.stdout);
}

/// The whole of a load is reported, written and checked.
#[test]
fn the_whole_of_the_shards_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all.json").to_str().unwrap().to_owned();
    let input = lines(&shards(3));
    let merge = ["merge", "-", "--shards", "3", "--json", &all];
    let exit = read(&input, &[&merge[..], &["--fail-if", "p99>1s", "--fail-if", "rate<1499"]].concat());
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!(exit.stdout[0], "30 connections to 127.0.0.1:65432: every reply was correct");
    assert!(exit.stdout.iter().any(|line| line.contains("3 runs merged")), "{exit:#?}");
    assert!(exit.stdout.last().unwrap().contains("✓ rate is 1.50 k/s"), "{exit:#?}");
    let merged = RunResults::from_json(&std::fs::read_to_string(&all).unwrap()).unwrap();
    assert_eq!((merged.runs, merged.shard, merged.messages.answered), (3, None, 12_000));
    // A threshold that no shard crosses by itself.
    let exit = read(&input, &[&merge[..], &["--fail-if", "rate>600"]].concat());
    assert_eq!(exit.code, Some(3), "{exit:#?}");
    assert!(exit.stderr[0].contains("✗ rate is 1.50 k/s"), "{exit:#?}");
    let exit = read(&input, &["merge", "-", "--shards", "3", "--fail-if", "connect.p99>1s"]);
    assert_eq!((exit.code, exit.stdout.len(), exit.stderr.len()), (Some(3), 1, 1), "not measured: {exit:#?}");
}

/// As `kubectl logs` prints them, with and without a prefix of each line.
#[test]
fn results_are_found_among_the_lines_of_logs() {
    let runs = shards(3);
    let log = "2026-11-20T21:45:16Z info: waiting\n{\"level\":\"info\"}\n{braces}\n  p99 {\n\n\u{1b}[1mdone\n";
    let among = |prefix: &str, text: fn(&RunResults) -> String| {
        runs.iter().map(|run| [log, prefix, &text(run), log].concat()).collect::<Vec<_>>().concat()
    };
    let prefixed = among("[pod/load-1 client] ", RunResults::to_json_line);
    let plain = among("", RunResults::to_json);
    let expected = read(&lines(&runs), &["merge", "-"]).stdout;
    for input in [prefixed, plain] {
        let exit = read(&input, &["merge", "-", "--shards", "3"]);
        assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
        assert_eq!(exit.stdout, expected);
        // Without the number of shards a result could be lost unnoticed.
        expect_refusal(start(input.as_bytes(), &["merge", "-"]), 1, &["cannot read stdin", "not whole JSON"]);
    }
    expect_refusal(start(log.as_bytes(), &["merge", "-", "--shards", "3"]), 1, &["stdin", "holds no result"]);
}

#[test]
fn lost_and_damaged_results_are_noticed() {
    let runs = shards(4);
    let merge = ["merge", "-", "--shards", "4"];
    let whole = lines(&runs);
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let refused = |input: &str, parts: &[&str]| expect_refusal(start(input.as_bytes(), &merge), 1, parts);
    refused(&lines(&runs[..3]), &["cannot merge: shard 3 of 4 is missing"]);
    refused(&lines(&[&runs[..1], &runs[2..3]].concat()), &["shards 1 and 3 of 4 are missing"]);
    // A line of a log within a result, as when it is longer than a log entry and stderr comes between.
    let second = runs[1].to_json_line();
    let torn = format!("{}warning: late\n{}", &second[..1000], &second[1000..]);
    refused(&whole.replace(&second, &torn), &["stdin, line 2", "not whole JSON"]);
    refused(&(lines(&runs[..3]) + &cut(&runs[3].to_json_line())), &["stdin, line 4", "not whole JSON"]);
    refused(&(lines(&runs[..3]) + &cut(&runs[3].to_json())), &["stdin, line 4", "not whole JSON"]);
    refused(&whole.replacen("\"HISTF", "\"HIST!", 1), &["stdin", "damaged"]);
    refused(&(whole.clone() + &second), &["stdin, line 2 and stdin, line 5 hold the same run"]);
    let mut again = runs[1].clone();
    again.run_ids = vec!["again".to_owned()];
    refused(&(whole.clone() + &again.to_json_line()), &["stdin, line 5: shard 1 of 4 on load-1 was given before"]);
    let mut other = runs.clone();
    other[2].configuration.set("rate", "1k");
    refused(&lines(&other), &["stdin, line 3: shard 2 of 4 on load-2", "rate is 1k, not none"]);
    other[2] = runs[2].clone();
    other[2].measured_s = 7.0;
    refused(&lines(&other), &["stdin, line 3: shard 2 of 4 on load-2 ended 1.00 s before shard", "95 %"]);
    expect_refusal(start(whole.as_bytes(), &["merge", "-", "--shards", "0"]), 2, &["--shards", "\"0\"", "1000"]);
}

/// One result takes 4 MB in memory.
#[test]
fn memory_does_not_grow_with_the_number_of_results() {
    const COUNT: usize = 120;
    let arguments = ["merge", "-", "--shards", "120"];
    let (mut program, stdin) = Program::spawn_reading(Program::report_command().args(arguments), Stdio::piped());
    let (mut stdin, mut resident) = (stdin.unwrap(), None);
    for run in &mut shards(COUNT) {
        run.intervals.truncate(1);
        stdin.write_all(run.to_json_line().as_bytes()).unwrap();
        // All before have been read: they do not fit into the pipe.
        resident = program.resident_bytes();
    }
    drop(stdin);
    let exit = program.await_exit();
    assert_eq!((exit.code, exit.stdout.len()), (Some(0), 1), "{:#?}", exit.stderr);
    assert!(resident.is_none_or(|bytes| bytes < 100 << 20), "{resident:?} bytes");
}

/// A file of its own for each shard.
#[test]
fn files_of_shards_are_named() {
    let folder = TempDir::new().unwrap();
    let mut runs = shards(2);
    runs[1].configuration.set("size", "1KiB");
    let [a, b] = [("a.json", &runs[0]), ("b.json", &runs[1])].map(|(name, run)| file(&folder, name, run));
    let program = Program::report(&["merge", &a, &b, "--shards", "2"]);
    expect_refusal(program, 1, &["b.json: shard 1 of 2 on load-1 is configured differently", "size is 1KiB, not none"]);
}
