//! Tests of outgoing connections with names that the test resolves.

use crate::server::resolver::{Resolved, Resolver};
use crate::server::{Server, ServerConfig, ServerHandle, Summary};
use crate::service::{CloseReason, ConnectOptions, Context, Echo, Handle, Input, Output, Service, Wait};
use crate::socket::{Address, Endpoint};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything in these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reports whether its connection was established, and why it ended.
struct Probe(Sender<Option<CloseReason>>);

impl Service for Probe {
    fn serve(&mut self, _input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        let _ = self.0.send(None);
        Wait::Close
    }

    fn closed(&mut self, reason: CloseReason) {
        let _ = self.0.send(Some(reason));
    }
}

/// A server with one worker that echoes, and that connects to `name` for each connection that it accepts.
struct Rig {
    address: SocketAddr,
    handle: ServerHandle,
    events: Receiver<Option<CloseReason>>,
    handles: Arc<Mutex<Vec<Handle>>>,
    summary: Receiver<Summary>,
}

impl Rig {
    fn new(
        port: u16,
        change: impl Fn(&mut ServerConfig, &mut ConnectOptions),
        look_up: impl Fn(&str) -> Resolved + Send + Sync + 'static,
    ) -> Self {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        let mut options = ConnectOptions::to(Endpoint::tcp("name", port));
        (config.workers, config.drain_timeout) = (1, Duration::from_millis(200));
        change(&mut config, &mut options);
        let (sender, events) = channel();
        let handles = Arc::<Mutex<Vec<Handle>>>::default();
        let made = Arc::clone(&handles);
        let factory = Mutex::new((sender, options));
        let mut server = Server::bind(config, move |context| {
            let (sender, options) = &*factory.lock().expect("no panic");
            made.lock().expect("no panic").push(context.connect(options.clone(), Probe(sender.clone())));
            Echo
        })
        .expect("a free port");
        let shared = Arc::get_mut(&mut server.shared).expect("the server does not run");
        shared.resolver = Resolver::with(look_up);
        let [Address::Ip(address)] = server.addresses()[..] else { panic!("one address") };
        let (address, handle, (end, summary)) = (*address, server.handle(), channel());
        std::thread::spawn(move || drop(end.send(server.run().expect("no error"))));
        Self { address, handle, events, handles, summary }
    }

    /// Has the server connect.
    fn connect(&self) -> TcpStream {
        let mut peer = TcpStream::connect(self.address).expect("the server accepts");
        peer.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        echo(&mut peer);
        peer
    }

    fn event(&self) -> Option<CloseReason> {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    fn handle(&self) -> Handle {
        self.handles.lock().expect("no panic").pop().expect("a connection")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

fn echo(peer: &mut TcpStream) {
    let mut reply = [0; 5];
    peer.write_all(b"hello").expect("the server reads");
    peer.read_exact(&mut reply).expect("the server answers");
    assert_eq!(&reply, b"hello");
}

fn address(text: &str) -> Address {
    Address::Ip(text.parse().expect("an address"))
}

/// Lookups that wait for their result; without one they end with the test.
fn blocked() -> (Sender<Resolved>, impl Fn(&str) -> Resolved + Send + Sync + 'static) {
    let (sender, results) = channel();
    let results = Mutex::new(results);
    (sender, move |_: &str| {
        results.lock().expect("no panic").recv().unwrap_or_else(|_| Err("the test ended".to_owned()))
    })
}

#[test]
fn a_slow_lookup_does_not_delay_the_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (result, look_up) = blocked();
    let rig = Rig::new(listener.local_addr().expect("an address").port(), |_, _| (), look_up);
    let mut peers: Vec<_> = (0..10).map(|_| rig.connect()).collect();
    peers.iter_mut().for_each(echo);
    assert!(rig.events.try_recv().is_err(), "nothing is resolved");
    result.send(Ok(vec![address("127.0.0.1:0")])).expect("a lookup waits");
    for _ in &peers {
        drop(listener.accept().expect("a connection"));
    }
    let opened = std::iter::from_fn(|| Some(rig.event())).filter(Option::is_none).take(peers.len()).count();
    assert_eq!(opened, peers.len(), "equal names are looked up once");
}

#[test]
fn a_lookup_that_takes_too_long_is_a_connect_timeout() {
    let (_result, look_up) = blocked();
    let rig = Rig::new(1, |_, options| options.connect_timeout = Duration::from_millis(50), look_up);
    let _peer = rig.connect();
    assert_eq!(rig.event(), Some(CloseReason::ConnectTimeout));
}

#[test]
fn a_close_a_drain_or_a_stop_ends_a_lookup() {
    let (_result, look_up) = blocked();
    let rig = Rig::new(1, |_, _| (), look_up);
    let peers = [rig.connect(), rig.connect(), rig.connect()];
    rig.handle().close(CloseReason::Idle);
    assert_eq!(rig.event(), Some(CloseReason::Idle));
    rig.handle().reset(CloseReason::Lifetime);
    assert_eq!(rig.event(), Some(CloseReason::Lifetime));
    rig.handle.drain();
    drop(peers);
    assert_eq!(rig.event(), Some(CloseReason::DrainCut));
    let summary = rig.summary.recv_timeout(PATIENCE).expect("the server ends although a lookup runs");
    assert_eq!((summary.outgoing.opened, summary.outgoing.failed.values().sum::<u64>()), (0, 3));
    let (_result, look_up) = blocked();
    let stopped = Rig::new(1, |_, _| (), look_up);
    let _peer = stopped.connect();
    stopped.handle.stop();
    assert_eq!(stopped.event(), Some(CloseReason::Stopped));
}

/// Linux has all of 127.0.0.0/8; elsewhere the first address cannot be reached, which is a failure as well.
#[test]
fn the_next_address_is_tried_after_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let both = || Ok(vec![address("127.0.0.2:0"), address("127.0.0.1:0")]);
    let rig = Rig::new(listener.local_addr().expect("an address").port(), |_, _| (), move |_| both());
    let _peer = rig.connect();
    drop(listener.accept().expect("a connection"));
    assert_eq!(rig.event(), None);
}

/// A listener whose backlog is full: a connect gets no answer.
fn full_backlog() -> (Socket, Vec<Socket>) {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    let (socket, mut waiting) = (new(), Vec::new());
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("a free port");
    socket.listen(0).expect("it is bound");
    let (address, mut failures) = (socket.local_addr().expect("it is bound"), 0);
    // On a busy machine one alone may have been late.
    while failures < 2 {
        let peer = new();
        match peer.connect_timeout(&address, Duration::from_millis(300)) {
            Ok(()) => waiting.push(peer),
            Err(_) => failures += 1,
        }
    }
    (socket, waiting)
}

#[test]
fn an_address_that_does_not_answer_leaves_time_for_the_next_one() {
    let (full, _waiting) = full_backlog();
    let port = full.local_addr().expect("it is bound").as_socket().expect("an address").port();
    let Ok(listener) = TcpListener::bind(("127.0.0.2", port)) else { return };
    let limit = |_: &mut ServerConfig, options: &mut ConnectOptions| options.connect_timeout = Duration::from_secs(6);
    let both = || Ok(vec![address("127.0.0.1:0"), address("127.0.0.2:0")]);
    let rig = Rig::new(port, limit, move |_| both());
    let _peer = rig.connect();
    drop(listener.accept().expect("a connection"));
    assert_eq!(rig.event(), None);
}

/// The first failure of the same kind is the one that is reported, and a refusal says more than a timeout.
#[test]
fn of_several_failures_the_most_telling_one_is_reported() {
    let (full, _waiting) = full_backlog();
    let port = full.local_addr().expect("it is bound").as_socket().expect("an address").port();
    let limit = |_: &mut ServerConfig, options: &mut ConnectOptions| options.connect_timeout = Duration::from_secs(4);
    let both = || Ok(vec![address("127.0.0.2:0"), address("127.0.0.1:0")]);
    let rig = Rig::new(port, limit, move |_| both());
    let _peer = rig.connect();
    let refuses = cfg!(any(target_os = "linux", target_os = "android"));
    let expected = if refuses { CloseReason::ConnectRefused } else { CloseReason::ConnectTimeout };
    assert_eq!(rig.event(), Some(expected));
}

#[test]
fn bytes_that_wait_for_a_connect_count_against_the_memory_limit() {
    let (_result, look_up) = blocked();
    let small = |config: &mut ServerConfig, _: &mut ConnectOptions| config.memory_limit = 3 * 64 * 1024;
    let rig = Rig::new(1, small, look_up);
    let _peers: Vec<_> = (0..4).map(|_| rig.connect()).collect();
    let handles: Vec<_> = (0..4).map(|_| rig.handle()).collect();
    for handle in &handles {
        handle.send(vec![0; 60 * 1024]).expect("there is room");
    }
    assert_eq!(rig.event(), Some(CloseReason::MemoryLimit));
    assert!(rig.events.try_recv().is_err(), "the others stay");
    for handle in &handles {
        handle.reset(CloseReason::Idle);
    }
    assert_eq!([rig.event(), rig.event(), rig.event()], [Some(CloseReason::Idle); 3]);
    let _peer = rig.connect();
    rig.handle().send(vec![0; 60 * 1024]).expect("there is room");
    assert!(rig.events.recv_timeout(Duration::from_millis(50)).is_err(), "the memory is free again");
}
