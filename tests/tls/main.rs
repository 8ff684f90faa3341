//! TLS of both programs: with each other, with OpenSSL, with Python, and with faulty peers.
//!
//! The system chooses every port and every wait is bounded, so the tests can run in parallel.

#![allow(clippy::unwrap_used)]

mod authority;
mod context;
mod faults;
mod files;
mod forced_ends;
mod life;
mod memory;
mod one_read;
mod outgoing;
mod pair;
mod peers;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use authority::Authority;
use rustls::{ClientConnection, StreamOwned};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use support::{Program, connect, skipped, works};

/// A peer of the tests: a blocking TLS stream.
type Peer = StreamOwned<ClientConnection, TcpStream>;

/// A server on a free port of the IPv4 loopback address that presents the certificate of `authority`.
fn server(authority: &Authority, arguments: &[&str]) -> Program {
    Program::spawn(&mut server_command(authority, arguments))
}

/// The same with a log of connection events and their fields.
fn logging_server(authority: &Authority, arguments: &[&str]) -> Program {
    Program::spawn_logging(&mut server_command(authority, arguments))
}

fn server_command(authority: &Authority, arguments: &[&str]) -> Command {
    let (cert, key) = (authority.path("server.pem"), authority.path("server.key"));
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0", "--tls-cert", &cert, "--tls-key", &key]).args(arguments);
    command
}

/// The address on which our server listens with TLS; waits for it.
#[track_caller]
fn address(server: &Program) -> SocketAddr {
    server.address_of(" (tls, ")
}

/// Our client against `address`, with trust options and further arguments.
fn client(address: SocketAddr, arguments: &[&str]) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    Program::client(&[&[&*host, &port, "--tls"], arguments].concat())
}

/// The same with a log of connection events and their fields.
fn logging_client(address: SocketAddr, arguments: &[&str]) -> Program {
    let address = address.to_string();
    Program::spawn_logging(Program::client_command().args([&address, "--tls"]).args(arguments))
}

/// A peer that trusts `authority`. It negotiates TLS 1.2 or 1.3 as requested.
#[track_caller]
fn peer(authority: &Authority, address: SocketAddr) -> Peer {
    let name = "localhost".try_into().unwrap();
    let session = ClientConnection::new(authority.client_config(), name).unwrap();
    StreamOwned::new(session, connect(address))
}

/// Whether openssl is installed; if not, reports that `what` is skipped.
fn has_openssl(what: &str) -> bool {
    let found = works(Command::new("openssl").arg("version"));
    if !found {
        skipped(what, "there is no openssl here");
    }
    found
}
