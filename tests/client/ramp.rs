//! Ramps: the rate of an open loop changes linearly over its duration.

use super::load::load;
use super::server;
use super::support::{Program, expect_refusal};
use super::udp::own_server;
use multiconn::results::TextReport;
use std::time::Duration;

#[test]
fn a_ramp_sends_the_integral_of_its_rate() {
    let server = server();
    for (rate, more, first_second) in [
        ("20..100", &[][..], 40),
        ("100..20", &["--workers", "3"], 80),
        ("20..100", &["--warm-up", "500ms", "--workers", "2"], 40),
    ] {
        let run = load(server.address(), &[&["--rate", rate, "--duration", "2s", "-c", "10"], more].concat());
        // No more than one turn sends: the load of a late client ends in time.
        run.expect_success(120);
        let results = &run.results;
        let ends = rate.split_once("..").map(|(from, to)| (from.parse().ok(), to.parse().ok()));
        assert_eq!(Some((results.load.rate, results.load.ramp_to)), ends, "{run:?}");
        assert_eq!(results.messages.due, Some(120), "{run:?}");
        assert!(!results.reasons.iter().any(|reason| reason.contains("schedule")), "{run:?}");
        // What a stopped client sends when it continues counts for the second in which it was stopped.
        let was_late = results.histograms.send_delay.max() > Some(Duration::from_millis(100));
        assert!(was_late || results.intervals[0].sent <= first_second + 10, "{run:?}");
        let shown = if rate == "20..100" { "open loop, 20.0 /s to 100 /s," } else { "open loop, 100 /s to 20.0 /s," };
        assert!(TextReport(results).to_string().contains(shown), "{run:?}");
    }
}

#[test]
fn poisson_arrivals_and_datagrams_follow_a_ramp() {
    let (_server, address) = own_server(&[]);
    for arrivals in ["uniform", "poisson"] {
        let work = ["--udp", "--rate", "1..199", "--duration", "1s", "--arrivals", arrivals, "-c", "3"];
        let run = load(address, &[&work[..], &["--reply-timeout", "10s"]].concat());
        let due = run.results.messages.due.unwrap();
        // Five standard deviations of 100.
        let allowed = if arrivals == "uniform" { 100..=100 } else { 50..=150 };
        assert!(run.code == Some(0) && allowed.contains(&due), "{due}: {run:?}");
    }
}

#[test]
fn impossible_ramps_are_refused() {
    let refuse = |options: &[&str], parts: &[&str]| {
        expect_refusal(Program::client(&[&["127.0.0.1", "65432"], options].concat()), 2, parts);
    };
    refuse(&["--rate", "1k..2k"], &["--rate FROM..TO", "--duration", "10s"]);
    refuse(&["--rate", "1k..2k", "--messages", "5"], &["--rate FROM..TO", "--duration", "10s"]);
    for rate in ["0..1k", "1k..0", "1k..fast", "1k..", "-1..5"] {
        refuse(&[&format!("--rate={rate}"), "--duration", "1s"], &[rate, "50k or 10k..200k"]);
    }
    refuse(&["--rate", "1k..101M", "--duration", "1s"], &["up to 100M", "50k (--rate FROM..TO)"]);
    refuse(&["--rate", "1k..2k", "--duration", "0s"], &["--duration", "10s"]);
}
