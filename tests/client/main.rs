//! `multiconn-client`: tests of the real program on real sockets.
//!
//! The system chooses every port and every wait is bounded, so the tests can run in parallel.

#![allow(clippy::unwrap_used)]

mod after_load;
mod causes;
mod corruption;
mod expected_text;
mod extremes;
mod fake_server;
mod find_max;
mod frames;
mod full_backlog;
mod help;
mod http;
mod interop;
mod interval_json;
mod known_latency;
mod load;
mod log_output;
mod metrics;
mod million;
mod options;
mod outcome;
mod output_files;
mod permanent_errors;
mod precision;
mod proxy_protocol;
mod ramp;
mod read_only;
mod reconnects;
mod refusals;
mod results;
mod retries;
mod search;
mod server_loss;
mod shards;
mod signals;
mod silence;
mod stdin;
mod stop_if;
#[path = "../support/mod.rs"]
mod support;
mod surplus;
mod terminal;
mod timestamps;
mod together;
mod tutorial_job;
mod udp;
mod udp_load;
mod variables;
mod wrong_replies;

use outcome::Outcome;
use std::net::SocketAddr;
use support::Program;

/// Bytes that each connection of the tutorial sends: two messages of 22.
const TUTORIAL_BYTES: u64 = 44;

/// Starts `multiconn-server` on a free port of the IPv4 loopback address.
fn server() -> Program {
    Program::server(&["127.0.0.1", "0"])
}

/// Starts `multiconn-client` against `address` with further arguments.
fn client(address: SocketAddr, arguments: &[&str]) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    Program::client(&[&[&*host, &port], arguments].concat())
}

/// The same with a log of connection events and their fields.
fn logging_client(address: SocketAddr, arguments: &[&str]) -> Program {
    Program::spawn_logging(Program::client_command().arg(address.to_string()).args(arguments))
}

/// Outcome of `multiconn-client` against `address` with further arguments.
#[track_caller]
fn outcome(address: SocketAddr, arguments: &[&str]) -> Outcome {
    Outcome::of(client(address, arguments))
}
