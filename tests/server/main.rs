//! `multiconn-server` from outside: the real program on real sockets.
//!
//! The system chooses every port and every wait is bounded, so the tests can run in parallel.

#![allow(clippy::unwrap_used)]

mod addresses;
mod admission;
mod busy_drain;
#[cfg(target_os = "linux")]
mod clock_steps;
mod conformance;
mod descriptors;
mod drain;
mod echo;
mod extremes;
mod fake_parent;
mod faults;
mod field;
mod forced_ends;
mod handover;
mod handover_kill;
mod injected_errno;
mod interop;
mod limits;
mod log_output;
mod memory;
mod metrics;
mod metrics_attacks;
mod neighbours;
mod permanent_errors;
mod process_chain;
mod proxy;
mod proxy_protocol;
mod reflection;
mod refusals;
mod services;
#[cfg(target_os = "linux")]
mod signals;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(target_os = "linux")]
mod systemd_tools;
mod time_limits;
mod udp;
mod unavailable;
mod unread_log;
mod urgent;
mod variables;

use support::{Exit, Program, connect, echo_all};

/// A server on a free port of the IPv4 loopback address, with further arguments.
fn server(arguments: &[&str]) -> Program {
    Program::server(&[&["127.0.0.1", "0"], arguments].concat())
}

/// The same with a log of connection events and their fields.
fn logging_server(arguments: &[&str]) -> Program {
    Program::spawn_logging(Program::server_command().args(["127.0.0.1", "0"]).args(arguments))
}

/// Expects that the server still serves, whatever happened before, and exits normally on a signal. This echo has
/// completed by then; for the end of other connections there is [`Program::await_closed`].
#[track_caller]
fn still_serves(server: &mut Program) -> Exit {
    echo_all(&mut connect(server.address()), b"Are you still there?");
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.starts_with("Served ")), "{exit:#?}");
    assert!(!exit.stderr.iter().any(|line| line.contains("panicked")), "{exit:#?}");
    exit
}
