//! Hostile clients of the admin address: a monitoring system is still answered promptly.

use super::metrics::{admin_address, get, observed};
use super::still_serves;
use super::support::{Program, await_until, connect, connect_narrow, expect_closed};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n";

/// How long an answer may take on a busy machine. An idle client that is not replaced holds its slot for 5 s.
const SOON: Duration = Duration::from_secs(4);

/// What each hostile client repeats while it is connected.
#[derive(Debug, Clone, Copy)]
enum Attack {
    Idle,
    /// One byte of a request.
    Trickle,
    /// Requests whose answers it never reads.
    NeverRead,
    /// Many pipelined requests, and their answers.
    Pipeline,
}

/// Clients that reconnect whenever the server closes.
struct Attackers {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attackers {
    fn start(attack: Attack, count: usize, address: SocketAddr) -> Self {
        let ending = Arc::<AtomicBool>::default();
        let is_ending = Arc::clone(&ending);
        let mut clients: Vec<TcpStream> = (0..count).map(|_| client(attack, address)).collect();
        let act = move || {
            while !is_ending.load(Ordering::Relaxed) {
                for client_now in &mut clients {
                    if !act(attack, client_now) {
                        *client_now = client(attack, address);
                    }
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        Self { ending, thread: Some(std::thread::spawn(act)) }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn client(attack: Attack, address: SocketAddr) -> TcpStream {
    let stream = if matches!(attack, Attack::NeverRead) { connect_narrow(address) } else { connect(address) };
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Performs the attack once; returns whether the connection still seems open.
fn act(attack: Attack, mut client: &TcpStream) -> bool {
    let written = match attack {
        Attack::Idle => Ok(0),
        Attack::Trickle => client.write(b"G"),
        Attack::NeverRead => client.write(&REQUEST.repeat(100)),
        Attack::Pipeline => client.write(&REQUEST.repeat(10)),
    };
    let read = match attack {
        Attack::NeverRead => Ok(1),
        _ => client.read(&mut vec![0; 64 * 1024]),
    };
    let is_open = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    written.as_ref().err().is_none_or(is_open) && read.as_ref().map_or_else(is_open, |count| *count > 0)
}

/// Asks up to six times for each page: on a busy machine the queue of the listener can be full for a moment, and the
/// kernel repeats the first packet of a dropped connect after 1 s and after 3 s.
fn expect_answers_soon(server: &Program, what: &str) {
    for path in ["/healthz", "/readyz", "/healthz", "/metrics", "/healthz"] {
        let is_soon = |_| {
            let asked = Instant::now();
            assert_eq!(get(server, path).0, 200, "{path}, {what}");
            asked.elapsed() < SOON
        };
        assert!((0..6).any(is_soon), "{path} took {SOON:?} six times, {what}");
    }
}

#[test]
fn hostile_clients_do_not_delay_an_answer() {
    let mut server = observed(&["--workers", "1"]);
    for attack in [Attack::Idle, Attack::Trickle, Attack::NeverRead, Attack::Pipeline] {
        // Each of those that send requests costs the server ten pages or more per turn.
        let most = if matches!(attack, Attack::Idle | Attack::Trickle) { 1000 } else { 200 };
        for count in [16, 100, most] {
            let attackers = Attackers::start(attack, count, admin_address(&server));
            expect_answers_soon(&server, &format!("{count} clients, {attack:?}"));
            drop(attackers);
        }
    }
    still_serves(&mut server);
}

/// Even when no other connection needs the slot.
#[test]
fn a_request_and_an_answer_have_a_limited_time() {
    let mut server = observed(&["--workers", "1"]);
    let began = Instant::now();
    let mut idle = connect(admin_address(&server));
    let trickling = connect(admin_address(&server));
    trickling.set_nonblocking(true).unwrap();
    await_until("the end of a request that trickles", || !act(Attack::Trickle, &trickling));
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    expect_closed(&mut idle);
    let deaf = connect_narrow(admin_address(&server));
    deaf.set_nonblocking(true).unwrap();
    await_until("the end of answers that are not read", || !act(Attack::NeverRead, &deaf));
    still_serves(&mut server);
}
