//! Log output of the client, including the lines of the tutorial.

use super::fake_server::{Fake, answer_and_end, deaf, take};
use super::support::{Program, await_some};
use super::{client, outcome, server};
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::Stdio;

#[test]
fn by_default_only_the_report_is_printed() {
    let server = server();
    let outcome = outcome(server.address(), &["20"]);
    outcome.expect_tutorial(20);
    assert_eq!(outcome.stderr.len(), 0, "{outcome:#?}");
}

#[test]
fn verbose_logs_each_connection() {
    let server = server();
    let outcome = outcome(server.address(), &["20", "-v"]);
    outcome.expect_tutorial(20);
    for number in 1..=20 {
        let start = format!("Starting connection {number} to {}", server.address());
        let place = |wanted: &str| outcome.stderr.iter().position(|line| line == wanted);
        let (started, closed) = (place(&start), place(&format!("Closing connection {number}")));
        assert!(started.is_some() && started < closed, "connection {number}: {outcome:#?}");
    }
    // Payloads are logged with -vv only.
    assert_eq!(outcome.stderr.len(), 40, "{outcome:#?}");
}

#[test]
fn more_verbose_logs_payloads_in_python_notation() {
    let server = server();
    for (message, shown) in [
        ("Message 1 from client.", "b'Message 1 from client.'"),
        ("it's", "b\"it's\""),
        ("it's \"\\\"\t\r\n\u{1}\u{7f}é", r#"b'it\'s "\\"\t\r\n\x01\x7f\xc3\xa9'"#),
    ] {
        let outcome = outcome(server.address(), &["--message-raw", message, "-vv"]);
        outcome.expect_success(1, 1, message.len() as u64);
        let lines = [
            format!("Starting connection 1 to {}", server.address()),
            format!("Sending {shown} to connection 1"),
            format!("Received {shown} from connection 1"),
            "Closing connection 1".to_owned(),
        ];
        assert_eq!(outcome.stderr, lines);
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
    assert!(exit.stdout[0].contains("something failed"), "{exit:#?}");
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
    let refused = outcome(address, &["2", "-v"]);
    for number in [1, 2] {
        let told = format!("Connection {number} failed: connection refused: nothing listens there");
        assert!(refused.stderr.contains(&told), "{refused:#?}");
    }
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        answer_and_end(stream, b"Mess");
        None
    });
    let early = outcome(fake.address(), &["-v"]);
    assert!(early.stderr.contains(&"Closing connection 1: closed early by peer".to_owned()), "{early:#?}");
}

/// One line per complete second, where requested.
#[test]
fn a_load_logs_each_second() {
    let server = server();
    let load = ["10", "--workers", "2", "--duration", "3s"];
    for more in [&["--rate", "200"][..], &[]] {
        let exit = client(server.address(), &[&load[..], more, &["-v"]].concat()).await_exit();
        let seconds: Vec<_> = exit.stderr.iter().filter(|line| line.contains(", p99 ")).collect();
        assert!((1..=4).contains(&seconds.len()), "{seconds:#?}");
        let is_whole = |line: &&String| line.contains("/s, p50 ") && line.contains(", 0 errors, 10 open");
        assert!(seconds.iter().any(is_whole), "{seconds:#?}");
        assert_eq!(seconds.iter().any(|line| line.contains(", send delay ")), !more.is_empty(), "{seconds:#?}");
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
    for workers in ["1", "2"] {
        let exit = client(server.address(), &[&work[..], &["--workers", workers]].concat()).await_exit();
        let seconds: Vec<_> = exit.stderr.iter().filter_map(|line| line.split_once(" s: ")).collect();
        let times: Vec<u64> = seconds.iter().map(|(time, _)| time.trim().parse().unwrap()).collect();
        assert!(times.is_sorted_by(|one, other| one < other), "{seconds:#?}");
        let mut phases: Vec<_> = seconds.iter().map(|(_, what)| what.split_once(", ").unwrap().0).collect();
        // The lines of the load begin with its rate.
        phases.iter_mut().filter(|phase| phase.ends_with("/s")).for_each(|phase| *phase = "load");
        phases.dedup();
        assert_eq!(phases, ["connecting", "warm-up", "load", "load over"], "{seconds:#?}");
        assert!(seconds[0].1.ends_with(" of 24 opened, 0 failed"), "{seconds:#?}");
        let last = seconds.last().unwrap();
        assert!((5..60).contains(times.last().unwrap()) && last.1 == "load over, 0 errors, 24 open", "{seconds:#?}");
    }
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
    assert!(log.starts_with("Starting connection 1 to "), "{}", &log[..200]);
}
