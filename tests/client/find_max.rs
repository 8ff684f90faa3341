//! `--find-max`: searches against servers of known capacity, and what they report.

use super::fake_server::{Fake, deaf};
use super::support::{Exit, Program, await_until, expect_refusal};
use super::{client, server};
use multiconn::results::{FindMax, RunResults, SearchEnd, merge};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const MESSAGE_BYTES: usize = 64;

/// How much time a token bucket makes up for when its threads ran late.
const MAX_LATENESS: Duration = Duration::from_millis(50);

/// Answers exactly `rate` messages per second, however many arrive.
fn token_bucket(rate: f64) -> Fake {
    let interval = Duration::from_secs_f64(1.0 / rate);
    let next = Mutex::new(Instant::now());
    Fake::new(move |_, mut stream: TcpStream| {
        stream.set_nodelay(true).unwrap();
        let mut message = [0; MESSAGE_BYTES];
        while stream.read_exact(&mut message).is_ok() {
            let turn = {
                let mut next = next.lock().unwrap();
                let now = Instant::now();
                *next = (*next).max(now.checked_sub(MAX_LATENESS).unwrap_or(now)) + interval;
                *next
            };
            std::thread::sleep(turn.saturating_duration_since(Instant::now()));
            if stream.write_all(&message).is_err() {
                break;
            }
        }
        None
    })
}

/// The results of a search that was written with `--json FILE`, and the exit of the program.
fn search(address: SocketAddr, arguments: &[&str]) -> (Exit, RunResults) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let size = MESSAGE_BYTES.to_string();
    let exit = client(address, &[&["--size", &size, "--json", path], arguments].concat())
        .await_exit_within(Duration::from_secs(600));
    let text = std::fs::read_to_string(path).unwrap();
    let results = RunResults::from_json(&text).unwrap_or_else(|error| panic!("{error}: {exit:#?}"));
    (exit, results)
}

fn found(results: &RunResults) -> &FindMax {
    results.find_max.as_deref().unwrap()
}

/// On a busy machine a rate below the capacity may fail; a rate above it cannot hold.
#[test]
fn the_capacity_of_a_token_bucket_is_found() {
    let capacity = 1500.0;
    let bucket = token_bucket(capacity);
    let html = tempfile::NamedTempFile::new().unwrap();
    let page = html.path().to_str().unwrap();
    let arguments = ["8", "--find-max", "p50<100ms", "--rate", "250..8k", "--duration", "2s", "--find-budget", "15s"];
    let attempts = (0..10).map(|_| {
        let started = Instant::now();
        let (exit, results) = search(bucket.address(), &[&arguments[..], &["--html", page]].concat());
        assert!(started.elapsed() < Duration::from_secs(30), "{exit:#?}");
        let holds = found(&results).holds.unwrap_or_default();
        assert!(holds <= capacity * 1.05, "{exit:#?} {results:#?}");
        (exit, results, holds)
    });
    let (exit, results, holds) = attempts.into_iter().find(|(exit, ..)| exit.code == Some(0)).unwrap();
    let found = found(&results);
    assert_eq!((exit.code, found.confirmed), (Some(0), true), "{exit:#?} {found:#?}");
    assert_eq!(found.expressions, ["p50<100ms"]);
    assert!(exit.stdout[0].starts_with("p50<100ms holds up to "), "{exit:#?}");
    assert!(exit.stdout[0].ends_with(", 8 connections of 64 B"), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.starts_with("  holds  ") && line.contains("in a fresh run of 2.00 s")));
    // The report is that of the confirmation.
    assert_eq!(results.load.rate, Some(holds));
    assert_eq!(results.load.duration_s, Some(2.0));
    assert!(!results.interrupted && results.errors.is_empty(), "{exit:#?}");
    assert!(std::fs::read_to_string(page).unwrap().contains("<h2>Percentile by rate</h2>"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), results.to_json()).unwrap();
    let shown = Program::report(&["show", file.path().to_str().unwrap()]).await_exit();
    assert_eq!(shown.stdout[0], exit.stdout[0]);
    // A sum of two loads has no highest rate.
    let mut other = results.clone();
    other.run_ids = vec!["another".to_owned()];
    assert_eq!(merge(&[results, other]).unwrap().find_max, None);
}

#[test]
fn a_server_that_is_too_slow_ends_with_1() {
    let bucket = token_bucket(100.0);
    let arguments = ["4", "--find-max", "p50<100ms", "--rate", "500..1k", "--duration", "2s", "--find-budget", "30s"];
    // On a busy machine the client may be the limit.
    let attempts = (0..5).map(|_| {
        let (exit, results) = search(bucket.address(), &arguments);
        assert_eq!((exit.code, found(&results).holds), (Some(1), None), "{exit:#?}");
        (exit, found(&results).end)
    });
    let (exit, _) = attempts.into_iter().find(|(_, end)| *end == SearchEnd::NothingHolds).unwrap();
    assert!(exit.stdout[0].starts_with("p50<100ms does not hold at 500 /s, the lowest rate"), "{exit:#?}");
}

#[test]
fn a_server_that_is_gone_ends_with_1() {
    let (_socket, refusing) = deaf(Ipv4Addr::LOCALHOST);
    let (exit, results) = search(refusing, &["--find-max", "p99<10ms"]);
    assert_eq!((exit.code, found(&results).end), (Some(1), SearchEnd::Failed), "{exit:#?}");
    assert_eq!(results.errors["refused"], 1);
}

#[test]
fn an_interrupted_search_reports_what_is_known() {
    let server = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let search = ["--find-max", "p50<200ms", "--rate", "100..200", "-v", "--log-format", "json", "--json", path];
    // The first rate holds, at least once in five searches on a busy machine.
    let has_held = |client: &Program| client.stderr().iter().any(|line| line.contains("highest rate from 100 /s"));
    let holding = |_| {
        let mut client = client(server.address(), &search);
        await_until("a rate that holds", || has_held(&client) || client.status().is_some());
        client.status().is_none().then_some(client)
    };
    let mut client = (0..5).find_map(holding).expect("the lowest rate holds in one of five searches");
    client.signal(Signal::INT);
    let exit = client.await_exit();
    assert_eq!(exit.code, Some(130), "{:#?}", exit.stdout);
    let results = RunResults::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    let found = found(&results);
    assert_eq!((found.end, found.confirmed), (SearchEnd::Interrupted, false));
    assert!(results.interrupted && found.holds.is_some());
    assert!(exit.stdout[0].contains(" so far: interrupted"), "{:#?}", exit.stdout);
}

#[test]
fn thresholds_are_those_of_the_confirmation() {
    let server = server();
    let search = [
        "--find-max",
        "p50<200ms",
        "--rate",
        "200..200",
        "--find-width",
        "20%",
        "--duration",
        "1s",
        "--find-budget",
        "20s",
    ];
    // On a busy machine a search may find nothing, which ends with 1.
    let confirmed = |start: &dyn Fn() -> Program| {
        let exit = (0..10).map(|_| start().await_exit()).find(|exit| exit.code != Some(1));
        exit.expect("one of ten searches is confirmed")
    };
    for (threshold, code) in [("p50>6s", 0), ("rate<1k", 3)] {
        let exit = confirmed(&|| client(server.address(), &[&search[..], &["--fail-if", threshold]].concat()));
        assert_eq!(exit.code, Some(code), "{threshold}: {exit:#?}");
    }
    // Everything of the client is embedded as well.
    let exit = confirmed(&|| Program::client(&[&["--embedded", "-q"], &search[..]].concat()));
    assert_eq!((exit.code, exit.stdout.len()), (Some(0), 0), "{exit:#?}");
}

#[test]
fn impossible_searches_are_refused() {
    let refuse = |arguments: &[&str], parts: &[&str]| {
        expect_refusal(client("127.0.0.1:1".parse().unwrap(), arguments), 2, parts);
    };
    refuse(&["--find-max", "p99>1ms"], &["--find-max", r#""p99>1ms" is not an objective"#, "p99<1ms"]);
    refuse(&["--find-max", "max<1ms"], &[r#""max<1ms" is not an objective"#, "p99<1ms"]);
    refuse(&["--find-max", "p99<1ms", "--rate", "5k"], &["--rate", "10k..200k"]);
    refuse(&["--find-max", "p99<1ms", "--rate", "5k..1k"], &["--rate FROM..TO", "5.00 k/s to 1.00 k/s"]);
    refuse(&["--find-max", "p99<1ms", "--find-width", "2"], &["--find-width", r#""2" is not a percentage"#, "2%"]);
    refuse(&["--find-max", "p99<1ms", "--find-width", "60%"], &["--find-width", "0.5 % to 50 %"]);
    refuse(&["--find-width", "2%"], &["--find-max"]);
    refuse(&["--find-budget", "2m"], &["--find-max"]);
    refuse(&["--find-max", "p99<1ms", "--find-budget", "20s"], &["--find-budget", "the budget of 20.0 s"]);
    refuse(&["--find-max", "p99.99<1ms", "--rate", "1k..9k"], &["1,000,000 messages", "--rate FROM..TO"]);
    refuse(&["--find-max", "p99<1ms", "--expect", "any"], &["--expect", "--find-max"]);
    refuse(&["--find-max", "p99<1ms", "--expect", "none"], &["--expect", "--find-max"]);
    for other in [
        &["--messages", "5"][..],
        &["--hold", "1s"],
        &["--stdin"],
        &["--shard", "0/2"],
        &["--start-at", "+30s"],
        &["--stop-if", "errors>0"],
        &["--interval-json", "-"],
        &["--metrics", "127.0.0.1:0"],
    ] {
        refuse(&[&["--find-max", "p99<1ms"], other].concat(), &["--find-max", other[0]]);
    }
}
