//! The programs as PID 1 of a PID namespace, as in a container: signals have no default action, and orphans become its
//! children (pid_namespaces(7)).

use super::support::{Program, await_some, await_until, connect, echo, skipped, works};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;

const CONTAINED: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether PID namespaces can be made; if not, reports that `what` is skipped.
fn can_contain(what: &str) -> bool {
    let can = works(Command::new(CONTAINED[0]).args(&CONTAINED[1..]).arg("true"));
    if !can {
        skipped(what, "it takes the right to make a PID namespace");
    }
    can
}

/// The children of a process.
fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// PID 1 of the namespace of `wrapper`, once it runs `program`.
fn first_process(wrapper: &Program, program: &str) -> Pid {
    await_some("PID 1", || {
        let first = *children(wrapper.pid()).first()?;
        let name = std::fs::read_to_string(format!("/proc/{}/comm", first.as_raw_nonzero())).ok()?;
        program.starts_with(name.trim_end()).then_some(first)
    })
}

/// Whether the process handles `signal` (proc_pid_status(5)).
fn handles(process: Pid, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[test]
fn signals_end_every_program() {
    if !can_contain("signals to PID 1") {
        return;
    }
    let peer = Program::server(&["127.0.0.1", "0"]);
    let address = peer.address().to_string();
    let server = || Program::spawn(Program::server_under(&CONTAINED).args(["127.0.0.1", "0"]));
    let load = ["--duration", "1h", "--connect-timeout", "1h"];
    let client = || Program::spawn(Program::client_under(&CONTAINED).arg(&address).args(load));
    let (input, _output) = std::io::pipe().unwrap();
    let report = || {
        let mut command = Program::report_under(&CONTAINED);
        Program::spawn_reading(command.args(["merge", "-"]), input.try_clone().unwrap()).0
    };
    for signal in [Signal::TERM, Signal::INT] {
        for (mut wrapper, program, status) in [
            (server(), "multiconn-server", 0),
            (client(), "multiconn-client", 130),
            (report(), "multiconn-report", 128 + signal.as_raw()),
        ] {
            let first = first_process(&wrapper, program);
            // A signal that PID 1 does not handle yet is lost; the programs handle it first of all.
            await_until("the handler", || handles(first, signal));
            kill_process(first, signal).unwrap();
            assert_eq!(wrapper.await_exit().code, Some(status), "{program}, {signal:?}");
        }
    }
}

/// The lookup of a name without an answer takes a minute. The first signal waits for its end, the second one does not.
#[test]
fn a_second_signal_ends_a_server_that_does_not_serve_yet() {
    const WHAT: &str = "signals to PID 1 during a lookup";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    std::fs::write(folder.path().join("nsswitch.conf"), "hosts: dns\n").unwrap();
    let mount = |file: &str| format!("mount --bind '{}/{file}' /etc/{file}", folder.path().display());
    let script = format!(
        "{} && {} && ip link add far type veth peer name away && ip addr add 192.0.2.2/24 dev far && \
         ip link set far up && ip link set away up && ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev far && exec \"$0\" \"$@\"",
        mount("resolv.conf"),
        mount("nsswitch.conf")
    );
    let wrapper = [&CONTAINED[..], &["--net", "--mount", "sh", "-c", &script]].concat();
    if !works(Command::new(wrapper[0]).args(&wrapper[1..]).arg("true")) {
        return skipped(WHAT, "it takes namespaces, and ip(8)");
    }
    // Longer than the end of a program is waited for.
    let mut command = Program::server_under(&wrapper);
    command.args(["name.test", "0"]).env("RES_OPTIONS", "timeout:30 attempts:2");
    let mut wrapper = Program::spawn(&mut command);
    let first = first_process(&wrapper, "multiconn-server");
    await_until("the lookup", || looks_up(first));
    kill_process(first, Signal::TERM).unwrap();
    await_until("the first signal to be handled", || !is_pending(first));
    kill_process(first, Signal::TERM).unwrap();
    assert_eq!(wrapper.await_exit().code, Some(128 + Signal::TERM.as_raw()));
}

/// Whether a socket of the network of the process is connected to port 53 (proc_net_udp(5)).
fn looks_up(process: Pid) -> bool {
    let sockets = std::fs::read_to_string(format!("/proc/{}/net/udp", process.as_raw_nonzero())).unwrap_or_default();
    sockets.lines().any(|line| line.split_whitespace().nth(2).is_some_and(|remote| remote.ends_with(":0035")))
}

/// Whether a signal waits to be delivered to the process.
fn is_pending(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap_or_default();
    status
        .lines()
        .filter_map(|line| line.strip_prefix("ShdPnd:"))
        .any(|mask| mask.trim().contains(|digit| digit != '0'))
}

#[test]
fn orphans_are_reaped() {
    if !can_contain("orphans of PID 1") {
        return;
    }
    let mut wrapper = Program::spawn(Program::server_under(&CONTAINED).args(["127.0.0.1", "0"]));
    let address = wrapper.address();
    let first = first_process(&wrapper, "multiconn-server");
    let target = first.as_raw_nonzero().to_string();
    // `docker exec` starts processes in this way. The inner shell ends first, and leaves an orphan.
    let orphan = "(sh -c 'echo $$; exec sleep 0.2' &) ; exit 0";
    let entered =
        Command::new("nsenter").args(["--pid", "--mount", "-t", &target, "sh", "-c", orphan]).output().unwrap();
    assert!(entered.status.success(), "{entered:?}");
    assert!(!entered.stdout.is_empty(), "the orphan has run");
    await_until("the end of all children of PID 1", || children(first).is_empty());
    echo(&mut connect(address), b"still there");
    kill_process(first, Signal::TERM).unwrap();
    assert_eq!(wrapper.await_exit().code, Some(0));
}
