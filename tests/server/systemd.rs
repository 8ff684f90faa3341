//! Service manager: inherited sockets are used, and sd_notify(3) messages are sent.

use super::process_chain::{ProcessChain, install};
use super::support::{
    PATIENCE, Program, await_until, connect, connect_unix, echo, expect_refusal, has_python, uninterrupted,
};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

/// A Python program that passes the sockets of the expression in its first argument, as systemd does, and executes the
/// remaining arguments.
const ACTIVATE: &str = "
import os, sys
from socket import *
def tcp():
    s = socket(); s.bind(('127.0.0.1', 0)); s.listen(); return s
def unix(path, kind=SOCK_STREAM):
    s = socket(AF_UNIX, kind); s.bind(path); kind == SOCK_STREAM and s.listen(); return s
def udp():
    s = socket(type=SOCK_DGRAM); s.bind(('127.0.0.1', 0)); return s
passed = eval(sys.argv[1])
for target, one in enumerate(passed, 100): os.dup2(one.fileno(), target)
for target in range(len(passed)): os.dup2(100 + target, 3 + target); os.close(100 + target)
os.environ.setdefault('LISTEN_PID', str(os.getpid()))
os.environ['LISTEN_FDS'] = str(len(passed))
os.execv(sys.argv[2], sys.argv[2:])
";

pub(crate) fn activated(passed: &str) -> Command {
    let mut command = Program::clean(Command::new("python3"));
    command.args(["-c", ACTIVATE, passed]);
    command
}

fn listening(server: &Program) -> Vec<String> {
    server.stdout().iter().filter_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).collect()
}

#[test]
fn passed_sockets_replace_the_endpoints() {
    if !has_python("socket activation") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, server) = (folder.path().join("m.sock"), folder.path().join("server"));
    install(&server);
    let mut command = activated(&format!("[tcp(), unix('{}'), tcp()]", path.display()));
    let mut process_chain = ProcessChain::of(folder, command.arg(&server).args(["127.0.0.1", "1", "--workers", "2"]));
    process_chain.first.await_stdout(&path.display().to_string());
    await_until("all addresses", || listening(&process_chain.first).len() == 3);
    let first = listening(&process_chain.first);
    let address = |line: &String| line.split(' ').next().unwrap().parse::<SocketAddr>().ok();
    let addresses: Vec<SocketAddr> = first.iter().filter_map(address).collect();
    assert_eq!(addresses.len(), 2, "{first:?}");
    for _ in 0..2 {
        for &address in &addresses {
            echo(&mut connect(address), b"over TCP");
        }
        echo(&mut connect_unix(&path), b"over a Unix socket");
        process_chain.handover();
    }
    // The output of the new processes takes another path than the completion message.
    await_until("the addresses of both successors", || listening(&process_chain.first).len() == 9);
    let mut all = listening(&process_chain.first);
    all.sort();
    let mut expected = [&first[..], &first, &first].concat();
    expected.sort();
    assert_eq!(all, expected, "the successors listen on the same");
    assert_eq!(process_chain.end(), 6);
    assert!(path.exists(), "the path is the manager's");
}

#[test]
fn unusable_sockets_are_refused() {
    if !has_python("sockets that cannot be used") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let datagram = format!("[tcp(), unix('{}', SOCK_DGRAM)]", path.display());
    for passed in ["[open('/dev/null')]", "[socket()]", "[socket(AF_INET, SOCK_DGRAM)]", &datagram] {
        let server = Program::spawn(activated(passed).arg(Program::server_path()));
        expect_refusal(server, 1, &["cannot listen on", "LISTEN_FDS"]);
    }
}

/// Runs with less memory than the variables claim to need.
#[test]
fn an_impossible_number_of_sockets_is_refused() {
    const LIMITED: [&str; 3] = ["sh", "-c", "ulimit -v 400000 && exec \"$0\" \"$@\""];
    for (variables, parts) in [
        (&[("LISTEN_FDS", "50000000")][..], &["LISTEN_FDS=50000000", "such as LISTEN_FDS=1"][..]),
        (&[("LISTEN_FDS", "18446744073709551615")], &["LISTEN_FDS=18446744073709551615", "such as LISTEN_FDS=1"]),
        (&[("LISTEN_FDS", "-1")], &["LISTEN_FDS=-1", "example: LISTEN_FDS=1"]),
        (&[("LISTEN_FDS", "one")], &["LISTEN_FDS=one", "example: LISTEN_FDS=1"]),
        (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "me")], &["LISTEN_PID=me", "example: LISTEN_PID="]),
        (&[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "2147483647")], &["LISTEN_FDS=1", "2147483647"]),
    ] {
        let mut command = Program::server_under(&LIMITED);
        command.args(["127.0.0.1", "0"]).envs(variables.iter().copied());
        expect_refusal(Program::spawn(&mut command), 2, parts);
    }
    // No sockets were passed, or none to this process.
    for variables in [&[("LISTEN_FDS", "")][..], &[("LISTEN_FDS", "0")], &[("LISTEN_FDS", "9"), ("LISTEN_PID", "1")]] {
        let mut command = Program::server_under(&LIMITED);
        let server = Program::spawn(command.args(["127.0.0.1", "0"]).envs(variables.iter().copied()));
        echo(&mut connect(server.address()), b"on its own socket");
    }
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    if !has_python("sockets for another process") {
        return;
    }
    let mut command = activated("[tcp()]");
    command.arg(Program::server_path()).args(["127.0.0.2", "0"]).env("LISTEN_PID", "1");
    let server = Program::spawn(&mut command);
    assert!(server.address().ip().to_string() == "127.0.0.2");
}

/// The next message to the manager, with a bounded wait.
fn next_message(manager: &UnixDatagram) -> String {
    let mut text = [0; 1000];
    let count = uninterrupted(|| manager.recv(&mut text)).expect("the server tells something");
    String::from_utf8(text[..count].to_vec()).unwrap()
}

fn manager(address: &UnixAddr) -> UnixDatagram {
    let manager = UnixDatagram::bind_addr(address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    manager
}

#[test]
fn the_manager_is_notified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = manager(&UnixAddr::from_pathname(&path).unwrap());
    let mut process_chain = ProcessChain::with(|command| command.args(["127.0.0.1", "0"]).env("NOTIFY_SOCKET", &path));
    assert_eq!(next_message(&manager), "READY=1");
    let mut old = connect(process_chain.first.address());
    echo(&mut old, b"it accepts");
    process_chain.replace_by_script(&process_chain.path(), "exit 1");
    process_chain.signal(Signal::USR2);
    assert!(next_message(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next_message(&manager), "READY=1", "it goes on");
    process_chain.replace_by_copy(&process_chain.path());
    let child_program = process_chain.handover();
    assert!(next_message(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next_message(&manager), format!("MAINPID={child_program}\nREADY=1"));
    drop(old);
    await_until("the old process's end", || process_chain.first.status().is_some());
    process_chain.end();
    assert_eq!(next_message(&manager), "STOPPING=1", "the old process said nothing of its own end");
}

#[test]
fn an_abstract_manager_address_is_notified() {
    let name = format!("multiconn-test-{}", std::process::id());
    let manager = manager(&UnixAddr::from_abstract_name(&name).unwrap());
    let mut command = Program::server_command();
    let mut server = Program::spawn(command.args(["127.0.0.1", "0"]).env("NOTIFY_SOCKET", format!("@{name}")));
    assert_eq!(next_message(&manager), "READY=1");
    assert_eq!(server.terminate().code, Some(0));
    assert_eq!(next_message(&manager), "STOPPING=1");
}

#[test]
fn a_missing_manager_does_not_stop_the_server() {
    let mut command = Program::server_command();
    let server = Program::spawn(command.args(["127.0.0.1", "0"]).env("NOTIFY_SOCKET", "/nobody/is/here"));
    echo(&mut connect(server.address()), b"all the same");
    server.await_stderr("warning: cannot notify the service manager");
}

#[test]
fn the_watchdog_is_notified_by_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = manager(&UnixAddr::from_pathname(&path).unwrap());
    let arguments = ["127.0.0.1", "0", "--workers", "3"];
    let since = Instant::now();
    let mut process_chain = ProcessChain::with(|command| {
        command.args(arguments).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000")
    });
    let watch = || {
        let mut pings = 0;
        while pings < 5 {
            match next_message(&manager).as_str() {
                "WATCHDOG=1" => pings += 1,
                other => assert!(!other.contains("STOPPING"), "{other}"),
            }
        }
    };
    watch();
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(300), "five in {took:?} is more than twice in each interval");
    // The variable that names a PID is not passed to the new process.
    process_chain.handover();
    await_until("the old process's end", || process_chain.first.status().is_some());
    watch();
    process_chain.end();
    // What is left would fill the queue, and the next message would be lost.
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut [0; 1000]).is_ok() {}
    manager.set_nonblocking(false).unwrap();
    let mut command = Program::server_command();
    command.args(arguments).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let mut server = Program::spawn(&mut command);
    while next_message(&manager) != "READY=1" {}
    echo(&mut connect(server.address()), b"some time passes");
    server.terminate();
    assert_eq!(next_message(&manager), "STOPPING=1", "another process is watched");
}
