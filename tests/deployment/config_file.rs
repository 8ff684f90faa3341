//! `--config FILE` and `--check`.

use super::support::{Program, expect_refusal};
use super::{PROGRAMS, expect_success};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use tempfile::TempDir;

/// A file of arguments in a folder that lasts as long as the test.
fn file(folder: &TempDir, text: &str) -> String {
    let path = folder.path().join("arguments.conf");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The service in the line of a server that listens.
#[track_caller]
fn service(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut server = Program::spawn(Program::server_command().args(arguments).envs(variables.iter().copied()));
    let line = server.await_stdout("Listening on 127.0.0.1:");
    assert_eq!(server.terminate().code, Some(0));
    line.rsplit_once(", ").unwrap().1.trim_end_matches(')').to_owned()
}

/// The options of a client's run, as its results record them.
#[track_caller]
fn configuration(variables: &[(&str, &str)], arguments: &[&str]) -> Value {
    let mut command = Program::client_command();
    let json =
        expect_success(command.args(["--embedded", "--json", "-"]).args(arguments).envs(variables.iter().copied()));
    let mut results: Value = serde_json::from_str(&json).unwrap();
    results["configuration"].take()
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "# A comment.\n127.0.0.1\n0\n\n  --service=reverse  \n  # Another one.\n--workers\n1\n");
    let upper = [("MULTICONN_SERVICE", "upper")];
    assert_eq!(service(&[], &["--config", &path]), "reverse");
    assert_eq!(service(&upper, &["--config", &path]), "upper");
    assert_eq!(service(&[("MULTICONN_SERVER_CONFIG", &path)], &[]), "reverse");
    assert_eq!(service(&upper, &["--service", "discard", "--config", &path]), "discard");
}

#[test]
fn files_of_other_editors_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "\u{feff}127.0.0.1\r\n0\r\n--service=reverse\r\n");
    assert_eq!(service(&[], &["--config", &path]), "reverse");
}

#[test]
fn parts_of_an_address_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing may listen on this address.
    let path = file(&folder, "192.0.2.1\n1\n");
    assert_eq!(service(&[], &["127.0.0.1", "0", "--config", &path]), "echo");
    assert_eq!(service(&[("MULTICONN_HOST", "127.0.0.1"), ("MULTICONN_PORT", "0")], &["--config", &path]), "echo");
    let path = file(&folder, "192.0.2.1\n0\n");
    assert_eq!(service(&[("MULTICONN_HOST", "127.0.0.1")], &["--config", &path]), "echo");
    let path = file(&folder, "127.0.0.1\n1\n");
    assert_eq!(service(&[("MULTICONN_PORT", "0")], &["--config", &path]), "echo");
}

#[test]
fn conflicting_options_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "--size=100\n--quiet\n--tls\n");
    let is_on = |settings: &Value, name: &str| settings[name] == Value::Bool(true);
    let settings = configuration(&[], &["--config", &path]);
    assert!(is_on(&settings, "tls") && is_on(&settings, "quiet") && settings["size"] == 100, "{settings:#}");
    let settings = configuration(&[], &["--config", &path, "--message", "x", "-v"]);
    assert!(settings["size"].is_null() && !is_on(&settings, "quiet"), "{settings:#}");
    let settings = configuration(&[("MULTICONN_MESSAGE", "x"), ("MULTICONN_TLS", "0")], &["--config", &path]);
    assert!(settings["size"].is_null() && !is_on(&settings, "tls"), "{settings:#}");
}

#[test]
fn repeatable_options_add_to_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "--message=from the file\n--message\n#1\n");
    let messages = |variables: &[_], arguments: &[&str]| {
        let arguments = [&["--config", &path], arguments].concat();
        configuration(variables, &arguments)["message"].to_string()
    };
    // The second line is an option without a value: its value looks like a comment.
    let refused = Program::client(&["--config", &path]);
    expect_refusal(refused, 2, &[&path, "--message"]);
    file(&folder, "--message=from the file\n--message\nsecond\n");
    assert_eq!(messages(&[], &[]), r#"["from the file","second"]"#);
    assert_eq!(messages(&[], &["--message", "typed"]), r#"["from the file","second","typed"]"#);
    assert_eq!(messages(&[("MULTICONN_MESSAGE", "variable")], &[]), r#"["variable"]"#);
}

#[test]
fn a_subcommand_reads_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "--fail-if=p99<1ns\n");
    let run = folder.path().join("run.json").display().to_string();
    expect_success(Program::client_command().args(["--embedded", "-q", "--json", &run]));
    let merged = |words: &[&str]| Program::report(words).await_exit();
    for words in [["--config", &path, "merge", &run, &run], ["merge", "--config", &path, &run, &run]] {
        let refused = merged(&words);
        assert_eq!(refused.code, Some(1), "the same run twice: {refused:#?}");
    }
    for words in [["--config", &path, "merge", &run], ["merge", &run, "--config", &path]] {
        let exit = merged(&words);
        assert_eq!(exit.code, Some(0), "p99 is above 1 ns: {exit:#?}");
    }
    file(&folder, "--fail-if=p99>1ns\n");
    let exit = merged(&["--config", &path, "merge", &run]);
    assert_eq!(exit.code, Some(3), "{exit:#?}");
    let exit = merged(&["--config", &path, "show", &run]);
    assert!(exit.code == Some(2) && exit.stderr[0].contains("--fail-if"), "{exit:#?}");
}

#[test]
fn bad_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (text, parts) in [
        ("--max-connections 5\n", &["line 1", "--max-connections=5"][..]),
        ("127.0.0.1\n-v\n--no-such\n", &["--no-such"]),
        ("--workers=none\n", &["--workers", "none"]),
        ("--quiet\n--verbose\n", &["--quiet", "--verbose"]),
        ("--config=other.conf\n", &["--config"]),
        ("--generate=man\n", &["--generate"]),
        ("--help\n", &["--help"]),
    ] {
        let path = file(&folder, text);
        let line = expect_refusal(Program::server(&["--config", &path]), 2, parts);
        assert!(line.contains(&path), "{line}");
    }
    for (_, command) in PROGRAMS {
        let mut command = command();
        command.args(["--config", "no-such.conf"]);
        if command.get_program().to_string_lossy().ends_with("report") {
            command.args(["show", "-"]);
        }
        expect_refusal(Program::spawn(&mut command), 2, &["no-such.conf", "no such file"]);
    }
}

#[test]
fn check_validates_without_listening() {
    let folder = tempfile::tempdir().unwrap();
    // A server could not listen there.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let path = file(&folder, &format!("127.0.0.1\n{port}\n--tls-self-signed\n--metrics=127.0.0.1:{port}\n"));
    let exit = Program::server(&["--check", "--config", &path]).await_exit();
    assert_eq!(
        (exit.code, exit.stdout.as_slice()),
        (Some(0), &["the configuration is valid".to_owned()][..]),
        "{exit:#?}"
    );
    let path = file(&folder, "127.0.0.1\n0\n--check\n");
    for (arguments, parts) in [
        (&["--tls-cert", "no.pem", "--tls-key", "no.pem"][..], &["no.pem"][..]),
        (&["--memory-limit", "1KiB"], &["--memory-limit"]),
        (&["--max-connections", "2G"], &["descriptors"]),
        (&["--udp", "--backlog", "5"], &["--backlog"]),
        (&["--upstream", "127.0.0.1:1", "--connect-timeout", "0"], &["--connect-timeout"]),
    ] {
        let arguments = [&["--config", &path], arguments].concat();
        let exit = Program::server(&arguments).await_exit();
        assert!(matches!(exit.code, Some(1 | 2)) && exit.stdout.is_empty(), "{arguments:?}: {exit:#?}");
        assert!(parts.iter().all(|part| exit.stderr[0].contains(part)), "{arguments:?}: {exit:#?}");
    }
    let exit = Program::server(&["--check", "no-such-host.invalid", "80"]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
}
