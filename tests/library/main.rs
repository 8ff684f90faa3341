//! Library API tests: servers with custom services and clients as function calls, controlled from other threads.

#![allow(clippy::unwrap_used)]

mod broker;
mod chat;
mod client;
mod closed;
mod context;
mod ends;
mod example;
mod file_transfer;
mod framed;
mod framed_sends;
mod handles;
mod host_signals;
mod misbehaving_service;
mod outgoing;
mod panics;
mod proxy_protocol;
mod service;
mod service_misuse;
#[path = "../support/mod.rs"]
mod support;
mod testing;
mod udp;
mod watchdog;
mod web;

use multiconn::error::Error;
use multiconn::server::{Server, ServerConfig, ServerHandle, Summary};
use multiconn::service::{Context, Input, Output, Service, Wait};
use multiconn::socket::{Address, Endpoint};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use support::PATIENCE;

/// A server on a thread of the test; it is stopped when this guard is dropped.
struct Running {
    address: SocketAddr,
    handle: ServerHandle,
    ended: mpsc::Receiver<Result<Summary, Error>>,
}

impl Running {
    /// Starts a server with `workers` on a free port of the loopback address.
    fn start<S: Service + 'static>(
        workers: usize,
        make_service: impl Fn(&mut Context<'_>) -> S + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(|config| config.workers = workers, make_service)
    }

    /// Starts a server configured by `change` on a free port of the loopback address.
    fn start_with<S: Service + 'static>(
        change: impl Fn(&mut ServerConfig),
        make_service: impl Fn(&mut Context<'_>) -> S + Send + Sync + 'static,
    ) -> Self {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        change(&mut config);
        let server = Server::bind(config, make_service).unwrap();
        let [Address::Ip(address)] = server.addresses()[..] else { panic!("one TCP address was asked for") };
        let (address, handle) = (*address, server.handle());
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || drop(end.send(server.run())));
        Self { address, handle, ended }
    }

    /// Waits for the server to end; the caller must have stopped it.
    #[track_caller]
    fn await_end(&self) -> Summary {
        self.ended.recv_timeout(PATIENCE).expect("the server ends in time").unwrap()
    }

    /// Drains the server and waits for its end.
    #[track_caller]
    fn drain(&self) -> Summary {
        self.handle.drain();
        self.await_end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Replies in upper case, and panics on a question mark.
struct Upper;

impl Service for Upper {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        assert!(!input.bytes().contains(&b'?'), "a panic that the test asked for");
        let count = output.write(&input.bytes().to_ascii_uppercase());
        input.consume(count);
        if input.is_empty() { Wait::Input } else { Wait::Writable }
    }
}

/// Exchanges a message with [`Upper`].
#[track_caller]
fn expect_upper(peer: &mut TcpStream, text: &[u8]) {
    peer.write_all(text).unwrap();
    let mut reply = vec![0; text.len()];
    peer.read_exact(&mut reply).unwrap();
    assert!(reply == text.to_ascii_uppercase());
}
