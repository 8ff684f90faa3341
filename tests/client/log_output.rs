//! Log output of the client, including the lines of the tutorial.

use super::fake_server::{Fake, answer_and_end, deaf, take};
use super::support::{Program, await_some, has_python};
use super::{client, logging_client, outcome, server};
use multiconn::cli::AddressRepr;
use std::io::{Read, Seek};
use std::net::Ipv4Addr;
use std::process::Stdio;

#[test]
fn by_default_only_the_report_is_printed() {
    let server = server();
    let outcome = outcome(server.address(), &["20"]);
    outcome.expect_tutorial(20);
    assert_eq!(outcome.stderr.len(), 0, "{outcome:#?}");
}

/// The tutorial's lines, for each connection.
#[test]
fn verbose_prints_the_lines_of_the_tutorial() {
    let server = server();
    let outcome = outcome(server.address(), &["20", "-v"]);
    outcome.expect_tutorial(20);
    let address = AddressRepr(server.address());
    for number in 1..=20 {
        let ends = [format!(" connection {number}"), format!(" connection {number} to {address}")];
        let is_of = |line: &&String| ends.iter().any(|end| line.ends_with(end));
        expect_tutorial_lines(outcome.stderr.iter().filter(is_of), number, address);
    }
    // Each line belongs to a connection.
    let sent = outcome.stderr.iter().filter(|line| line.starts_with("Sending ")).count();
    let received = outcome.stderr.iter().filter(|line| line.starts_with("Received ")).count();
    assert_eq!((sent, outcome.stderr.len()), (40, 80 + received), "{outcome:#?}");
}

/// The report is the end of what a terminal or one file shows: the log is written by a thread of its own.
#[test]
fn the_report_follows_the_log() {
    let server = server();
    let address = server.address().to_string();
    for _ in 0..20 {
        let mut both = tempfile::tempfile().unwrap();
        let mut command = Program::client_command();
        command.args([&*address, "2", "-v"]).stdout(both.try_clone().unwrap()).stderr(both.try_clone().unwrap());
        assert!(command.status().unwrap().success());
        both.rewind().unwrap();
        let text = std::io::read_to_string(both).unwrap();
        let (log, report) = text.split_once("2 connections to ").expect(&text);
        assert_eq!(log.lines().filter(|line| line.starts_with("Closing connection ")).count(), 2, "{text}");
        assert!(report.lines().skip(1).all(|line| line.starts_with("  ")), "{report}");
    }
}

/// Expects what the tutorial's client prints of a connection. Its two messages may come back together.
#[track_caller]
fn expect_tutorial_lines<'a>(lines: impl Iterator<Item = &'a String>, number: usize, address: AddressRepr) {
    let (received, others): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("Received "));
    let expected = [
        format!("Starting connection {number} to {address}"),
        format!("Sending b'Message 1 from client.' to connection {number}"),
        format!("Sending b'Message 2 from client.' to connection {number}"),
        format!("Closing connection {number}"),
    ];
    assert_eq!(others, expected.iter().collect::<Vec<_>>());
    let end = format!("' from connection {number}");
    let bytes = received.iter().map(|line| line.strip_prefix("Received b'").and_then(|rest| rest.strip_suffix(&end)));
    assert_eq!(bytes.collect::<Option<String>>().unwrap(), "Message 1 from client.Message 2 from client.");
}

#[test]
fn the_client_of_the_tutorial_prints_the_same() {
    if !has_python("the lines of the tutorial's client") {
        return;
    }
    let server = server();
    let port = server.address().port().to_string();
    let exit = Program::python("multiconn_client.py", &["127.0.0.1", &port, "1"]).await_exit();
    expect_tutorial_lines(exit.stdout.iter(), 1, AddressRepr(server.address()));
}

#[test]
fn payloads_are_logged_in_python_notation() {
    let server = server();
    for (message, shown) in [
        ("Message 1 from client.", "b'Message 1 from client.'"),
        ("it's", "b\"it's\""),
        ("it's \"\\\"\t\r\n\u{1}\u{7f}é", r#"b'it\'s "\\"\t\r\n\x01\x7f\xc3\xa9'"#),
    ] {
        let outcome = outcome(server.address(), &["--message-raw", message, "-v"]);
        outcome.expect_success(1, 1, message.len() as u64);
        let lines = [
            format!("Starting connection 1 to {}", AddressRepr(server.address())),
            format!("Sending {shown} to connection 1"),
            format!("Received {shown} from connection 1"),
            "Closing connection 1".to_owned(),
        ];
        assert_eq!(outcome.stderr, lines);
    }
}

/// Large messages have a line each, with their first bytes and their size.
#[test]
fn large_messages_are_abbreviated() {
    let server = server();
    let outcome = outcome(server.address(), &["-v", "--size", "300000", "--messages", "3"]);
    outcome.expect_success(1, 3, 900_000);
    let sent: Vec<_> = outcome.stderr.iter().filter(|line| line.starts_with("Sending b")).collect();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|line| line.ends_with("... (300,000 bytes) to connection 1") && line.len() < 300_000));
}

#[test]
fn json_lines_have_fields() {
    let server = server();
    let exit = client(server.address(), &["-v", "--message", "hi", "--log-format", "json"]).await_exit();
    let (peer, payload) = (server.address().to_string(), "b'hi'");
    let objects: Vec<_> = exit
        .stderr
        .iter()
        .map(|line| {
            let mut object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(
                object
                    .as_object_mut()
                    .unwrap()
                    .remove("time")
                    .is_some_and(|time| time.as_str().unwrap().ends_with('Z'))
            );
            object
        })
        .collect();
    let expected = [
        serde_json::json!({
            "level": "debug", "message": format!("Starting connection 1 to {}", AddressRepr(server.address())),
            "connection": 1, "peer": peer,
        }),
        serde_json::json!({
            "level": "trace", "message": format!("Sending {payload} to connection 1"), "connection": 1, "bytes": 2,
        }),
        serde_json::json!({
            "level": "trace", "message": format!("Received {payload} from connection 1"), "connection": 1, "bytes": 2,
        }),
        serde_json::json!({
            "level": "debug", "message": "Closing connection 1", "connection": 1, "received_bytes": 2, "sent_bytes": 2,
        }),
    ];
    assert_eq!(objects, expected);
    // The error that ends the program, too.
    let mut command = Program::client_command();
    let exit = Program::spawn(command.args(["no such host", "1"]).env("MULTICONN_LOG_FORMAT", "json")).await_exit();
    let error: serde_json::Value = serde_json::from_str(&exit.stderr[0]).unwrap();
    assert!(error["level"] == "error" && error["message"].as_str().unwrap().contains("no such host"), "{exit:#?}");
}

/// A server sends terminal control sequences.
#[test]
fn hostile_replies_are_logged_as_safe_text() {
    let hostile = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        answer_and_end(stream, "\u{1b}[2J\u{7}\r\nok\u{9b}31m\u{202e}".as_bytes());
        None
    });
    for format in ["text", "json"] {
        let exit = client(hostile.address(), &["-vv", "--log-format", format]).await_exit();
        exit.expect_safe_text();
        let line = exit.stderr.iter().find(|line| line.contains("Received ")).unwrap();
        let shown = r"Received b'\x1b[2J\x07\r\nok\xc2\x9b31m\xe2\x80\xae' from connection 1";
        if format == "json" {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((object["message"].as_str(), object["bytes"].as_u64()), (Some(shown), Some(17)), "{line}");
        } else {
            assert!(line.ends_with(&format!(" trace: {shown} connection=1 bytes=17")), "{line}");
        }
    }
}

#[test]
fn quiet_prints_nothing_on_success_and_reports_failure() {
    let server = server();
    let port = server.address().port().to_string();
    let exit = Program::client(&["127.0.0.1", &port, "20", "-q"]).await_exit();
    assert_eq!((exit.code, exit.stdout.len(), exit.stderr.len()), (Some(0), 0, 0), "{exit:#?}");
    let hasty = Fake::new(|_, _| None);
    let port = hasty.address().port().to_string();
    let exit = Program::client(&["127.0.0.1", &port, "20", "-q"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(1), 0), "{exit:#?}");
    assert!(exit.stdout[0].contains(": failed"), "{exit:#?}");
}

/// A log whose reader has closed it is no failure; a report that cannot be written is.
#[test]
#[cfg(target_os = "linux")]
fn results_that_cannot_be_written() {
    let with_stdout = |redirection: &str| {
        let mut command = Program::client_under(&["sh", "-c", &format!("exec \"$0\" \"$@\" {redirection}")]);
        Program::spawn(command.args(["--embedded", "-c", "2"])).await_exit()
    };
    let full = with_stdout("> /dev/full");
    assert_eq!((full.code, full.stderr.len()), (Some(1), 1), "{full:#?}");
    assert!(full.stderr[0].starts_with("error: cannot write the results to stdout: "), "{full:#?}");
    // The reader has closed it, which is no failure.
    for unread in [">&-", "2>&-"] {
        assert_eq!(with_stdout(unread).code, Some(0), "{unread}");
    }
}

/// A failed connection is logged when it closes, with the cause.
#[test]
fn a_failure_is_logged_when_it_happens() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    let refused = logging_client(address, &["2"]).await_exit();
    for number in [1, 2] {
        let told =
            format!("connection not opened connection={number} failure=\"connection refused: nothing listens there\"");
        assert_eq!(refused.told(&[&told]), 1, "{refused:#?}");
    }
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        answer_and_end(stream, b"Mess");
        None
    });
    let early = logging_client(fake.address(), &[]).await_exit();
    let told = "Closing connection 1 connection=1 failure=\"closed early by peer\" received_bytes=4 sent_bytes=44";
    assert_eq!(early.told(&[told]), 1, "{early:#?}");
}

/// One line per complete second, where requested.
#[test]
fn a_load_logs_each_second() {
    let server = server();
    // A line covers several seconds when the machine was busy. In parallel: each load lasts five seconds.
    let load = ["10", "--workers", "2", "--duration", "5s", "--timestamps", "user"];
    let start = |more: &'static [&str]| (logging_client(server.address(), &[&load[..], more].concat()), more);
    for (mut program, more) in [&["--rate", "200"][..], &[]].map(start) {
        let exit = program.await_exit();
        let seconds: Vec<_> = exit.stderr.iter().filter(|line| line.contains(", p99 ")).collect();
        assert!(seconds.iter().all(|line| line.contains("Z info: ") && line.contains(" s: ")), "{seconds:#?}");
        assert!((1..=6).contains(&seconds.len()), "{seconds:#?}");
        let is_whole = |line: &&String| line.contains("/s, p50 ") && line.contains(", 0 errors, 10 open");
        assert!(seconds.iter().any(is_whole), "{seconds:#?}");
        assert_eq!(seconds.iter().any(|line| line.contains(", client delay ")), !more.is_empty(), "{seconds:#?}");
    }
    for silent in ["-q", "--no-progress", "--seed=1"] {
        let exit = client(server.address(), &["10", "--duration", "1500ms", silent]).await_exit();
        assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    }
}

/// Connecting, warm-up, load and hold share one clock, which starts with the program.
#[test]
fn the_clock_of_a_load_runs_on_through_its_phases() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "10ms"]);
    let work = ["24", "--connect-rate", "10", "--warm-up", "1500ms", "--duration", "2500ms", "--hold", "2500ms", "-v"];
    // On a busy machine no line may be written in one of the phases.
    let has_all_phases = |workers: &str| {
        let exit = client(server.address(), &[&work[..], &["--workers", workers]].concat()).await_exit();
        let seconds: Vec<_> = exit.stderr.iter().filter_map(|line| line.split_once(" s: ")).collect();
        let last_word = |text: &str| text.rsplit(' ').next().unwrap().parse().unwrap();
        let times: Vec<u64> = seconds.iter().map(|(time, _)| last_word(time)).collect();
        assert!(times.is_sorted_by(|one, other| one < other), "{seconds:#?}");
        let mut phases: Vec<_> = seconds.iter().map(|(_, what)| what.split_once(", ").unwrap().0).collect();
        // The lines of the load begin with its rate.
        phases.iter_mut().filter(|phase| phase.ends_with("/s")).for_each(|phase| *phase = "load");
        phases.dedup();
        let all = ["connecting", "warm-up", "load", "load over"];
        let mut rest = all.iter();
        assert!(phases.iter().all(|phase| rest.any(|other| other == phase)), "{seconds:#?}");
        let is_connecting = |(_, what): &&(&str, &str)| what.starts_with("connecting");
        let connecting =
            seconds.iter().filter(is_connecting).all(|(_, what)| what.ends_with(" of 24 opened, 0 failed"));
        assert!(connecting && times.last() < Some(&60), "{seconds:#?}");
        // The last line may be written while they close.
        let is_held = seconds.iter().any(|(_, what)| *what == "load over, 0 errors, 24 open");
        phases == all && is_held && times.last() >= Some(&5)
    };
    std::thread::scope(|scope| {
        for workers in ["1", "2"] {
            let has_all_phases = &has_all_phases;
            scope.spawn(move || assert!((0..5).any(|_| has_all_phases(workers)), "each of five logs lacks a phase"));
        }
    });
}

/// More than a pipe holds: the rest waits in the client, and its run goes on.
#[test]
fn an_unread_log_does_not_stop_a_run() {
    let server = server();
    let port = server.address().port().to_string();
    let mut command = Program::client_command();
    command.args(["127.0.0.1", &port, "10", "--size", "4KiB", "--messages", "2", "-vv"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = await_some("the end of the client", || child.try_wait().unwrap());
    let mut report = String::new();
    child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    assert_eq!(status.code(), Some(0), "{report}");
    assert!(report.contains("every byte came back as it was sent"), "{report}");
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("debug: Starting connection 1 to "), "{}", &log[..200]);
}
