//! `--stop-if`: a threshold on each second ends the load in order.

use super::load::load;
use super::support::{Program, expect_refusal};
use super::{client, server};

#[test]
fn a_crossed_threshold_ends_the_load() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "30ms"]);
    for (arguments, expression, measured) in [
        (&["--rate", "100", "-c", "10", "--workers", "2"][..], "p50>10ms", "p50 is "),
        (&["--rate", "1k..100k", "-c", "3", "--pipeline", "1"], "p50>=30ms", "p50 is "),
        (&["-c", "2", "--workers", "2", "--timestamps", "user"], "rate>1", "rate is "),
    ] {
        let conditions = ["--duration", "60s", "--stop-if", "errors>0", "--stop-if", expression];
        let run = load(server.address(), &[arguments, &conditions].concat());
        let results = &run.results;
        let stop = results.stop.as_ref().unwrap_or_else(|| panic!("{run:?}"));
        assert_eq!((run.code, &*stop.expression), (Some(3), expression), "{run:?}");
        assert!(stop.measured.starts_with(measured) && stop.second >= 1, "{stop:?}");
        assert!((1.0..30.0).contains(&results.measured_s) && !results.interrupted, "{run:?}");
        assert!(results.errors.is_empty() && results.connections.completed == results.connections.requested, "{run:?}");
        assert!(results.reasons.iter().all(|reason| !reason.contains("ended early")), "{run:?}");
        let told = format!("; {stop}").split(' ').map(str::to_owned).collect::<Vec<_>>();
        let report = run.stderr.join(" ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(report.windows(told.len() - 1).any(|words| words == &told[1..]), "{stop}: {run:?}");
    }
}

/// A server that takes messages and answers none: the loops are idle, and each second is checked all the same. Otherwise
/// the reply timeout would wake them first.
#[test]
fn a_silent_second_is_checked() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "discard"]);
    let silent = ["-c", "2", "--duration", "60s", "--reply-timeout", "6s", "--stop-if", "rate<1", "--stop-if", "p99>0"];
    let run = load(server.address(), &silent);
    let stop = run.results.stop.as_ref().unwrap_or_else(|| panic!("{run:?}"));
    assert_eq!((&*stop.expression, run.code), ("rate<1", Some(3)), "{run:?}");
    // The first one, unless the client was stopped meanwhile.
    assert!((1..6).contains(&stop.second), "{run:?}");
}

#[test]
fn other_thresholds_end_nothing() {
    let server = server();
    let work = ["--rate", "50", "--duration", "1500ms"];
    for condition in ["p99>1h", "rate>1k", "timed_out>0"] {
        let run = load(server.address(), &[&work[..], &["--stop-if", condition]].concat());
        assert_eq!((run.code, &run.results.stop), (Some(0), &None), "{run:?}");
        assert_eq!(run.results.messages.answered, 75, "{run:?}");
    }
    let exit = client(server.address(), &["--duration", "60s", "--stop-if", "rate>0", "-q"]).await_exit();
    assert_eq!((exit.code, exit.stdout.len()), (Some(3), 0), "{exit:#?}");
    assert!(exit.stderr.len() == 1 && exit.stderr[0].starts_with("✗ rate>0 ended the load in second "), "{exit:#?}");
    expect_refusal(client(server.address(), &["--stop-if", "errors>0"]), 2, &["--stop-if, --duration", "10s"]);
    expect_refusal(client(server.address(), &["--duration", "1s", "--stop-if", "p99"]), 2, &["--stop-if", "p99>2ms"]);
}
