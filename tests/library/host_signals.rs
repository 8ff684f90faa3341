//! Signal handlers of a process that runs servers for a while are restored when the servers have ended.
//!
//! The process is this test program, started to run only [`host`].

use super::support::{PATIENCE, Program, await_some, await_until, connect};
use multiconn::server::{Server, ServerConfig, ServerHandle};
use multiconn::service::Echo;
use multiconn::socket::{Address, Endpoint};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Environment variable that makes [`host`] act, and how.
const ACT: &str = "HOST_SIGNALS_ACT";

fn start(act: &str) -> Program {
    let mut command = Program::clean(std::process::Command::new(std::env::current_exe().unwrap()));
    // How many areas of memory the allocator uses otherwise depends on how threads happen to overlap (mallopt(3)).
    command.env("MALLOC_ARENA_MAX", "1");
    Program::spawn(command.args(["--exact", "host_signals::host", "--nocapture"]).env(ACT, act))
}

/// The process ends by `signal`, as if it had never had a handler.
#[track_caller]
fn expect_death(host: &mut Program, signal: Signal) {
    host.signal(signal);
    let status = await_some("the end of the process", || host.status());
    assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
}

fn say(text: &str) {
    writeln!(std::io::stdout().lock(), "\n{text}").unwrap();
}

fn serve() -> (ServerHandle, JoinHandle<()>) {
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    (config.workers, config.handle_signals) = (1, true);
    let server = Server::bind(config, |_| Echo).unwrap();
    (server.handle(), std::thread::spawn(move || drop(server.run().unwrap())))
}

/// Serves one client, and stops.
fn serve_once() {
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    (config.workers, config.handle_signals) = (1, true);
    let server = Server::bind(config, |_| Echo).unwrap();
    let &Address::Ip(address) = server.addresses()[0] else { panic!("a TCP address") };
    let handle = server.handle();
    let server = std::thread::spawn(move || drop(server.run().unwrap()));
    let mut client = connect(address);
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    drop(client);
    handle.stop();
    server.join().unwrap();
}

/// Number of open descriptors, and of threads. 0 without /proc.
fn open_descriptors_and_threads() -> [usize; 2] {
    ["fd", "task"].map(|folder| std::fs::read_dir(format!("/proc/self/{folder}")).map_or(0, Iterator::count))
}

/// Memory of the heap and of stacks, in KiB. 0 without /proc.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Does nothing unless another test runs it as a program.
#[test]
fn host() {
    let Ok(act) = std::env::var(ACT) else { return };
    match act.as_str() {
        "thousand" => {
            let before = open_descriptors_and_threads();
            (0..100).for_each(|_| serve_once());
            let early_kib = anonymous_kib();
            (0..900).for_each(|_| serve_once());
            // A thread that was joined may be listed for a moment.
            await_until("descriptors and threads as before", || open_descriptors_and_threads() == before);
            let late_kib = anonymous_kib();
            // Less than 300 bytes for each server.
            assert!(late_kib < early_kib + 256, "{early_kib} KiB after 100 servers, {late_kib} KiB after 1,000");
            say("no server left");
        }
        "two" => {
            let (first, second) = (serve(), serve());
            first.0.stop();
            first.1.join().unwrap();
            say("one server left");
            second.1.join().unwrap();
            say("no server left");
        }
        "own handler" => {
            let is_told = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(Signal::TERM.as_raw(), Arc::clone(&is_told)).unwrap();
            let (handle, server) = serve();
            handle.stop();
            server.join().unwrap();
            say("no server left");
            await_until("the signal", || is_told.load(Ordering::Relaxed));
            say("told");
            return;
        }
        _ => panic!("{act}?"),
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn after_a_thousand_servers_signals_have_their_default_action() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::USR2] {
        // One check suffices for the thousand.
        let mut host = start(if signal == Signal::TERM { "thousand" } else { "two" });
        if signal != Signal::TERM {
            host.await_stdout("one server left");
            host.signal(Signal::TERM);
        }
        host.await_stdout_within(6 * PATIENCE, "no server left");
        expect_death(&mut host, signal);
    }
}

#[test]
fn a_handler_of_the_process_is_kept() {
    let mut host = start("own handler");
    host.await_stdout("no server left");
    host.signal(Signal::TERM);
    host.await_stdout("told");
    assert_eq!(host.await_exit().code, Some(0));
}
