//! The test kit `multiconn::testing`, used as by another crate.

use multiconn::codec::Framing;
use multiconn::connection::{CloseReason, Limits};
use multiconn::service::{
    ConnectOptions, Context, Framed, Handle, Input, Output, Replies, SendError, Service, Wait, reverse,
};
use multiconn::socket::{Address, Endpoint};
use multiconn::testing::Simulation;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Adds the numbers of each line to a sum, and answers with it.
#[derive(Default)]
struct Adder {
    sum: u64,
    /// Adds before the answer is written: again, if it has to be written later.
    adds_first: bool,
}

impl Service for Adder {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
            let Some(number) =
                std::str::from_utf8(&input.bytes()[..end]).ok().and_then(|text| text.parse::<u64>().ok())
            else {
                return Wait::Abort;
            };
            let sum = self.sum + number;
            if self.adds_first {
                self.sum = sum;
            }
            if !output.write_whole(format!("{sum}\n").as_bytes()) {
                return Wait::Writable;
            }
            self.sum = sum;
            input.consume(end + 1);
        }
        Wait::Input
    }

    fn error_detail(&self) -> Option<String> {
        Some("not a number".to_owned())
    }
}

#[test]
fn a_dialogue_with_back_pressure_and_an_error() {
    let server = Simulation::new(|_| Adder::default());
    let mut peer = server.connect();
    peer.send(b"1\n2");
    assert_eq!(peer.receive(), b"1\n");
    peer.stall_after(1);
    peer.send(b"0\n30\n");
    assert_eq!(peer.receive(), b"2");
    peer.resume();
    assert_eq!(peer.receive(), b"1\n51\n");
    peer.send(b"x\n");
    assert!(peer.received_end());
    peer.end();
    assert_eq!(peer.closed(), Some(CloseReason::ProtocolError));
    assert_eq!(peer.error_detail().as_deref(), Some("not a number"));
}

#[test]
fn any_split_of_a_stream_gives_the_same_answer() {
    let server = Simulation::new(|_| Adder::default());
    assert_eq!(server.assert_split_invariant(b"1\n20\n300\n"), b"1\n21\n321\n");
    let backwards = |message: &[u8], replies: &mut Replies<'_>| replies.send_with(|reply| reverse(message, reply));
    let server = Simulation::new(|_| Framed::new(Framing::LINES, 100, backwards));
    assert_eq!(server.assert_split_invariant(b"one\ntwo\n\n"), b"eno\nowt\n\n");
}

#[test]
fn a_line_that_counts_twice_when_the_output_is_full_is_found() {
    let server = Simulation::new(|_| Adder { adds_first: true, ..Adder::default() });
    let checked = catch_unwind(AssertUnwindSafe(|| server.assert_split_invariant(b"1\n20\n300\n")));
    let message = checked.expect_err("the sums differ").downcast::<String>().unwrap();
    assert!(message.contains("\n  expected: 9 bytes, closed by peer: \"1\\n21\\n321\\n\""), "{message}");
}

#[test]
fn timeouts_expire_in_simulated_time() {
    let mut limits = Limits::default();
    limits.idle = Some(Duration::from_secs(3600));
    let server = Simulation::new(|_| Adder::default()).with_limits(limits);
    let mut peer = server.connect();
    peer.send(b"1\n");
    server.advance(Duration::from_secs(3599));
    assert!(!peer.received_end());
    server.advance(Duration::from_secs(1));
    assert!(peer.received_end());
    peer.end();
    assert_eq!(peer.closed(), Some(CloseReason::Idle));
}

#[test]
fn a_drain_ends_quiet_connections_first() {
    let server = Simulation::new(|_| Adder::default());
    let (mut quiet, mut busy) = (server.connect(), server.connect());
    quiet.send(b"1\n");
    busy.send(b"2");
    server.drain(Duration::from_secs(10));
    assert!(quiet.received_end() && !busy.received_end());
    busy.send(b"\n");
    assert_eq!((busy.receive().as_slice(), busy.received_end()), (&b"2\n"[..], true));
}

/// Counts the connections of its server.
struct Counter(Rc<RefCell<usize>>);

impl Service for Counter {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        if !input.is_empty() {
            input.clear();
            output.write(self.0.borrow().to_string().as_bytes());
        }
        Wait::Input
    }
}

#[test]
fn services_of_one_server_share_state() {
    let connections = Rc::new(RefCell::new(0));
    let server = Simulation::new(|_| {
        *connections.borrow_mut() += 1;
        Counter(Rc::clone(&connections))
    });
    let (mut first, mut second) = (server.connect(), server.connect());
    for peer in [&mut first, &mut second] {
        peer.send(b"?");
        assert_eq!(peer.receive(), b"2");
    }
}

/// Sends each line to all connections of the room; a connection that does not take it is closed.
struct Member {
    room: Rc<RefCell<Vec<Handle>>>,
    id: u64,
    closed: Rc<RefCell<Vec<(u64, CloseReason)>>>,
}

impl Service for Member {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        if !input.is_empty() {
            let line: Arc<[u8]> = input.bytes().into();
            input.clear();
            for member in self.room.borrow().iter() {
                if member.send(Arc::clone(&line)) == Err(SendError::Full) {
                    member.reset(CloseReason::WriteTimeout);
                }
            }
        }
        if input.has_ended() { Wait::Close } else { Wait::Wake }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.room.borrow_mut().retain(|member| member.id() != self.id);
        self.closed.borrow_mut().push((self.id, reason));
    }
}

#[test]
fn connections_send_to_each_other_through_their_handles() {
    let (room, closed) = (Rc::default(), Rc::default());
    let mut limits = Limits::default();
    limits.buffer_bytes = 1000;
    let server = Simulation::new(|context| {
        let (room, closed) = (Rc::<RefCell<Vec<Handle>>>::clone(&room), Rc::clone(&closed));
        room.borrow_mut().push(context.handle());
        Member { room, id: context.id(), closed }
    });
    let server = server.with_limits(limits);
    let [mut alice, mut bob, mut slow] = [server.connect(), server.connect(), server.connect()];
    slow.stall_after(5);
    alice.send(b"hello\n");
    assert_eq!(
        (alice.receive(), bob.receive(), slow.receive()),
        (b"hello\n".into(), b"hello\n".into(), b"hello".into())
    );
    for number in 0..5 {
        bob.send(&[b'0' + number; 500]);
        assert_eq!((alice.receive().len(), bob.receive().len()), (500, 500));
    }
    assert_eq!((slow.closed(), slow.received_end()), (Some(CloseReason::WriteTimeout), false));
    alice.end();
    assert_eq!(*closed.borrow(), [(3, CloseReason::WriteTimeout), (1, CloseReason::Completed)]);
    assert_eq!(room.borrow().len(), 1);

    // The test itself may use a handle, on any thread.
    let handle = room.borrow()[0].clone();
    std::thread::spawn(move || handle.send(*b"from a thread")).join().unwrap().unwrap();
    assert_eq!(bob.receive(), b"from a thread");
    room.borrow()[0].close(CloseReason::Completed);
    assert!(bob.received_end());
}

#[test]
fn a_service_learns_about_its_connection() {
    let facts = RefCell::new(Vec::new());
    let server = Simulation::new(|context| {
        let local = context.local().map(|address| address.to_string());
        facts.borrow_mut().push((context.id(), context.peer().to_string(), local, context.is_draining()));
        Adder::default()
    });
    let _first = server.connect();
    server.drain(Duration::from_secs(1));
    let _second = server.connect_from(Address::Ip(([127, 0, 0, 1], 5000).into()));
    let local = Some("192.0.2.1:7".to_owned());
    assert_eq!(
        *facts.borrow(),
        [(1, "192.0.2.2:1".to_owned(), local.clone(), false), (2, "127.0.0.1:5000".to_owned(), local, true)]
    );
}

/// One side of a proxy, which sends what it receives through the handle of the other side.
struct Side {
    other: Option<Handle>,
    is_client: bool,
}

impl Service for Side {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if self.is_client && self.other.is_none() {
            let upstream = Side { other: Some(context.handle()), is_client: false };
            let mut options = ConnectOptions::to(Endpoint::tcp("backend", 80));
            options.preamble = b"PROXY UNKNOWN\r\n".to_vec();
            self.other = Some(context.connect(options, upstream));
        }
        let other = self.other.as_ref().unwrap();
        if !input.is_empty() && other.send(input.bytes()).is_ok() {
            input.clear();
        }
        if input.has_ended() { Wait::Close } else { Wait::Wake }
    }

    fn closed(&mut self, reason: CloseReason) {
        if let Some(other) = &self.other {
            if reason == CloseReason::Completed { other.close(reason) } else { other.reset(reason) }
        }
    }
}

#[test]
fn a_proxy_is_tested_with_both_its_peers() {
    let server = Simulation::new(|_| Side { other: None, is_client: true });
    let mut client = server.connect();
    client.send(b"early");
    let connect = server.pending_connect().unwrap();
    assert_eq!(connect.options().endpoint.to_string(), "backend:80");
    let mut backend = connect.accept();
    assert!(server.pending_connect().is_none());
    assert_eq!(backend.receive(), b"PROXY UNKNOWN\r\nearly");
    backend.send(b"answer");
    assert_eq!(client.receive(), b"answer");
    client.end();
    assert!(backend.received_end());
    backend.end();
    assert_eq!(backend.closed(), Some(CloseReason::Completed));

    let mut client = server.connect();
    client.send(b"hello?");
    server.pending_connect().unwrap().fail(CloseReason::ConnectRefused);
    assert_eq!((client.closed(), client.received_end()), (Some(CloseReason::ConnectRefused), false));
}
