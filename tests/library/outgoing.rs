//! Outgoing connections of services: names, addresses, failures, limits, and the end of the server.

use super::misbehaving_service::start_log;
use super::support::{Program, await_until, connect, echo, skipped};
use super::{PATIENCE, Running, Upper};
use multiconn::connection::CloseReason;
use multiconn::server::ServerHandle;
use multiconn::service::{ConnectOptions, Context, Echo, Handle, Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What an outgoing connection reports to its test.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Opened,
    Received(Vec<u8>),
    Closed(CloseReason),
}

/// Service of an outgoing connection: sends a greeting, and reports what happens.
struct Probe {
    greeting: &'static [u8],
    is_busy: bool,
    is_open: bool,
    events: Sender<Event>,
}

impl Probe {
    fn new(greeting: &'static [u8], events: &Sender<Event>) -> Self {
        Self { greeting, is_busy: false, is_open: false, events: events.clone() }
    }

    fn report(&self, event: Event) {
        // A test may end before its connections do.
        let _ = self.events.send(event);
    }
}

impl Service for Probe {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if !self.is_open {
            self.is_open = true;
            assert!(context.listener().is_none());
            assert_eq!(output.write(self.greeting), self.greeting.len());
            self.report(Event::Opened);
        }
        if !input.is_empty() {
            self.report(Event::Received(input.bytes().to_vec()));
            assert!(!input.bytes().contains(&b'?'), "a panic that the test asked for");
            input.clear();
        }
        Wait::Input
    }

    fn closed(&mut self, reason: CloseReason) {
        self.report(Event::Closed(reason));
    }

    fn is_busy(&self) -> bool {
        self.is_busy
    }
}

/// A server that calls `start` for each connection that it accepts, and echoes.
struct Caller {
    server: Running,
    events: Receiver<Event>,
}

impl Caller {
    fn new(start: impl Fn(&mut Context<'_>, &Sender<Event>) + Send + Sync + 'static) -> Self {
        Self::configured(|_| (), start)
    }

    fn configured(
        change: impl Fn(&mut multiconn::ServerConfig),
        start: impl Fn(&mut Context<'_>, &Sender<Event>) + Send + Sync + 'static,
    ) -> Self {
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let configure = |config: &mut multiconn::ServerConfig| {
            config.workers = 1;
            change(config);
        };
        let server = Running::start_with(configure, move |context| {
            start(context, &sender.lock().unwrap());
            Echo
        });
        Self { server, events }
    }

    /// Connects to `endpoint` for each accepted connection.
    fn to(endpoint: Endpoint) -> Self {
        Self::new(move |context, events| drop(context.connect(endpoint.clone(), Probe::new(b"hello", events))))
    }

    /// Has the server call `start`. The connection stays open while the result is kept.
    fn start(&self) -> TcpStream {
        let mut peer = connect(self.server.address);
        echo(&mut peer, b"the loop runs");
        peer
    }

    #[track_caller]
    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    /// The next event is the end, and nothing follows.
    #[track_caller]
    fn expect_closed(&self, reason: CloseReason) {
        assert_eq!(self.next(), Event::Closed(reason));
        assert!(self.events.try_recv().is_err(), "`closed` is called once");
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::tcp(address.ip().to_string(), address.port())
}

/// A port on which nothing listens, and the socket that keeps it from others.
fn unused_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = address_of(&socket).port();
    (socket, port)
}

/// A listener at `address` whose backlog is full: a connect gets no answer.
fn full_backlog(address: SocketAddr) -> (Socket, Vec<Socket>) {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let (mut waiting, mut failures) = (Vec::new(), 0);
    // On a busy machine one alone may have been late.
    while failures < 2 {
        let peer = Socket::new(address.domain(), Type::STREAM, None).unwrap();
        match peer.connect_timeout(&address, Duration::from_millis(300)) {
            Ok(()) => waiting.push(peer),
            Err(_) => failures += 1,
        }
    }
    (socket, waiting)
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn a_service_exchanges_bytes_over_an_outgoing_connection() {
    let upstream = Running::start(1, |_| Upper);
    let caller = Caller::to(endpoint(upstream.address));
    let _peer = caller.start();
    assert_eq!(caller.next(), Event::Opened);
    assert_eq!(caller.next(), Event::Received(b"HELLO".to_vec()));
    assert_eq!(upstream.drain().accepted, 1);
    caller.expect_closed(CloseReason::PeerClosed);
    let summary = caller.server.drain();
    assert_eq!((summary.accepted, summary.outgoing.opened), (1, 1));
    assert_eq!(summary.outgoing.closed, [(CloseReason::PeerClosed, 1)].into());
    assert!(summary.outgoing.failed.is_empty(), "{summary}");
    assert!(summary.to_string().contains("1 outgoing: closed by peer"), "{summary}");
}

#[test]
fn a_unix_socket_gets_the_preamble_first_and_then_what_was_sent_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upstream.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let caller = Caller::new(move |context, events| {
        let mut options = ConnectOptions::from(Endpoint::unix(&path));
        options.preamble = b"PREAMBLE ".to_vec();
        let handle = context.connect(options, Probe::new(b"", events));
        handle.send(&b"one "[..]).unwrap();
        handle.send(&b"two"[..]).unwrap();
        handle.close(CloseReason::Completed);
        assert!(handle.send(&b"three"[..]).is_err());
    });
    let _peer = caller.start();
    let mut received = String::new();
    listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
    assert_eq!(received, "PREAMBLE one two");
    let mut last = caller.next();
    if last == Event::Opened {
        last = caller.next();
    }
    assert_eq!(last, Event::Closed(CloseReason::Completed));
}

#[test]
fn every_address_of_a_name_is_tried() {
    let addresses: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    for address in addresses {
        let Ok(listener) = TcpListener::bind(address) else {
            skipped("an address of localhost", "it is not an address of this machine");
            continue;
        };
        let caller = Caller::to(Endpoint::tcp("localhost", listener.local_addr().unwrap().port()));
        let _peer = caller.start();
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(b"welcome").unwrap();
        assert_eq!((caller.next(), caller.next()), (Event::Opened, Event::Received(b"welcome".to_vec())));
        caller.server.handle.stop();
        caller.expect_closed(CloseReason::Stopped);
    }
}

#[test]
fn failures_are_reported_once_with_their_reasons() {
    let (full, _waiting) = full_backlog("127.0.0.1:0".parse().unwrap());
    let (_unused, port) = unused_port();
    let host = "127.0.0.1";
    for (endpoint, reason) in [
        (Endpoint::tcp(host, port), CloseReason::ConnectRefused),
        (Endpoint::tcp("localhost", port), CloseReason::ConnectRefused),
        (Endpoint::tcp("no such host", port), CloseReason::Unresolved),
        (Endpoint::tcp("fe80::1", port), CloseReason::Unresolved),
        (Endpoint::unix(""), CloseReason::Unresolved),
        (Endpoint::unix("/no/such/folder/socket"), CloseReason::ConnectFailed),
        (endpoint(address_of(&full)), CloseReason::ConnectTimeout),
    ] {
        let shown = endpoint.to_string();
        let caller = Caller::new(move |context, events| {
            let mut options = ConnectOptions::to(endpoint.clone());
            options.connect_timeout = Duration::from_millis(500);
            if reason != CloseReason::ConnectTimeout {
                options.connect_timeout = PATIENCE;
            }
            context.connect(options, Probe::new(b"", events));
        });
        let mut peer = caller.start();
        assert_eq!(caller.next(), Event::Closed(reason), "{shown}");
        echo(&mut peer, b"the caller's connection is not affected");
        drop(peer);
        let summary = caller.server.drain();
        assert_eq!(summary.outgoing.failed, [(reason, 1)].into(), "{shown}");
        assert_eq!(summary.outgoing.opened, 0, "{shown}");
        assert!(caller.events.recv().is_err(), "`closed` is called once: {shown}");
    }
}

/// A listener with one connection in its backlog; a second one finds it full (unix(7), `EAGAIN`).
fn narrow(folder: &Path) -> (Socket, PathBuf) {
    let path = folder.join("narrow.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    (socket, path)
}

#[test]
fn a_connect_to_a_full_unix_backlog_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = narrow(folder.path());
    let caller = Caller::to(Endpoint::unix(path));
    let peers: Vec<_> = (0..5).map(|_| caller.start()).collect();
    let mut accepted: Vec<_> = peers.iter().map(|_| listener.accept().unwrap()).collect();
    for _ in &peers {
        assert_eq!(caller.next(), Event::Opened);
    }
    for (socket, _) in &mut accepted {
        let mut greeting = [0; 5];
        socket.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"hello");
    }
}

#[test]
fn a_close_or_reset_abandons_a_connect() {
    let (full, _waiting) = full_backlog("127.0.0.1:0".parse().unwrap());
    let to = endpoint(address_of(&full));
    let handles = Arc::<Mutex<Vec<Handle>>>::default();
    let (theirs, target) = (Arc::clone(&handles), to.clone());
    let caller = Caller::new(move |context, events| {
        let handle = context.connect(target.clone(), Probe::new(b"", events));
        handle.wake();
        theirs.lock().unwrap().push(handle);
    });
    for use_handle in [
        |handle: &Handle| handle.close(CloseReason::Idle),
        |handle: &Handle| {
            handle.send(&b"lost"[..]).unwrap();
            handle.reset(CloseReason::Idle);
        },
    ] {
        let _peer = caller.start();
        use_handle(&handles.lock().unwrap().pop().expect("a handle"));
        caller.expect_closed(CloseReason::Idle);
    }
    let at_once = Caller::new(move |context, events| {
        context.connect(to.clone(), Probe::new(b"", events)).reset(CloseReason::Idle);
    });
    let _peer = at_once.start();
    at_once.expect_closed(CloseReason::Idle);
}

#[test]
fn the_limit_on_outgoing_connections_is_kept() {
    let upstream = Running::start(1, |_| Upper);
    for has_own_limit in [true, false] {
        let to = endpoint(upstream.address);
        let configure = move |config: &mut multiconn::ServerConfig| {
            (config.max_connections, config.max_outgoing) =
                if has_own_limit { (None, Some(2)) } else { (Some(3), None) };
        };
        let caller = Caller::configured(configure, move |context, events| {
            for _ in 0..3 {
                context.connect(to.clone(), Probe::new(b"", events));
            }
        });
        let peer = caller.start();
        let mut events = [caller.next(), caller.next(), caller.next()];
        events.sort_by_key(|event| *event == Event::Opened);
        assert_eq!(events, [Event::Closed(CloseReason::OutgoingLimit), Event::Opened, Event::Opened]);
        drop(peer);
        let summary = caller.server.drain();
        assert_eq!(summary.outgoing.failed, [(CloseReason::OutgoingLimit, 1)].into());
        assert_eq!(summary.outgoing.closed, [(CloseReason::Drained, 2)].into());
    }
}

#[test]
fn a_closed_outgoing_connection_makes_room_for_another_one() {
    let (upstream, (_unused, unused)) = (Running::start(1, |_| Upper), unused_port());
    let configure = |config: &mut multiconn::ServerConfig| config.max_outgoing = Some(1);
    let address = upstream.address;
    let caller = Caller::configured(configure, move |context, events| {
        let target = if context.id() % 2 == 1 { Endpoint::tcp("127.0.0.1", unused) } else { endpoint(address) };
        let handle = context.connect(target, Probe::new(b"", events));
        handle.close(CloseReason::Completed);
    });
    for _ in 0..20 {
        let _peer = caller.start();
        loop {
            match caller.next() {
                Event::Closed(reason) => break assert_ne!(reason, CloseReason::OutgoingLimit),
                event => assert_eq!(event, Event::Opened),
            }
        }
    }
}

#[test]
fn a_thousand_outgoing_connections_at_once() {
    const COUNT: usize = 1000;
    let upstream = Running::start(1, |_| Upper);
    let to = endpoint(upstream.address);
    let caller = Caller::new(move |context, events| {
        for _ in 0..COUNT {
            context.connect(to.clone(), Probe::new(b"hello", events));
        }
    });
    let mut peer = caller.start();
    let mut received = 0;
    while received < COUNT {
        match caller.next() {
            Event::Opened => {}
            event => {
                assert_eq!(event, Event::Received(b"HELLO".to_vec()));
                received += 1;
            }
        }
    }
    echo(&mut peer, b"still here");
    drop(peer);
    let summary = caller.server.drain();
    assert_eq!(summary.outgoing.opened, COUNT as u64);
    assert_eq!(summary.outgoing.closed, [(CloseReason::Drained, COUNT as u64)].into());
    assert_eq!(caller.events.iter().filter(|event| *event == Event::Closed(CloseReason::Drained)).count(), COUNT);
}

#[test]
fn an_outgoing_service_that_panics_ends_alone() {
    let upstream = Running::start(1, |_| Echo);
    let to = endpoint(upstream.address);
    let caller = Caller::new(move |context, events| {
        context.connect(to.clone(), Probe::new(b"?", events));
        context.connect(to.clone(), Probe::new(b"", events));
    });
    let mut peer = caller.start();
    let mut events = Vec::new();
    await_until("the end of one", || {
        events.extend(caller.events.try_iter());
        let opened = events.iter().filter(|event| **event == Event::Opened).count();
        events.contains(&Event::Closed(CloseReason::ServicePanicked)) && opened == 2
    });
    echo(&mut peer, b"not affected");
    drop(peer);
    let closed = [(CloseReason::Drained, 1), (CloseReason::ServicePanicked, 1)].into();
    assert_eq!(caller.server.drain().outgoing.closed, closed);
}

/// Opens another connection as soon as its own is open.
struct Chained {
    to: Endpoint,
    length: usize,
    events: Sender<Event>,
}

impl Service for Chained {
    fn serve(&mut self, _input: &mut Input<'_>, _output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if self.length == 0 {
            self.events.send(Event::Opened).unwrap();
        } else {
            let next = Self { to: self.to.clone(), length: self.length - 1, events: self.events.clone() };
            context.connect(self.to.clone(), next);
        }
        Wait::Close
    }
}

#[test]
fn an_outgoing_service_connects_too() {
    let upstream = Running::start(1, |_| Echo);
    let to = endpoint(upstream.address);
    let caller = Caller::new(move |context, events| {
        context.connect(to.clone(), Chained { to: to.clone(), length: 10, events: events.clone() });
    });
    let _peer = caller.start();
    assert_eq!(caller.next(), Event::Opened);
}

#[test]
fn a_drain_finishes_outgoing_connections_and_waits_for_busy_ones() {
    let upstream = Running::start(1, |_| Upper);
    for is_busy in [false, true] {
        let to = endpoint(upstream.address);
        let drain_timeout = if is_busy { Duration::from_millis(300) } else { PATIENCE };
        let configure = move |config: &mut multiconn::ServerConfig| config.drain_timeout = drain_timeout;
        let caller = Caller::configured(configure, move |context, events| {
            context.connect(to.clone(), Probe { is_busy, ..Probe::new(b"hello", events) });
        });
        drop(caller.start());
        assert_eq!((caller.next(), caller.next()), (Event::Opened, Event::Received(b"HELLO".to_vec())));
        let since = Instant::now();
        let summary = caller.server.drain();
        let reason = if is_busy { CloseReason::DrainCut } else { CloseReason::Drained };
        caller.expect_closed(reason);
        assert_eq!(summary.outgoing.closed, [(reason, 1)].into());
        assert!(!is_busy || since.elapsed() >= Duration::from_millis(300));
    }
}

/// An accepted connection that asks another server when the drain begins, and answers with what that says.
struct AsksInDrain {
    to: Endpoint,
    events: Sender<Event>,
    asked: bool,
}

/// Passes the reply on to the connection that asked.
struct Question(Handle);

impl Service for Question {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        if input.is_empty() {
            output.write(b"question");
            return Wait::Input;
        }
        self.0.send(input.bytes()).unwrap();
        self.0.close(CloseReason::Completed);
        input.clear();
        Wait::Close
    }

    fn is_busy(&self) -> bool {
        true
    }
}

impl Service for AsksInDrain {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        output.take(input);
        if context.is_draining() && !self.asked {
            self.asked = true;
            let question = Question(context.handle());
            context.connect(self.to.clone(), question);
        }
        Wait::Wake
    }

    fn closed(&mut self, reason: CloseReason) {
        self.events.send(Event::Closed(reason)).unwrap();
    }

    fn is_busy(&self) -> bool {
        true
    }
}

#[test]
fn a_connect_during_a_drain_completes() {
    let upstream = Running::start(1, |_| Upper);
    let (sender, events) = channel();
    let (sender, to) = (Mutex::new(sender), endpoint(upstream.address));
    let server = Running::start(1, move |_| AsksInDrain {
        to: to.clone(),
        events: sender.lock().unwrap().clone(),
        asked: false,
    });
    let mut peer = connect(server.address);
    echo(&mut peer, b"before");
    server.handle.drain();
    let mut rest = String::new();
    peer.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "QUESTION");
    drop(peer);
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Event::Closed(CloseReason::Completed)));
    assert_eq!(server.await_end().outgoing.opened, 1);
}

#[test]
fn connects_in_progress_end_with_the_server() {
    let (full, _waiting) = full_backlog("127.0.0.1:0".parse().unwrap());
    let to = endpoint(address_of(&full));
    for stops in [false, true] {
        let target = to.clone();
        let configure = |config: &mut multiconn::ServerConfig| config.drain_timeout = Duration::from_millis(300);
        let caller = Caller::configured(configure, move |context, events| {
            context.connect(target.clone(), Probe::new(b"", events));
        });
        drop(caller.start());
        let reason = if stops { CloseReason::Stopped } else { CloseReason::DrainCut };
        let end = if stops { ServerHandle::stop } else { ServerHandle::drain };
        end(&caller.server.handle);
        caller.expect_closed(reason);
        assert_eq!(caller.server.await_end().outgoing.failed, [(reason, 1)].into());
    }
}

/// Many lookups of names that do not exist run at the same time as an echo.
#[test]
fn lookups_do_not_delay_the_loop() {
    let caller = Caller::new(move |context, events| {
        for number in 0..100 {
            let host = format!("no such host {number}");
            context.connect(Endpoint::tcp(host, 1), Probe::new(b"", events));
        }
    });
    let mut peer = caller.start();
    for _ in 0..100 {
        assert_eq!(caller.next(), Event::Closed(CloseReason::Unresolved));
        echo(&mut peer, b"still here");
    }
}

#[test]
fn a_peer_that_resets_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let caller = Caller::to(endpoint(listener.local_addr().unwrap()));
    let _peer = caller.start();
    let (stream, _) = listener.accept().unwrap();
    assert_eq!(caller.next(), Event::Opened);
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    caller.expect_closed(CloseReason::Reset);
}

/// Environment variable that makes [`server_without_descriptors`] serve.
const WITHOUT_DESCRIPTORS: &str = "OUTGOING_WITHOUT_DESCRIPTORS";

/// Connects for each message that it receives.
struct ConnectsOnInput {
    to: Endpoint,
    events: Sender<Event>,
}

impl Service for ConnectsOnInput {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if !input.is_empty() {
            context.connect(self.to.clone(), Probe::new(b"", &self.events));
        }
        output.take(input);
        Wait::Input
    }
}

/// Does nothing unless another test runs it as a program with few descriptors.
#[test]
fn server_without_descriptors() {
    if std::env::var_os(WITHOUT_DESCRIPTORS).is_none() {
        return;
    }
    start_log();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sender, events) = channel();
    let (sender, to) = (Mutex::new(sender), endpoint(listener.local_addr().unwrap()));
    let few = |config: &mut multiconn::ServerConfig| (config.workers, config.max_connections) = (1, Some(10));
    let server =
        Running::start_with(few, move |_| ConnectsOnInput { to: to.clone(), events: sender.lock().unwrap().clone() });
    let mut peer = connect(server.address);
    echo(&mut peer, b"first");
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Event::Opened));
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    for _ in 0..100 {
        echo(&mut peer, b"without descriptors");
        assert_eq!(events.recv_timeout(PATIENCE), Ok(Event::Closed(CloseReason::ConnectFailed)));
    }
    drop(taken);
    echo(&mut peer, b"with descriptors");
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Event::Opened));
    drop(peer);
    let summary = server.drain();
    assert_eq!(summary.outgoing.failed, [(CloseReason::ConnectFailed, 100)].into());
    assert_eq!(summary.outgoing.closed, [(CloseReason::Drained, 2)].into());
}

#[test]
fn a_connect_without_a_descriptor_fails_with_a_warning() {
    let since = Instant::now();
    let mut command = Program::clean(Command::new("sh"));
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "outgoing::server_without_descriptors", "--nocapture"]);
    let exit = Program::spawn(command.env(WITHOUT_DESCRIPTORS, "1").env("RUST_LOG", "multiconn=debug")).await_exit();
    let seconds = usize::try_from(since.elapsed().as_secs()).unwrap() + 1;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let lines = |part: &str| exit.stderr.iter().filter(|line| line.contains(part)).count();
    let warnings = lines("cannot open an outgoing connection");
    assert!((1..=seconds).contains(&warnings), "{exit:#?}");
    assert!(
        exit.stderr.iter().any(|line| line.contains("too many open files") && line.ends_with("count=1")),
        "{exit:#?}"
    );
    assert_eq!(lines("Connecting to 127.0.0.1:"), 102, "{exit:#?}");
    assert_eq!(lines("Connected to ('127.0.0.1', "), 2, "{exit:#?}");
    assert_eq!(lines("reason=connect failed"), 100, "{exit:#?}");
    assert!(lines("requester=1") == 102 && lines("reason=drained") >= 2, "{exit:#?}");
}
