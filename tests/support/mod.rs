//! Shared support for tests of the real programs: child processes that never outlive a test, bounded waits, and peers
//! on real sockets.
//!
//! Nothing here may wait without a bound, and nothing may sleep where a condition can be awaited.

// Each test program uses only some of it.
#![allow(dead_code, unused_imports)]

mod counters;
mod idle;
mod network;
mod open_metrics;
mod peer;
mod pressure;
mod program;
mod refusal;
mod socket_state;
mod summary;
mod transcript;
mod wait;

pub(crate) use idle::is_peer_idle;
pub(crate) use network::forge;
#[cfg(target_os = "linux")]
pub(crate) use network::in_own_network;
pub(crate) use open_metrics::Page;
pub(crate) use peer::{
    bytes, connect, connect_from, connect_unix, echo, echo_all, expect_closed, expect_end, expect_reset,
    expect_reset_of_new, reset,
};
pub(crate) use pressure::{
    NARROW, connect_narrow, connect_with_buffers, more_than_fits, push_all_and_read_back, push_until_blocked,
    push_until_blocked_or_cut, read_to_end, still_sending,
};
pub(crate) use program::{Exit, Program, listening_address};
pub(crate) use refusal::expect_refusal;
pub(crate) use socket_state::{CLOSE_WAIT, SocketState, await_full, socket_state};
pub(crate) use wait::{PATIENCE, await_some, await_until, uninterrupted};

use rustix::process::Pid;
use std::fmt::Display;
use std::io::Write;
use std::process::{Command, Stdio};

/// The system calls that receive and send datagrams, for injected errors.
pub(crate) const RECEIVE_CALL: &str = if cfg!(multiconn_fallbacks) { "recvmsg" } else { "recvmmsg" };
pub(crate) const SEND_CALL: &str = if cfg!(multiconn_fallbacks) { "sendmsg" } else { "sendmmsg" };

/// Reports that a test was skipped, and why. Written past the capture of the test harness, so that it is visible.
pub(crate) fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skipped: {what}: {why}");
}

/// The part of the log line of a closed connection of the server that names its peer and the close reason.
pub(crate) fn closing(peer: impl Display, reason: &str) -> String {
    let reason = if reason.contains(' ') { format!("\"{reason}\"") } else { reason.to_owned() };
    format!("peer={peer} reason={reason} ")
}

/// The PID of the new process in the log line of a completed handover; none in other lines.
pub(crate) fn handed_over_to(line: &str) -> Option<Pid> {
    let (_, rest) = line.split_once("handover complete: PID ")?;
    Pid::from_raw(rest.split(' ').next()?.parse().ok()?)
}

/// Whether `command` can be run here and exits successfully.
pub(crate) fn works(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether python3 is installed; if not, reports that `what` is skipped.
pub(crate) fn has_python(what: &str) -> bool {
    let found = works(Command::new("python3").arg("--version"));
    if !found {
        skipped(what, "there is no python3 here");
    }
    found
}

/// Whether this machine has the IPv6 loopback address; if not, reports that `what` is skipped.
pub(crate) fn has_ipv6(what: &str) -> bool {
    let found = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !found {
        skipped(what, "there is no IPv6 here");
    }
    found
}
