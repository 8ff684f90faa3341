//! Descriptor exhaustion: pending connections cost nothing, and are accepted as soon as a descriptor is free.
//!
//! That all of them are served in the end, and how often the server retries, is tested in `limits`.

use super::limits::{answered, speaking};
use super::support::{Exit, Program, await_some, await_until, echo, skipped};
use super::{server, still_serves};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::time::{Duration, Instant};

/// How many peers connect at once.
const PEERS: usize = 200;

type Waiting = Vec<(usize, TcpStream)>;

/// The CPU time used in an idle second or more, in percent (a tick is 10 ms on all systems).
fn idle_percent(server: &Program) -> Option<u64> {
    let (before, since) = (server.cpu_ticks()?, Instant::now());
    // What is measured is the passing of time itself.
    std::thread::sleep(Duration::from_secs(1));
    Some((server.cpu_ticks()? - before) * 1000 / u64::try_from(since.elapsed().as_millis()).unwrap())
}

/// Takes the served peers, `wanted` or more, until no further one was served for a while, which is long enough for several
/// retries.
fn take_served(waiting: &mut Waiting, wanted: usize) -> Vec<TcpStream> {
    let mut inside = Vec::new();
    let mut last = Instant::now();
    await_until("as many served as there is room for", || {
        let more = answered(waiting);
        if !more.is_empty() {
            last = Instant::now();
        }
        inside.extend(more);
        inside.len() >= wanted && last.elapsed() > Duration::from_millis(350)
    });
    inside
}

/// Descriptors become free in several portions, without new connects. Pending connections get all of them, and open
/// connections are unaffected. (With several workers, each of the others may have held one connection more before.)
fn serve_the_rest(mut inside: Vec<TcpStream>, mut waiting: Waiting, workers: usize) {
    while !waiting.is_empty() {
        let leaving = inside.len().div_ceil(2);
        let wanted = (leaving + 1 - workers).min(waiting.len());
        inside.drain(..leaving);
        let mut came = Vec::new();
        await_until(&format!("{wanted} served after {leaving} left"), || {
            came.extend(answered(&mut waiting));
            came.len() >= wanted
        });
        inside.extend(came);
        for peer in &mut inside {
            echo(peer, b"undisturbed");
        }
    }
}

fn expect_rare_warnings(exit: &Exit, workers: usize, since: Instant) {
    let most = workers as u64 * (since.elapsed().as_secs() + 1);
    let warnings = exit.told(&["warning: "]) as u64;
    assert!(warnings <= most, "{warnings} warnings in {:?}: {exit:#?}", since.elapsed());
}

/// The limit is known at the start: the default reserves descriptors for everything else, so accepting never fails.
#[test]
fn a_small_limit_is_shared_without_a_failure() {
    for workers in [1, 2] {
        let arguments = ["127.0.0.1", "0", "--workers", &workers.to_string()];
        let mut server = Program::spawn(Program::server_with_descriptors(64).args(arguments));
        let mut waiting: Waiting = speaking(server.address(), PEERS).into_iter().enumerate().collect();
        let mut inside = take_served(&mut waiting, 30);
        assert!(inside.len() < 64, "{} were let in", inside.len());
        match idle_percent(&server) {
            Some(percent) => assert!(percent < 5, "{percent} % of a CPU while {} wait", waiting.len()),
            None => skipped("the CPU time of waiting", "the CPU time of a process cannot be read here"),
        }
        for peer in &mut inside {
            echo(peer, b"undisturbed");
        }
        serve_the_rest(inside, waiting, workers);
        server.await_closed(PEERS);
        let exit = still_serves(&mut server);
        exit.expect_counts(&[("closed by peer", PEERS as u64 + 1)]);
        assert_eq!(exit.told(&["warning"]), 0, "{exit:#?}");
    }
}

/// The limit is lowered while the server runs: accept(2) fails with `EMFILE`.
#[test]
#[cfg(target_os = "linux")]
fn descriptor_exhaustion_costs_no_cpu_and_recovers() {
    for workers in [1, 2] {
        let mut server = server(&["--workers", &workers.to_string()]);
        let address = server.address();
        let since = Instant::now();
        let few = Rlimit { current: Some(64), maximum: Some(64) };
        prlimit(Some(server.pid()), Resource::Nofile, few).unwrap();
        let mut waiting: Waiting = speaking(address, PEERS).into_iter().enumerate().collect();
        server.await_stderr("too many open files");
        let mut inside = take_served(&mut waiting, 30);
        let percent = idle_percent(&server).expect("Linux has procfs");
        assert!(percent < 5, "{percent} % of a CPU while {} wait", waiting.len());
        for peer in &mut inside {
            echo(peer, b"undisturbed");
        }
        serve_the_rest(inside, waiting, workers);
        server.await_closed(PEERS);
        let exit = still_serves(&mut server);
        assert_eq!(exit.counted("closed by peer"), PEERS as u64 + 1, "{exit:#?}");
        assert!(exit.counted("failed to be accepted") > 0, "{exit:#?}");
        expect_rare_warnings(&exit, workers, since);
    }
}

/// A second thread on the descriptor table would cost each call of the event loop a reference to its socket. Signal handlers
/// use that table, so the log handles no signal.
#[test]
#[cfg(target_os = "linux")]
fn the_log_has_a_descriptor_table_of_its_own() {
    let server = server(&["--workers", "1"]);
    let pid = server.pid().as_raw_nonzero();
    let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let count = |task: &Path| std::fs::read_dir(task.join("fd")).unwrap().count();
    let is_log = |task: &Path| std::fs::read_to_string(task.join("comm")).unwrap() == "log\n";
    let log =
        await_some("a log with the standard streams only", || tasks().find(|task| is_log(task) && count(task) == 3));
    assert_eq!(tasks().filter(|task| count(task) > 3).count(), 1, "the event loop has the others");
    let status = std::fs::read_to_string(log.join("status")).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1] {
        assert_ne!(blocked >> (signal.as_raw() - 1) & 1, 0, "{signal:?}");
    }
}
