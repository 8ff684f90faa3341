//! The close reason reaches the service exactly once, whatever ends its connection, and the summary counts the same.

use super::support::{PATIENCE, await_until, connect, connect_narrow, echo, push_until_blocked, reset};
use super::{Running, Upper, expect_upper};
use multiconn::connection::{CloseReason, Limits};
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Context, Handle, Input, Output, SendError, Service, Wait};
use multiconn::socket::Endpoint;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The limit under test. The others do not apply.
const SOON: Duration = Duration::from_millis(200);

/// The numbers of the connections that were told of their end, and the reasons.
type Ends = Arc<Mutex<Vec<(u64, CloseReason)>>>;

/// Does what the first byte of its input says; echoes anything else.
struct Commanded {
    id: u64,
    ends: Ends,
    handle: Handle,
    held_bytes: usize,
    is_busy: bool,
    panics_when: &'static str,
}

impl Commanded {
    fn new(context: &mut Context<'_>, ends: &Ends) -> Self {
        let (id, handle) = (context.id(), context.handle());
        Self { id, ends: Arc::clone(ends), handle, held_bytes: 0, is_busy: false, panics_when: "" }
    }
}

impl Service for Commanded {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        match input.bytes().first() {
            Some(b'c') => return Wait::Close,
            Some(b'a') => return Wait::Abort,
            Some(b'p') => panic!("a panic that the test asked for"),
            Some(b'P') => self.panics_when = "closed, dropped",
            Some(b'f') => {
                while output.write(&[0; 1024]) > 0 {}
                return Wait::Writable;
            }
            Some(b'm') => self.held_bytes = usize::MAX,
            Some(b'b') => self.is_busy = true,
            Some(b'h') => self.handle.close(CloseReason::TunnelFailed),
            Some(b'r') => self.handle.reset(CloseReason::ConnectFailed),
            Some(b'n') => {
                output.end();
                return Wait::Writable;
            }
            Some(b'l') => return Wait::Input,
            _ => {}
        }
        output.take(input);
        Wait::Input
    }

    fn closed(&mut self, reason: CloseReason) {
        self.ends.lock().unwrap().push((self.id, reason));
        // The connection has ended: nothing of this has an effect.
        assert_eq!((self.handle.send(*b"late"), self.handle.id()), (Err(SendError::Closed), self.id));
        self.handle.wake();
        self.handle.close(CloseReason::Completed);
        self.handle.reset(CloseReason::Completed);
        assert!(!self.panics_when.contains("closed"), "a panic that the test asked for");
    }

    fn is_busy(&self) -> bool {
        self.is_busy
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

impl Drop for Commanded {
    fn drop(&mut self) {
        assert!(!self.panics_when.contains("dropped"), "a panic that the test asked for");
    }
}

/// A connection of a [`Commanded`] service, which `act` and the limits that `change` sets end with `reason`.
#[track_caller]
fn expect_told(
    reason: CloseReason,
    change: impl Fn(&mut ServerConfig),
    act: impl FnOnce(TcpStream, &Running) -> Option<TcpStream>,
) {
    let ends = Ends::default();
    let theirs = Arc::clone(&ends);
    let configure = |config: &mut ServerConfig| {
        config.workers = 1;
        config.limits = Limits::without_timeouts();
        config.limits.linger = Duration::ZERO;
        change(config);
    };
    let server = Running::start_with(configure, move |context| Commanded::new(context, &theirs));
    let peer = act(connect_narrow(server.address), &server);
    await_until("the end", || !ends.lock().unwrap().is_empty());
    drop(peer);
    let summary = server.drain();
    assert_eq!(*ends.lock().unwrap(), [(1, reason)], "told once");
    assert_eq!(summary.closed, [(reason, 1)].into());
}

/// Sends a command, and waits for nothing.
fn command(text: &'static [u8]) -> impl FnOnce(TcpStream, &Running) -> Option<TcpStream> {
    move |mut peer, _| {
        peer.write_all(text).unwrap();
        Some(peer)
    }
}

#[test]
fn an_end_by_the_peer_is_told() {
    let unchanged = |_: &mut ServerConfig| {};
    expect_told(CloseReason::PeerClosed, unchanged, |mut peer, _| {
        echo(&mut peer, b"x");
        peer.shutdown(Shutdown::Write).unwrap();
        Some(peer)
    });
    expect_told(CloseReason::Reset, unchanged, |mut peer, _| {
        echo(&mut peer, b"x");
        reset(peer);
        None
    });
}

#[test]
fn an_end_by_the_service_is_told() {
    let unchanged = |_: &mut ServerConfig| {};
    for (reason, text) in [
        (CloseReason::Completed, &b"c"[..]),
        (CloseReason::ProtocolError, b"a"),
        (CloseReason::ServicePanicked, b"p"),
        (CloseReason::TunnelFailed, b"h"),
        (CloseReason::ConnectFailed, b"r"),
        (CloseReason::NoProgress, b"n"),
        (CloseReason::MemoryLimit, b"m"),
    ] {
        expect_told(reason, unchanged, command(text));
    }
    expect_told(CloseReason::FrameTooLarge, unchanged, |mut peer, _| {
        let _ = peer.write_all(&vec![b'l'; 100_000]);
        Some(peer)
    });
}

#[test]
fn an_end_by_a_limit_is_told() {
    expect_told(CloseReason::Idle, |config| config.limits.idle = Some(SOON), command(b"x"));
    expect_told(CloseReason::FirstByteTimeout, |config| config.limits.first_byte = Some(SOON), command(b""));
    expect_told(CloseReason::Lifetime, |config| config.limits.lifetime = Some(SOON), command(b"x"));
    expect_told(CloseReason::WriteTimeout, |config| config.limits.write = Some(SOON), command(b"f"));
}

#[test]
fn an_end_by_the_server_is_told() {
    let unchanged = |_: &mut ServerConfig| {};
    expect_told(CloseReason::Drained, unchanged, |mut peer, server| {
        echo(&mut peer, b"x");
        server.handle.drain();
        Some(peer)
    });
    expect_told(
        CloseReason::DrainCut,
        |config| config.drain_timeout = SOON,
        |mut peer, server| {
            echo(&mut peer, b"b");
            server.handle.drain();
            Some(peer)
        },
    );
    expect_told(CloseReason::Stopped, unchanged, |mut peer, server| {
        echo(&mut peer, b"b");
        server.handle.stop();
        Some(peer)
    });
}

/// Two panics at once would end the process.
#[test]
fn a_service_that_panics_when_told_and_when_dropped_ends_alone() {
    let ends = Ends::default();
    let theirs = Arc::clone(&ends);
    let server = Running::start_with(
        |config| (config.workers, config.max_connections) = (1, Some(1)),
        move |context| Commanded::new(context, &theirs),
    );
    for _ in 0..3 {
        echo(&mut connect(server.address), b"P");
    }
    echo(&mut connect(server.address), b"x");
    await_until("the ends", || ends.lock().unwrap().len() == 4);
    let ends = ends.lock().unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!(ends, [1, 2, 3, 4]);
    assert_eq!(server.drain().closed, [(CloseReason::PeerClosed, 4)].into());
}

/// There is no service that could be told, but the handle that the factory gave away is closed.
#[test]
fn a_connection_whose_factory_panics_has_no_service() {
    let (ends, handles) = (Ends::default(), Arc::new(Mutex::new(Vec::new())));
    let (theirs, given) = (Arc::clone(&ends), Arc::clone(&handles));
    let server = Running::start(1, move |context| {
        given.lock().unwrap().push(context.handle());
        assert!(context.id() > 1, "a panic that the test asked for");
        Commanded::new(context, &theirs)
    });
    // The reset can arrive before connect(2) returns.
    let _ = TcpStream::connect_timeout(&server.address, PATIENCE).and_then(|mut peer| peer.read(&mut [0]));
    await_until("the first service", || !handles.lock().unwrap().is_empty());
    echo(&mut connect(server.address), b"x");
    let handles: Vec<Handle> = handles.lock().unwrap().clone();
    assert_eq!(handles[0].send(*b"x"), Err(SendError::Closed));
    let summary = server.drain();
    assert_eq!(summary.closed.get(&CloseReason::ServicePanicked), Some(&1));
    let told: Vec<_> = ends.lock().unwrap().iter().map(|(id, _)| *id).collect();
    assert_eq!(told, [2]);
}

#[test]
fn a_server_that_never_runs_makes_no_service() {
    let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    drop(Server::bind(config, |_: &mut Context<'_>| -> Upper { panic!("nothing was accepted") }).unwrap());
}

/// Passes the handle of the next connection to the previous one, which sends to it when it is told of its end.
struct Successor {
    others: Arc<Mutex<Vec<Handle>>>,
    id: u64,
}

impl Service for Successor {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        Upper.serve(input, output, context)
    }

    fn closed(&mut self, reason: CloseReason) {
        for other in self.others.lock().unwrap().iter().filter(|other| other.id() != self.id) {
            let _ = other.send(format!("{} {reason}", self.id).into_bytes());
            other.close(CloseReason::TunnelFailed);
        }
    }
}

#[test]
fn a_service_that_is_told_may_use_other_handles() {
    let others = Arc::<Mutex<Vec<Handle>>>::default();
    let server = Running::start(1, move |context| {
        others.lock().unwrap().push(context.handle());
        Successor { others: Arc::clone(&others), id: context.id() }
    });
    let mut peers: Vec<_> = (0..20).map(|_| connect(server.address)).collect();
    for peer in &mut peers {
        expect_upper(peer, b"served");
    }
    drop(peers.remove(0));
    for peer in &mut peers {
        let mut told = String::new();
        peer.read_to_string(&mut told).unwrap();
        // Each of the others is told as well, and sends to those that are still open.
        assert!(told.starts_with("1 closed by peer"), "{told}");
    }
    drop(peers);
    let summary = server.drain();
    assert_eq!(summary.closed, [(CloseReason::PeerClosed, 1), (CloseReason::TunnelFailed, 19)].into());
}

/// A peer that is flooded does not read: the rest of its output is lost with the stop.
#[test]
fn a_stop_tells_blocked_connections() {
    expect_told(
        CloseReason::Stopped,
        |_| {},
        |peer, server| {
            push_until_blocked(std::slice::from_ref(&peer), b"f");
            await_until("a blocked reply", || peer.peek(&mut [0]).is_ok_and(|count| count == 1));
            server.handle.stop();
            Some(peer)
        },
    );
}
