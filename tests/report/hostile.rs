//! Hostile result files: each is rejected in bounded memory with its name and the problem.

use super::support::{Exit, PATIENCE, Program, expect_refusal};
use super::{file, report, sample, text_file};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// A histogram with 2^62 times of 5 ns, more than a result may hold.
const TOO_MANY: &str = "HISTFAAAACR4nJNpmSzMwMDAxQABzFCaEch0M9ixgMH+A0SAswEGAJGvCN4=";

/// Address space limit for the program and twice a file of 50 MB, in KiB.
const ADDRESS_SPACE: &str = "200000";

/// Runs the program within [`ADDRESS_SPACE`].
fn bounded(arguments: &[&str]) -> Program {
    let script = format!("ulimit -v {ADDRESS_SPACE} && exec \"$0\" \"$@\"");
    Program::spawn(Program::report_under(&["sh", "-c", &script]).args(arguments))
}

fn write_changed(path: &Path, change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(&sample(9, 100).to_json()).unwrap();
    value["run_ids"] = json!([path]);
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn histogram_with_too_large_count_is_rejected_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(&folder, "good.json", &sample(1, 100));
    let bad = write_changed(&folder.path().join("bad.json"), |value| {
        value["histograms"]["response_time"] = json!({ "hdr": TOO_MANY });
    });
    for arguments in [
        &["show", &bad][..],
        &["html", &bad],
        &["compare", &good, &bad],
        &["merge", &bad, &bad],
        &["merge", &good, &bad],
    ] {
        expect_refusal(
            Program::report(arguments),
            1,
            &["bad.json", "histograms.response_time", "9,007,199,254,740,992"],
        );
    }
}

#[test]
fn runs_with_a_too_large_sum_are_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let large =
        write_changed(&folder.path().join("large.json"), |value| value["messages"]["sent"] = json!(1_u64 << 53));
    assert_eq!(report(&["show", &large]).code, Some(0));
    let more = write_changed(&folder.path().join("more.json"), |value| value["messages"]["sent"] = json!(1));
    expect_refusal(Program::report(&["merge", &large, &more]), 1, &["merge", "messages.sent", "9,007,199,254,740,992"]);
}

#[test]
fn file_of_50_mb_needs_at_most_twice_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let text = sample(1, 100).to_json();
    let zeros = format!("{{\"x\": [{}0],", "0,".repeat(25_000_000));
    let unknown = text_file(&folder, "unknown.json", &text.replacen('{', &zeros, 1));
    // Two passes over 25 million numbers take 5 s of CPU time without optimization.
    let Exit { code, stderr, .. } = bounded(&["show", &unknown]).await_exit_within(PATIENCE * 6);
    assert_eq!((code, stderr.len()), (Some(0), 0), "{stderr:?}");
    for (name, field, part) in [
        ("notes.json", "\"notes\": []", "notes"),
        ("options.json", "\"connections\": 10", "configuration"),
        ("format.json", "\"format\": \"multiconn-run/2\"", "not a result of a run"),
    ] {
        assert!(text.contains(field), "{field}");
        let key = field.split(' ').next().unwrap();
        let many = format!("{key} [{}\"\"]", "\"\",".repeat(16_000_000));
        let path = text_file(&folder, name, &text.replacen(field, &many, 1));
        let mut program = bounded(&["show", &path]);
        program.await_exit_within(PATIENCE * 6);
        expect_refusal(program, 1, &[name, part]);
    }
}

#[test]
fn only_files_and_pipes_of_bounded_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let huge = folder.path().join("huge.json");
    File::create(&huge).unwrap().set_len((512 << 20) + 1).unwrap();
    expect_refusal(bounded(&["show", huge.to_str().unwrap()]), 1, &["huge.json", "512 MiB"]);
    expect_refusal(bounded(&["show", "/dev/zero"]), 1, &["/dev/zero", "neither a file nor a pipe"]);
    expect_refusal(bounded(&["show", "/"]), 1, &["neither a file nor a pipe"]);
    let good = file(&folder, "good.json", &sample(1, 100));
    let script = "cat \"$1\" | \"$0\" show /dev/stdin";
    let exit = Program::spawn(Program::report_under(&["sh", "-c", script]).arg(&good)).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
}
