//! Unread stderr: the server keeps serving, and later reports how many log lines it dropped.

use super::support::{PATIENCE, Program, connect, echo, echo_all, listening_address};
use multiconn::cli::AddressRepr;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::channel;

/// A server at `-vv` whose stderr is not read yet.
struct Unread {
    child: Child,
    address: SocketAddr,
    stderr: Option<ChildStderr>,
}

impl Unread {
    fn start() -> Self {
        let mut command = Program::server_command();
        command.args(["127.0.0.1", "0", "-vv", "--workers", "2"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: listening_address(&line), stderr: child.stderr.take(), child }
    }

    /// Makes the server log about 512 KiB.
    fn fill(&self) {
        echo_all(&mut connect(self.address), &vec![0xff; 64 * 1024]);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_unread_log_blocks_no_connection_and_reports_dropped_lines() {
    let mut server = Unread::start();
    // More than the pipe, the queue and the batch in progress hold together.
    for _ in 0..48 {
        server.fill();
    }
    echo(&mut connect(server.address), b"Are you still there?");
    let stderr = server.stderr.take().unwrap();
    let (send, lines) = channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            send.send(line.unwrap()).unwrap();
        }
    });
    let dropped = loop {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        if line.contains("dropped") {
            break line;
        }
    };
    let count = dropped.split_once(" warning: ").and_then(|(_, rest)| rest.split(' ').next()).unwrap();
    assert!(count.replace(',', "").parse::<u64>().unwrap() > 0, "{dropped}");
    assert!(dropped.ends_with(" dropped: the log was not read fast enough"), "{dropped}");
    // The log has room again.
    let mut peer = connect(server.address);
    echo(&mut peer, b"Is this told?");
    let told = format!("Received b'Is this told?' from {} ", AddressRepr(peer.local_addr().unwrap()));
    while !lines.recv_timeout(PATIENCE).unwrap().contains(&told) {}
    drop(server);
    while lines.recv_timeout(PATIENCE).is_ok() {}
    reader.join().unwrap();
}

#[test]
fn a_server_with_an_unread_log_can_exit() {
    let mut server = Unread::start();
    server.fill();
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    assert_eq!(super::support::await_some("the end", || server.child.try_wait().unwrap()).code(), Some(0));
    let mut log = String::new();
    server.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains(" debug: options of ") || log.contains(" debug: Accepted"), "{}", &log[..200]);
}
