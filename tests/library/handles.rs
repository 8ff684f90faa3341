//! Handles of connections: wakes, sends, closes and resets, from other threads and from connections of the same worker.

use super::support::{
    PATIENCE, await_until, bytes, connect, connect_narrow, echo, expect_end, expect_reset, read_to_end, reset,
};
use super::{Running, Upper, expect_upper};
use multiconn::connection::{CloseReason, Limits};
use multiconn::server::{Server, ServerConfig, ServerHandle};
use multiconn::service::{Chargen, Context, Echo, Handle, Input, Output, SendError, Service, Wait};
use multiconn::socket::{Address, Endpoint};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Handles that services give to the test, by the number of their connection.
type Handles = Arc<Mutex<Vec<Handle>>>;

/// The handle of the connection `id`, once its service was made.
#[track_caller]
fn await_handle(handles: &Handles, id: u64) -> Handle {
    let mut found = None;
    await_until("the handle", || {
        found = handles.lock().unwrap().iter().find(|handle| handle.id() == id).cloned();
        found.is_some()
    });
    found.expect("it was found")
}

/// A server with one worker that gives the test the handle of each connection.
fn serve_with_handles<S: Service + 'static>(
    change: impl Fn(&mut ServerConfig),
    make_service: impl Fn(&mut Context<'_>) -> S + Send + Sync + 'static,
) -> (Running, Handles) {
    let handles = Handles::default();
    let theirs = Arc::clone(&handles);
    let configure = |config: &mut ServerConfig| {
        config.workers = 1;
        change(config);
    };
    let server = Running::start_with(configure, move |context| {
        theirs.lock().unwrap().push(context.handle());
        make_service(context)
    });
    (server, handles)
}

/// Sends as many bytes as it was asked for since its last call, and waits for wakes only.
struct Asked {
    bytes: Arc<AtomicUsize>,
}

impl Service for Asked {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        let asked = self.bytes.swap(0, Ordering::Relaxed);
        assert_eq!(output.write(&vec![b'.'; asked]), asked);
        Wait::Wake
    }
}

/// Every byte is asked for before a wake, so a lost wake leaves some unsent.
#[test]
fn no_wake_of_other_threads_is_lost() {
    const PEERS: usize = 100;
    const WAKES: usize = 100;
    const THREADS: usize = 4;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&asked);
    let server = Running::start(2, move |context| {
        let bytes = Arc::new(AtomicUsize::new(0));
        theirs.lock().unwrap().push((context.handle(), Arc::clone(&bytes)));
        Asked { bytes }
    });
    let mut peers: Vec<_> = (0..PEERS).map(|_| connect(server.address)).collect();
    await_until("the services", || asked.lock().unwrap().len() == PEERS);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let asked = asked.lock().unwrap().clone();
            std::thread::spawn(move || {
                for (handle, bytes) in asked.iter().cycle().take(PEERS * WAKES) {
                    bytes.fetch_add(1, Ordering::Relaxed);
                    handle.wake();
                }
            })
        })
        .collect();
    for peer in &mut peers {
        peer.read_exact(&mut [0; WAKES * THREADS]).unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Sends each input to all connections of its worker, which share a list without a lock.
struct Broadcast {
    others: Rc<RefCell<Vec<Handle>>>,
}

impl Service for Broadcast {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        if !input.is_empty() {
            let message = Arc::<[u8]>::from(input.bytes());
            input.clear();
            for other in self.others.borrow().iter() {
                other.send(Arc::clone(&message)).unwrap();
            }
        }
        Wait::Input
    }
}

/// The address and the handle of a server with one worker whose connections broadcast; at its end, it reports how many
/// connections it accepted.
fn serve_broadcast() -> (SocketAddr, ServerHandle, mpsc::Receiver<u64>) {
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    config.workers = 1;
    let server = Server::bind_per_worker(config, |_| {
        let others = Rc::new(RefCell::new(Vec::new()));
        move |context: &mut Context<'_>| {
            others.borrow_mut().push(context.handle());
            Broadcast { others: Rc::clone(&others) }
        }
    });
    let server = server.unwrap();
    let &Address::Ip(address) = server.addresses()[0] else { panic!("a TCP address") };
    let (handle, (ended, end)) = (server.handle(), mpsc::channel());
    std::thread::spawn(move || ended.send(server.run().unwrap().accepted));
    (address, handle, end)
}

#[test]
fn a_broadcast_reaches_all_connections_of_a_worker_in_order() {
    let (address, handle, end) = serve_broadcast();
    let mut peers: Vec<_> = (0..300).map(|_| BufReader::new(connect(address))).collect();
    // All of them are open when all of them were served.
    peers.last_mut().unwrap().get_mut().write_all(b"ready\n").unwrap();
    let mut line = String::new();
    for peer in &mut peers {
        peer.read_line(&mut line).unwrap();
    }
    for round in 0..50 {
        peers[round % 7].get_mut().write_all(format!("{round}\n").as_bytes()).unwrap();
        // The first of the others has it: it was sent to all.
        peers[0].read_line(&mut line).unwrap();
    }
    for peer in &mut peers[1..] {
        let lines: Vec<_> = (0..50).map(|round| format!("{round}\n")).collect();
        let mut received = vec![0; lines.concat().len()];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), lines.concat());
    }
    handle.drain();
    peers.iter_mut().for_each(expect_end);
    assert_eq!(end.recv_timeout(PATIENCE).unwrap(), 300);
}

/// Two connections that wake each other in every call.
struct PingPong {
    handles: Handles,
    calls: Arc<AtomicU64>,
}

impl Service for PingPong {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let handles = self.handles.lock().unwrap();
        handles.iter().filter(|handle| handle.id() != context.id()).for_each(Handle::wake);
        if input.has_ended() { Wait::Close } else { Wait::Wake }
    }
}

#[test]
fn connections_that_keep_waking_each_other_starve_nobody() {
    let handles = Handles::default();
    let calls = Arc::new(AtomicU64::new(0));
    let (theirs, counted) = (Arc::clone(&handles), Arc::clone(&calls));
    let server = Running::start(1, move |context| -> Box<dyn Service> {
        if context.id() > 2 {
            return Box::new(Echo);
        }
        theirs.lock().unwrap().push(context.handle());
        Box::new(PingPong { handles: Arc::clone(&theirs), calls: Arc::clone(&counted) })
    });
    let pair = [connect(server.address), connect(server.address)];
    await_until("wakes", || calls.load(Ordering::Relaxed) > 1000);
    let mut peer = connect(server.address);
    for round in 0..100 {
        let before = calls.load(Ordering::Relaxed);
        echo(&mut peer, format!("round {round}").as_bytes());
        await_until("further wakes", || calls.load(Ordering::Relaxed) > before);
    }
    drop(pair);
    await_until("the end of the wakes", || {
        let before = calls.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(10));
        before == calls.load(Ordering::Relaxed)
    });
    drop(peer);
    assert_eq!(server.drain().closed.values().sum::<u64>(), 3);
}

/// A message that shows its thread, its number in that thread, and its length, which are checked with its bytes.
fn message(thread: u8, number: u16) -> Vec<u8> {
    let body = bytes(u64::from(thread) << 16 | u64::from(number), usize::from(number) * 7 % 3000);
    let length = u16::try_from(body.len()).unwrap();
    [&[thread][..], &number.to_be_bytes(), &length.to_be_bytes(), &body].concat()
}

#[test]
fn messages_of_many_threads_arrive_whole_and_in_order() {
    const THREADS: u8 = 4;
    const MESSAGES: u16 = 300;
    let (server, handles) = serve_with_handles(|_| {}, |_| Echo);
    let mut peer = connect_narrow(server.address);
    let handle = await_handle(&handles, 1);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let handle = handle.clone();
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    let message = Arc::<[u8]>::from(message(thread, number));
                    await_until("room", || match handle.send(Arc::clone(&message)) {
                        Ok(()) => true,
                        Err(error) => {
                            assert_eq!(error, SendError::Full);
                            false
                        }
                    });
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize];
    for _ in 0..usize::from(MESSAGES) * usize::from(THREADS) {
        let mut head = [0; 5];
        peer.read_exact(&mut head).unwrap();
        let [thread, a, b, c, d] = head;
        let mut body = vec![0; usize::from(u16::from_be_bytes([c, d]))];
        peer.read_exact(&mut body).unwrap();
        let number = u16::from_be_bytes([a, b]);
        assert_eq!(number, next[usize::from(thread)], "thread {thread}");
        assert!([&head[..], &body].concat() == message(thread, number), "thread {thread}, message {number}");
        next[usize::from(thread)] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    echo(&mut peer, b"and the service");
}

#[test]
fn a_slow_reader_bounds_what_is_sent_to_it() {
    let (server, handles) = serve_with_handles(|config| config.socket.send_buffer = Some(64 << 10), |_| Echo);
    let mut peer = connect_narrow(server.address);
    let handle = await_handle(&handles, 1);
    let buffer = Limits::default().buffer_bytes;
    assert_eq!(handle.send(vec![0; buffer + 1]), Err(SendError::TooLarge));
    let message = Arc::<[u8]>::from(bytes(1, 10_000));
    let (mut accepted, mut since) = (0, Instant::now());
    // Until the socket has taken nothing for a while.
    while since.elapsed() < Duration::from_millis(500) {
        match handle.send(Arc::clone(&message)) {
            Ok(()) => (accepted, since) = (accepted + 1, Instant::now()),
            Err(error) => assert_eq!(error, SendError::Full),
        }
        std::thread::yield_now();
    }
    let most = 2 * buffer + (2 << 20);
    assert!(accepted * message.len() < most, "{accepted} messages of {} bytes were accepted", message.len());
    let mut received = vec![0; accepted * message.len()];
    peer.read_exact(&mut received).unwrap();
    assert!(received.chunks(message.len()).all(|chunk| chunk == &*message));
    // There is room again.
    await_until("room", || handle.send(*b"last").is_ok());
    let mut last = [0; 4];
    peer.read_exact(&mut last).unwrap();
    assert_eq!(&last, b"last");
    drop(peer);
    await_until("the end", || handle.send(*b"late") == Err(SendError::Closed));
}

/// What handles keep for a peer that does not read counts for the memory limit.
#[test]
fn queued_messages_reach_the_memory_limit() {
    let (server, handles) = serve_with_handles(
        |config| {
            config.socket.send_buffer = Some(64 << 10);
            config.memory_limit = 250_000;
        },
        |_| Echo,
    );
    let mut slow: Vec<_> = (0..4).map(|_| connect_narrow(server.address)).collect();
    let mut quiet = connect(server.address);
    echo(&mut quiet, b"before");
    let slow_handles: Vec<_> = (1..=4).map(|id| await_handle(&handles, id)).collect();
    let is_closed = |handle: &Handle| loop {
        match handle.send(vec![0; 20_000]) {
            Ok(()) => {}
            Err(SendError::Closed) => break true,
            Err(_) => break false,
        }
    };
    await_until("the memory limit", || slow_handles.iter().filter(|handle| is_closed(handle)).count() > 0);
    echo(&mut quiet, b"after");
    slow.clear();
    drop(quiet);
    let summary = server.drain();
    assert!((1..4).contains(&summary.closed[&CloseReason::MemoryLimit]), "{summary}");
}

/// Writes as much as it can, sends to itself, then ends as its input says.
struct SendsAndEnds(Handle);

impl Service for SendsAndEnds {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        let Some(&end) = input.bytes().first() else { return Wait::Wake };
        input.clear();
        output.write(b"written, ");
        self.0.send(*b"sent, ").unwrap();
        self.0.send(*b"sent again").unwrap();
        match end {
            b'c' => return Wait::Close,
            b'a' => return Wait::Abort,
            b'e' => output.end(),
            b'h' => self.0.close(CloseReason::TunnelFailed),
            b'x' => {
                output.end();
                self.0.close(CloseReason::TunnelFailed);
            }
            _ => self.0.reset(CloseReason::TunnelFailed),
        }
        Wait::Wake
    }
}

#[test]
fn messages_are_sent_before_every_orderly_end() {
    let (server, handles) = serve_with_handles(|_| {}, |context| SendsAndEnds(context.handle()));
    for (number, end) in (1..).zip([b'c', b'a', b'e', b'h', b'x']) {
        let mut peer = connect(server.address);
        peer.write_all(&[end]).unwrap();
        assert_eq!(read_to_end(&mut peer), b"written, sent, sent again", "{}", char::from(end));
        if end == b'e' {
            // Only the output has ended.
            let handle = await_handle(&handles, number);
            assert_eq!(handle.send(*b"late"), Err(SendError::Closed));
            handle.close(CloseReason::TunnelFailed);
        }
    }
    let mut peer = connect(server.address);
    peer.write_all(b"r").unwrap();
    expect_reset(&mut peer);
    drop(peer);
    let expected = [(CloseReason::Completed, 1), (CloseReason::ProtocolError, 1), (CloseReason::TunnelFailed, 4)];
    assert_eq!(server.drain().closed, expected.into());
}

/// A reset from another thread takes effect although the connection is blocked.
#[test]
fn a_reset_is_seen_by_the_peer() {
    let (server, handles) = serve_with_handles(|_| {}, |_| Chargen::default());
    let mut peer = connect_narrow(server.address);
    let handle = await_handle(&handles, 1);
    peer.read_exact(&mut [0; 1000]).unwrap();
    handle.reset(CloseReason::TunnelFailed);
    await_until("the end", || handle.send(*b"late") == Err(SendError::Closed));
    expect_reset(&mut peer);
    assert_eq!(server.drain().closed, [(CloseReason::TunnelFailed, 1)].into());
}

/// The service fills the output by itself.
#[test]
fn a_message_arrives_while_the_service_waits_for_room() {
    let (server, handles) = serve_with_handles(|_| {}, |_| Chargen::default());
    let mut peer = connect_narrow(server.address);
    let handle = await_handle(&handles, 1);
    let mut room = vec![0; 1 << 16];
    peer.read_exact(&mut room).unwrap();
    // No byte of it occurs in the service's output.
    let message = vec![0; 60_000];
    handle.send(message.clone()).unwrap();
    // All of the message up to the first byte that follows it.
    let mut received = Vec::new();
    await_until("the message", || {
        let count = peer.read(&mut room).unwrap();
        let is_before = received.is_empty();
        received.extend(room[..count].iter().skip_while(|byte| is_before && **byte != 0));
        received.len() > message.len()
    });
    assert!(received.starts_with(&message) && received[message.len()] != 0, "it is not whole");
}

/// Counts its calls, and replies in upper case.
struct Counted(Arc<AtomicU64>);

impl Service for Counted {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        self.0.fetch_add(1, Ordering::Relaxed);
        Upper.serve(input, output, context)
    }
}

#[test]
fn a_stale_handle_touches_no_later_connection() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let (server, handles) = serve_with_handles(|_| {}, move |_| Counted(Arc::clone(&counted)));
    expect_upper(&mut connect(server.address), b"first");
    let stale = await_handle(&handles, 1);
    await_until("its end", || stale.send(*b"late") == Err(SendError::Closed));
    // The place of the first connection in the worker's table is used again.
    let mut peer = connect(server.address);
    expect_upper(&mut peer, b"second");
    let before = calls.load(Ordering::Relaxed);
    for _ in 0..100 {
        stale.wake();
        stale.close(CloseReason::TunnelFailed);
        stale.reset(CloseReason::TunnelFailed);
    }
    // A message to the same worker follows them.
    await_handle(&handles, 2).wake();
    await_until("a wake", || calls.load(Ordering::Relaxed) > before);
    expect_upper(&mut peer, b"still open");
    assert_eq!(calls.load(Ordering::Relaxed), before + 2, "one wake and one input");
    drop(peer);
    server.drain();
}

/// Waits for wakes only. Reports when the input has ended or is full, and why the connection ended.
struct Waits(mpsc::Sender<Option<CloseReason>>);

impl Service for Waits {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        if input.has_ended() || input.len() == output.limit() {
            let _ = self.0.send(None);
        }
        Wait::Wake
    }

    fn closed(&mut self, reason: CloseReason) {
        let _ = self.0.send(Some(reason));
    }
}

#[test]
fn everything_is_delivered_after_the_peers_end() {
    let (reports, _reported) = mpsc::channel();
    let (server, handles) = serve_with_handles(|_| {}, move |_| Waits(reports.clone()));
    let mut peer = connect(server.address);
    peer.write_all(b"question").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let handle = await_handle(&handles, 1);
    let sender = std::thread::spawn(move || {
        for number in 0..100 {
            let message = Arc::<[u8]>::from(bytes(number, 10_000));
            await_until("room", || handle.send(Arc::clone(&message)).is_ok());
        }
        handle.close(CloseReason::TunnelFailed);
    });
    let expected: Vec<_> = (0..100).flat_map(|number| bytes(number, 10_000)).collect();
    assert!(read_to_end(&mut peer) == expected);
    sender.join().unwrap();
    assert_eq!(server.drain().closed, [(CloseReason::TunnelFailed, 1)].into());
}

/// Nothing is read after the end of input nor into a full buffer, and nothing is written. Still the reset is noticed.
#[test]
fn a_reset_ends_a_connection_that_waits_for_a_wake() {
    for has_ended in [true, false] {
        let (reports, reported) = mpsc::channel();
        let change = |config: &mut ServerConfig| config.limits = Limits::without_timeouts();
        let (server, _handles) = serve_with_handles(change, move |_| Waits(reports.clone()));
        let mut peer = connect_narrow(server.address);
        if has_ended {
            peer.shutdown(Shutdown::Write).unwrap();
        } else {
            peer.write_all(&vec![0; 100_000]).unwrap();
        }
        assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), None);
        reset(peer);
        assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), Some(CloseReason::Reset), "the end was read: {has_ended}");
    }
}
