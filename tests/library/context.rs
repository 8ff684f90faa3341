//! Facts that a service learns from its context, over TCP and Unix sockets, and the state that a worker's services
//! share.

use super::misbehaving_service::misbehaving_server_command;
use super::support::{PATIENCE, Program, connect, connect_unix, expect_end, read_to_end};
use super::{Running, Upper, expect_upper};
use multiconn::error::Error;
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Context, Input, OneShot, Output, Service, Wait};
use multiconn::socket::{Address, Endpoint};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};

/// Sends what its context tells in the factory, then the same in its first call, and closes.
struct Facts(String);

impl Facts {
    fn new(context: &mut Context<'_>) -> Self {
        Self(Self::describe(context))
    }

    fn describe(context: &mut Context<'_>) -> String {
        let id = context.id();
        assert_eq!(context.handle().id(), id);
        let debug = format!("{context:?}");
        assert!(debug.contains(&format!("id: {id}")), "{debug}");
        let (peer, local, listener) = (context.peer(), context.local(), context.listener());
        format!("{id} {peer} {local:?} {listener:?} {} {}\n", context.tls().is_some(), context.is_draining())
    }
}

impl Service for Facts {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        output.write(self.0.as_bytes());
        output.write(Self::describe(context).as_bytes());
        Wait::Close
    }
}

#[test]
fn a_context_knows_the_addresses_of_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    config.workers = 2;
    config.listen.extend([Endpoint::tcp("127.0.0.2", 0), Endpoint::Unix(path.clone())]);
    let server = Server::bind(config, Facts::new).unwrap();
    let addresses: Vec<Address> = server.addresses().into_iter().cloned().collect();
    assert_eq!(addresses.len(), 3);
    let handle = server.handle();
    let thread = thread::spawn(move || server.run().unwrap());
    for (number, listener) in (1..).zip(addresses.iter().cycle().take(9)) {
        let (told, peer) = match listener {
            Address::Ip(address) => {
                let mut peer = connect(*address);
                let local = Address::Ip(peer.local_addr().unwrap());
                (read_to_end(&mut peer), local)
            }
            Address::Unix(path) => (read_to_end(&mut connect_unix(path)), Address::Unix(Path::new("").to_owned())),
        };
        let facts = format!("{number} {peer} {:?} {:?} false false\n", Some(listener), Some(listener));
        assert_eq!(String::from_utf8(told).unwrap(), facts.repeat(2));
    }
    handle.drain();
    assert_eq!(thread.join().unwrap().accepted, 9);
}

/// The number joins what a service logs with what the server logs.
#[test]
fn the_number_of_a_connection_is_that_of_the_log() {
    let mut command = misbehaving_server_command(Path::new("/nobody/is/here"));
    let mut server = Program::spawn(command.env("RUST_LOG", "multiconn=debug"));
    for _ in 0..5 {
        let mut peer = connect(server.address());
        peer.write_all(b"#").unwrap();
        let mut number = String::new();
        BufReader::new(peer.try_clone().unwrap()).read_line(&mut number).unwrap();
        server.await_stderr(&format!("connection={} peer={}", number.trim(), peer.local_addr().unwrap()));
    }
    assert_eq!(server.terminate().code, Some(0));
}

/// Closes when the drain has told it, if it was told in a call.
struct AwaitsDrain(Wait);

impl Service for AwaitsDrain {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if context.is_draining() {
            output.write(b"draining");
            return Wait::Close;
        }
        if !input.is_empty() {
            output.write(b"!");
        }
        input.clear();
        self.0
    }

    fn is_busy(&self) -> bool {
        true
    }
}

#[test]
fn every_service_is_called_when_a_drain_begins() {
    let server = Running::start(2, |context| {
        AwaitsDrain(match context.id() % 4 {
            0 => Wait::Input,
            1 => Wait::Either,
            2 => Wait::Wake,
            _ => Wait::Deadline(context.now() + PATIENCE * 10),
        })
    });
    let mut peers: Vec<_> = (0..40).map(|_| connect(server.address)).collect();
    for peer in &mut peers {
        peer.write_all(b"?").unwrap();
        let mut reply = [0];
        std::io::Read::read_exact(peer, &mut reply).unwrap();
    }
    server.handle.drain();
    for peer in &mut peers {
        assert_eq!(read_to_end(peer), b"draining");
    }
}

/// Answers, and waits without end.
struct Idle(Wait);

impl Service for Idle {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let _ = Upper.serve(input, output, context);
        self.0
    }
}

#[test]
fn a_drain_ends_idle_services_at_once() {
    let server = Running::start(1, |context| {
        Idle(match context.id() % 4 {
            0 => Wait::Input,
            1 => Wait::Either,
            2 => Wait::Wake,
            _ => Wait::Deadline(context.now() + PATIENCE * 10),
        })
    });
    let mut peers: Vec<_> = (0..8).map(|_| connect(server.address)).collect();
    for peer in &mut peers {
        expect_upper(peer, b"served");
    }
    // Some have ended their input.
    peers[4..].iter().for_each(|peer| peer.shutdown(std::net::Shutdown::Write).unwrap());
    server.handle.drain();
    peers.iter_mut().for_each(expect_end);
    assert_eq!(server.await_end().closed.values().sum::<u64>(), 8);
}

/// State of a worker that is not `Send`, and reports the thread on which it is dropped.
struct State {
    count: Cell<u64>,
    dropped: mpsc::Sender<ThreadId>,
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = self.dropped.send(thread::current().id());
    }
}

#[test]
fn each_worker_has_its_own_state_on_its_own_thread() {
    let (dropped, drops) = mpsc::channel();
    let started = Arc::new(Mutex::new(BTreeMap::new()));
    let starts = Arc::clone(&started);
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    config.workers = 3;
    let server = Server::bind_per_worker(config, move |number| {
        assert!(starts.lock().unwrap().insert(number, thread::current().id()).is_none(), "started twice");
        let state = Rc::new(State { count: Cell::new(0), dropped: dropped.clone() });
        move |_: &mut Context<'_>| {
            state.count.set(state.count.get() + 1);
            let line = format!("{number} {:?} {}\n", thread::current().id(), state.count.get());
            let state = Rc::clone(&state);
            OneShot::new(move || {
                let _alive = &state;
                line.clone()
            })
        }
    });
    let server = server.unwrap();
    let &Address::Ip(address) = server.addresses()[0] else { panic!("a TCP address") };
    let handle = server.handle();
    let thread = thread::spawn(move || server.run().unwrap());
    let mut lines: Vec<String> =
        (0..60).map(|_| String::from_utf8(read_to_end(&mut connect(address))).unwrap()).collect();
    handle.drain();
    assert_eq!(thread.join().unwrap().accepted, 60);
    let threads = started.lock().unwrap().clone();
    assert_eq!(threads.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    // Each worker counts its own connections, on its thread.
    let mut expected = Vec::new();
    for (number, thread) in &threads {
        let connections = lines.iter().filter(|line| line.starts_with(&format!("{number} "))).count();
        expected.extend((1..=connections).map(|count| format!("{number} {thread:?} {count}\n")));
    }
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let mut dropped: Vec<_> = drops.iter().map(|id| format!("{id:?}")).collect();
    let mut of_workers: Vec<_> = threads.values().map(|id| format!("{id:?}")).collect();
    dropped.sort_unstable();
    of_workers.sort_unstable();
    assert_eq!(dropped, of_workers);
}

#[test]
fn a_worker_whose_state_panics_ends_the_server() {
    for failing in 0..2 {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        let server = Server::bind_per_worker(config, move |number| {
            assert!(number != failing, "a panic that the test asked for");
            |_: &mut Context<'_>| Upper
        });
        let error = server.unwrap().run().unwrap_err();
        assert!(matches!(&error, Error::Panic(text) if text == "a panic that the test asked for"), "{error}");
    }
}
