//! `multiconn-report` show, merge and html, and files that are not results.

use super::support::{Program, expect_refusal};
use super::{file, report, sample, text_file};
use multiconn::results::{
    Datagrams, LoadKind, RunResults, TextReport, Timestamp, html_report, write_hdr_log, write_percentiles,
};
use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn run_is_shown_in_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let exit = report(&["show", &file(&folder, "run.json", &sample(3, 100))]);
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!(exit.stdout[0], "10 connections to 127.0.0.1:65432: every reply was correct");
    assert!(exit.stdout.iter().any(|line| line.starts_with("    response ")), "{exit:#?}");
    assert!(exit.stdout.iter().all(|line| line.chars().count() <= 80), "{exit:#?}");
}

/// One run may come from stdin, as a file or a pipe; a second one would find nothing left.
#[test]
fn run_is_read_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "run.json", &sample(30, 100));
    let other = file(&folder, "other.json", &sample(30, 101));
    let read = |stdin: Stdio, arguments: &[&str]| {
        Program::spawn_reading(Program::report_command().args(arguments), stdin).0.await_exit()
    };
    let from_file = || Stdio::from(File::open(&path).unwrap());
    let shown = report(&["show", &path]).stdout;
    assert_eq!(read(from_file(), &["show", "-"]).stdout, shown);
    let (mut program, input) = Program::spawn_reading(Program::report_command().args(["show", "-"]), Stdio::piped());
    input.unwrap().write_all(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(program.await_exit().stdout, shown);
    for arguments in [["compare", "-", &other], ["compare", &other, "-"], ["merge", "-", &other], ["html", "-", "-o-"]]
    {
        let exit = read(from_file(), &arguments);
        assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{arguments:?}: {exit:#?}");
    }
    for task in ["compare", "merge"] {
        expect_refusal(Program::report(&[task, "-", "-"]), 2, &["stdin", "twice", "run.json"]);
    }
    // Stdin is empty.
    expect_refusal(Program::report(&["show", "-"]), 1, &["cannot read stdin"]);
}

#[test]
fn invalid_run_is_reported_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = sample(3, 100);
    results.messages.due = Some(results.messages.sent * 2);
    results.finalize();
    let exit = report(&["show", &file(&folder, "run.json", &results)]);
    assert!(exit.stdout[0].starts_with("NOT VALID: client-limited"), "{exit:#?}");
}

#[test]
fn merging_keeps_every_count() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (sample(3, 100), sample(4, 200));
    let (path_a, path_b) = (file(&folder, "a.json", &a), file(&folder, "b.json", &b));
    let all = folder.path().join("all.json").to_str().unwrap().to_owned();
    let exit = report(&["merge", &path_a, &path_b, "--json", &all]);
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("2 runs merged")), "{exit:#?}");
    let merged = RunResults::from_json(&std::fs::read_to_string(&all).unwrap()).unwrap();
    assert_eq!((merged.runs, merged.messages.answered, merged.intervals.len()), (2, 3500, 4));
    let mut sum = a.histograms.response_time.clone();
    sum.add(&b.histograms.response_time);
    assert_eq!(merged.histograms.response_time, sum);
    let exit = report(&["merge", &path_a, &path_b]);
    assert_eq!(exit.stdout.len(), 1, "one line: {exit:#?}");
    assert_eq!(RunResults::from_json(&exit.stdout[0]), Ok(merged), "to stdout without --json");
}

#[test]
fn different_or_duplicate_runs_are_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let open = sample(3, 100);
    let mut closed = sample(3, 101);
    closed.load.kind = LoadKind::Closed;
    let mut udp = sample(3, 102);
    udp.datagrams = Some(Datagrams::default());
    let [open, closed, udp] = [("open.json", open), ("closed.json", closed), ("udp.json", udp)]
        .map(|(name, results)| file(&folder, name, &results));
    for (files, parts) in [
        ([&open, &closed], ["open.json is of open loops", "closed.json of closed loops"]),
        ([&open, &udp], ["open.json is of TCP", "udp.json of UDP"]),
        ([&open, &open], ["open.json hold the same run", "give each run once"]),
    ] {
        let target = folder.path().join("all.json");
        let program = Program::report(&["merge", files[0], files[1], "--json", target.to_str().unwrap()]);
        expect_refusal(program, 1, &parts);
        assert!(!target.exists());
    }
}

#[test]
fn a_file_without_a_command_is_shown_by_show() {
    expect_refusal(Program::report(&["run.json"]), 2, &["'run.json'", "show run.json"]);
}

#[test]
fn an_input_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] =
        [("one.json", 100), ("two.json", 101)].map(|(name, micros)| file(&folder, name, &sample(9, micros)));
    let link = folder.path().join("link.json").to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let before = std::fs::read(&one).unwrap();
    for output in [&one, &link] {
        expect_refusal(Program::report(&["html", &one, "-o", output]), 2, &[output, "overwritten"]);
        expect_refusal(Program::report(&["merge", &two, &one, "--json", output]), 2, &[output, "overwritten"]);
    }
    let stdin = Stdio::from(File::open(&one).unwrap());
    let (program, _) = Program::spawn_reading(Program::report_command().args(["html", "-", "-o", &one]), stdin);
    expect_refusal(program, 2, &[&one, "overwritten"]);
    assert_eq!(std::fs::read(&one).unwrap(), before);
}

#[test]
fn runs_a_month_apart_are_merged_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (a, mut b) = (sample(3, 100), sample(3, 101));
    b.started = Timestamp::after_1970(a.started.since_1970() + Duration::from_secs(30 * 24 * 60 * 60));
    let exit = report(&["merge", &file(&folder, "a.json", &a), &file(&folder, "b.json", &b)]);
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 1), "{exit:#?}");
    assert!(exit.stderr[0].starts_with("warning: the runs do not overlap in time"), "{exit:#?}");
    let merged = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert!(merged.notes[0].starts_with("the runs do not overlap in time"), "{:?}", merged.notes);
    assert!((merged.rate() - 500.0).abs() < 1e-6, "{}", merged.rate());
}

#[test]
fn invalid_file_is_rejected_with_name_and_problem() {
    let folder = tempfile::tempdir().unwrap();
    let good = sample(1, 100).to_json();
    let good_path = text_file(&folder, "good.json", &good);
    for (name, text, part) in [
        ("cut.json", &good[..good.len() / 2], "not whole JSON"),
        ("foreign.json", "{\"results\": []}", "multiconn-run/2"),
        ("text.json", "hello", "not whole JSON"),
        ("empty.json", "", "an empty file"),
        ("newer.json", &good.replace("run/2", "run/9"), "multiconn-run/9"),
        ("damaged.json", &good.replace("\"HISTF", "\"HIST!"), "damaged"),
    ] {
        let path = text_file(&folder, name, text);
        for arguments in
            [&["show", &path][..], &["html", &path], &["compare", &good_path, &path], &["merge", &good_path, &path]]
        {
            expect_refusal(Program::report(arguments), 1, &[name, part]);
        }
    }
    let binary = folder.path().join("binary.json");
    std::fs::write(&binary, [0x80, 0xfe, 0]).unwrap();
    expect_refusal(Program::report(&["show", binary.to_str().unwrap()]), 1, &["binary.json", "not text"]);
    expect_refusal(Program::report(&["show", "/nowhere/run.json"]), 1, &["/nowhere/run.json", "no such file"]);
}

#[test]
fn other_kinds_of_files_are_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let results = sample(1, 100);
    let (mut percentiles, mut log) = (Vec::new(), Vec::new());
    write_percentiles(&results, &mut percentiles).unwrap();
    write_hdr_log(&results, &mut log).unwrap();
    let printed = TextReport(&results).to_string();
    let utf_16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, kind) in [
        (html_report(&results).as_bytes(), "HTML"),
        (b"\n<html lang=en>", "HTML"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "a PEM certificate"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n", "a PEM private key"),
        (&percentiles, "an hgrm file"),
        (&log, "an HdrHistogram log"),
        (printed.as_bytes(), "the printed report of a run"),
        (b"\x1f\x8b\x08", "gzip"),
        (&utf_16, "UTF-16"),
        (b" \n", "an empty file"),
    ] {
        let path = folder.path().join("other.json");
        std::fs::write(&path, bytes).unwrap();
        let program = Program::report(&["show", path.to_str().unwrap()]);
        expect_refusal(program, 1, &["other.json", kind, "not a result", "give the JSON file of a run"]);
    }
}

#[test]
fn byte_order_mark_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let results = sample(1, 100);
    let path = text_file(&folder, "run.json", &format!("\u{feff}{}", results.to_json()));
    let exit = report(&["show", &path]);
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!(RunResults::from_json(&std::fs::read_to_string(&path).unwrap()), Ok(results));
}

#[test]
fn invalid_command_line_gives_one_sentence() {
    expect_refusal(Program::report(&[]), 2, &["requires a subcommand", "show, compare, merge, html"]);
    expect_refusal(Program::report(&["shew", "run.json"]), 2, &["shew", "show"]);
    expect_refusal(Program::report(&["compare", "run.json"]), 2, &["AFTER"]);
    expect_refusal(Program::report(&["merge"]), 2, &["FILES"]);
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "run.json", &sample(1, 100));
    expect_refusal(Program::report(&["html", &path, "-o", "/nowhere/run.html"]), 2, &["/nowhere/run.html"]);
    let exit = report(&["--version"]);
    assert!(exit.code == Some(0) && exit.stdout[0].starts_with("multiconn-report "), "{exit:#?}");
}

#[test]
fn hostile_text_is_escaped() {
    const HOSTILE: &str = "\u{1b}[2J\u{7}\rok\nnot\u{9b}31m\u{202e}";
    let folder = tempfile::tempdir().unwrap();
    let mut results = sample(3, 100);
    results.run_ids = vec![HOSTILE.to_owned()];
    results.targets = vec![HOSTILE.to_owned()];
    results.program = HOSTILE.to_owned();
    results.configuration.set(HOSTILE, HOSTILE);
    results.machine.kernel = Some(HOSTILE.to_owned());
    results.errors.insert(HOSTILE.to_owned(), 1);
    results.mismatches.count = 1;
    results.mismatches.first = vec![HOSTILE.to_owned()];
    (results.valid, results.reasons, results.notes) = (false, vec![HOSTILE.to_owned()], vec![HOSTILE.to_owned()]);
    results.load.arrivals = Some(HOSTILE.to_owned());
    let (good, bad) = (file(&folder, "good.json", &sample(3, 100)), file(&folder, "bad.json", &results));
    let missing = folder.path().join(HOSTILE).join("run.json").to_str().unwrap().to_owned();
    for arguments in [
        &["show", &bad][..],
        &["compare", &good, &bad],
        &["html", &bad],
        &["merge", &good, &bad],
        &["show", &missing],
        &["show", &bad, HOSTILE],
        &["html", &good, "--output", &missing],
    ] {
        let exit = report(arguments);
        exit.expect_safe_text();
        let lines = exit.stdout.iter().chain(&exit.stderr);
        assert!(lines.clone().all(|line| !line.starts_with("not")), "{exit:#?}");
        let shown = exit.stdout.concat() + &exit.stderr.concat();
        assert!(["\\x1b[2J", "\\u001b[2J"].iter().any(|part| shown.contains(part)), "{arguments:?}: {exit:#?}");
    }
    let merged = RunResults::from_json(&report(&["merge", &bad]).stdout.join("\n")).unwrap();
    assert_eq!(merged.targets, [HOSTILE], "JSON keeps the text");
}
