//! Death of the old process during a handover: the new one serves in its place. Only an old process that reports that
//! it continues ends the new one.

use super::fake_parent::FakeParent;
use super::process_chain::{children, is_running};
use super::support::{PATIENCE, Program, await_some, await_until, connect, echo, skipped, works};
use super::{server, still_serves};
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often the old process is killed, and by how much later each time. A new process takes a few milliseconds to
/// accept.
const ROUNDS: u32 = 30;
const STEP: Duration = Duration::from_micros(250);

/// A server without a parent to reap it; killed on drop.
struct Orphan(Pid);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// The address of the latest process, once `count` addresses were printed.
fn address_of(server: &Program, count: usize) -> SocketAddr {
    await_some("the address of the new process", || {
        let lines = server.stdout();
        let addresses: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("Listening on ")).collect();
        let last = addresses.last().filter(|_| addresses.len() >= count)?;
        last.split(' ').next()?.parse().ok()
    })
}

/// The first child, as soon as it exists.
fn new_child(old: &Program) -> Orphan {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        // Faster than scanning all processes (proc_pid_task(5)).
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", old.pid())) else { continue };
        let mut children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
        let child = children.find_map(|children| children.split_whitespace().next()?.parse().ok());
        if let Some(child) = child.and_then(Pid::from_raw) {
            return Orphan(child);
        }
    }
    panic!("no new process; stderr of the old one: {:#?}", old.stderr());
}

#[test]
fn the_new_process_serves_whenever_the_old_one_is_killed() {
    let mut not_handed_over = 0;
    for round in 0..ROUNDS {
        let mut old = server(&["--workers", "2"]);
        // It lives as long as its peer, even after the handover.
        let mut peer = connect(old.address());
        echo(&mut peer, b"before");
        old.signal(Signal::USR2);
        let new = new_child(&old);
        std::thread::sleep(STEP * round);
        old.signal(Signal::KILL);
        await_until("the end of the old process", || old.status().is_some());
        let address = address_of(&old, 2);
        for _ in 0..4 {
            echo(&mut connect(address), b"after");
        }
        kill_process(new.0, Signal::TERM).unwrap();
        await_until("the end of the new process", || !is_running(new.0));
        // Both have the same stderr, which ends with the last of them.
        not_handed_over += u32::from(old.await_exit().told(&["the old process died during the handover"]) > 0);
    }
    assert!(not_handed_over > 0, "the old process was never killed in time");
}

#[test]
fn an_old_process_that_dies_at_once_is_replaced() {
    let (mut server, parent) = FakeParent::start();
    drop(parent);
    server.await_stderr("the old process died during the handover; received 0 of its sockets");
    still_serves(&mut server);
}

#[test]
fn an_old_process_that_dies_after_the_last_socket_is_replaced() {
    let (mut server, parent) = FakeParent::start();
    parent.end();
    drop(parent);
    server.await_stderr("the old process died during the handover; serving in its place");
    still_serves(&mut server);
}

#[test]
fn an_old_process_that_continues_is_not_replaced() {
    for is_late in [false, true] {
        let (mut server, parent) = FakeParent::start();
        if is_late {
            parent.end();
        }
        parent.abort();
        let exit = server.await_exit();
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        let last = exit.stderr.last().unwrap();
        assert!(last.ends_with("the old process has aborted the handover and keeps serving"), "{exit:#?}");
    }
}

/// The exit of a container's first process ends all others in it.
#[test]
fn the_first_process_of_a_container_refuses_a_handover() {
    let contained = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !works(Command::new(contained[0]).args(&contained[1..]).arg("true")) {
        return skipped("a server as PID 1", "it takes the right to make a namespace");
    }
    let mut wrapper = Program::spawn(Program::server_under(&contained).args(["127.0.0.1", "0"]));
    let address = wrapper.address();
    let mut old = connect(address);
    let first = children(wrapper.pid())[0];
    kill_process(first, Signal::USR2).unwrap();
    wrapper.await_stderr("SIGUSR2 ignored: the end of this process, which is PID 1");
    echo(&mut old, b"as before");
    echo(&mut connect(address), b"as before");
    assert!(children(first).is_empty());
    drop(old);
    kill_process(first, Signal::TERM).unwrap();
    let exit = wrapper.await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}
