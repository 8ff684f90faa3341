//! Ramps: the rate of an open loop changes linearly over its duration.

use super::load::load;
use super::server;
use super::support::{Program, expect_refusal};
use super::udp::own_server;
use multiconn::results::TextReport;

#[test]
fn a_ramp_sends_the_integral_of_its_rate() {
    let server = server();
    for (rate, more, first_second) in [
        ("100..500", &[][..], 200),
        ("500..100", &["--workers", "3"], 400),
        ("100..500", &["--warm-up", "500ms", "--workers", "2"], 200),
    ] {
        let run = load(server.address(), &[&["--rate", rate, "--duration", "2s", "-c", "10"], more].concat());
        run.expect_success(600);
        let results = &run.results;
        let ends = rate.split_once("..").map(|(from, to)| (from.parse().ok(), to.parse().ok()));
        assert_eq!(Some((results.load.rate, results.load.ramp_to)), ends, "{run:?}");
        assert_eq!(results.messages.due, Some(600), "{run:?}");
        assert!(!results.reasons.iter().any(|reason| reason.contains("schedule")), "{run:?}");
        assert!(results.intervals[0].sent <= first_second + 50, "{run:?}");
        let shown = if rate == "100..500" { "open loop, 100 /s to 500 /s," } else { "open loop, 500 /s to 100 /s," };
        assert!(TextReport(results).to_string().contains(shown), "{run:?}");
    }
}

#[test]
fn poisson_arrivals_and_datagrams_follow_a_ramp() {
    let (_server, address) = own_server(&[]);
    for arrivals in ["uniform", "poisson"] {
        let work = ["--udp", "--rate", "1..999", "--duration", "1s", "--arrivals", arrivals, "-c", "3"];
        let run = load(address, &work);
        let due = run.results.messages.due.unwrap();
        // Five standard deviations of 500.
        let allowed = if arrivals == "uniform" { 500..=500 } else { 388..=612 };
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
