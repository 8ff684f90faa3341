//! Out of descriptors: those who wait cost nothing, and their turn comes without anybody else knocking.
//!
//! That all are served in the end, and how often the server tries, is tested in `limits`.

use super::limits::{answered, speaking};
use super::support::{Exit, Program, await_until, echo, skipped};
use super::{server, still_serves};
use rustix::process::{Resource, Rlimit, prlimit};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How many come at once.
const PEERS: usize = 200;

/// How long a free descriptor may stay unused while somebody waits.
const PROMPT: Duration = Duration::from_secs(1);

type Waiting = Vec<(usize, TcpStream)>;

/// The CPU time used in a second in which nothing happens, in hundredths of it (a tick is 10 ms everywhere).
fn percent_of_a_second(server: &Program) -> Option<u64> {
    let before = server.cpu_ticks()?;
    // What is measured is the passing of time itself.
    std::thread::sleep(Duration::from_secs(1));
    Some(server.cpu_ticks()? - before)
}

/// Takes in whoever is answered until nobody else has been for a while, which is long enough for several tries.
fn those_inside(waiting: &mut Waiting) -> Vec<TcpStream> {
    let mut inside = Vec::new();
    let mut last = Instant::now();
    await_until("as many served as there is room for", || {
        let more = answered(waiting);
        if !more.is_empty() {
            last = Instant::now();
        }
        inside.extend(more);
        !inside.is_empty() && last.elapsed() > Duration::from_millis(350)
    });
    inside
}

/// Room becomes free in several portions. Nobody new comes; those who wait get all of it, promptly, and whoever is
/// inside never notices. (With several workers, one more for each of the others may have been inside before.)
fn serve_the_rest(mut inside: Vec<TcpStream>, mut waiting: Waiting, workers: usize) {
    while !waiting.is_empty() {
        let leaving = inside.len().div_ceil(2);
        let wanted = (leaving + 1 - workers).min(waiting.len());
        inside.drain(..leaving);
        let since = Instant::now();
        let mut came = Vec::new();
        await_until(&format!("{wanted} served after {leaving} left"), || {
            came.extend(answered(&mut waiting));
            came.len() >= wanted
        });
        assert!(since.elapsed() < PROMPT, "{wanted} waited {:?} for the room of {leaving}", since.elapsed());
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

/// The limit is known from the start: the default leaves descriptors for everything that is not a connection, so that
/// accepting never fails.
#[test]
fn a_small_limit_is_shared_without_a_failure() {
    for workers in [1, 2] {
        let arguments = ["127.0.0.1", "0", "--workers", &workers.to_string()];
        let mut server = Program::spawn(Program::server_with_descriptors(64).args(arguments));
        let mut waiting: Waiting = speaking(server.address(), PEERS).into_iter().enumerate().collect();
        let mut inside = those_inside(&mut waiting);
        assert!(inside.len() >= 30 && inside.len() < 64, "{} were let in", inside.len());
        match percent_of_a_second(&server) {
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

/// The limit falls while the server runs: accepting itself fails (accept(2), `EMFILE`).
#[test]
#[cfg(target_os = "linux")]
fn running_out_costs_nothing_and_ends_by_itself() {
    for workers in [1, 2] {
        let mut server = server(&["--workers", &workers.to_string()]);
        let address = server.address();
        let since = Instant::now();
        let few = Rlimit { current: Some(64), maximum: Some(64) };
        prlimit(Some(server.pid()), Resource::Nofile, few).unwrap();
        let mut waiting: Waiting = speaking(address, PEERS).into_iter().enumerate().collect();
        server.await_stderr("too many open files");
        let mut inside = those_inside(&mut waiting);
        let percent = percent_of_a_second(&server).expect("Linux has procfs");
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
