//! Echo servers of a known capacity, on the server's CPU: a token bucket, and one that spends CPU time on each message.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::arrival_server::MESSAGE_BYTES;
use crate::common::Outcome;
use crate::common::cpus::{CpuRole, Cpus, move_to};

const LISTENER: Token = Token(usize::MAX);

/// How often an idle server looks whether it has to end.
const IDLE: Duration = Duration::from_millis(50);

/// Time for which a token bucket makes up, so that a late loop does not lower its capacity.
const MAX_LATENESS: Duration = Duration::from_millis(5);

/// What limits a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Capacity {
    /// This many messages per second.
    PerSecond(f64),
    /// This much time for each message, without pause.
    Work(Duration),
}

/// A running server; it ends when it is dropped.
pub(crate) struct CapacityServer {
    pub(crate) port: u16,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CapacityServer {
    pub(crate) fn start(cpus: &Cpus, capacity: Capacity) -> Outcome<Self> {
        let explain = |error: std::io::Error| format!("cannot set up the server: {error}");
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(explain)?;
        let port = listener.local_addr().map_err(explain)?.port();
        let poll = Poll::new().map_err(explain)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(explain)?;
        let (cpu, is_ending) = (cpus.only(CpuRole::Server), Arc::<AtomicBool>::default());
        let ending = Arc::clone(&is_ending);
        let thread = thread::spawn(move || {
            if let Some(cpu) = cpu {
                // Without pinning the figures are worse, not wrong.
                let _ = move_to(&cpu);
            }
            let mut echo = Echo {
                poll,
                listener,
                connections: Vec::new(),
                queue: VecDeque::new(),
                capacity,
                next: Instant::now(),
            };
            while !ending.load(Ordering::Relaxed) {
                echo.round();
            }
        });
        Ok(Self { port, is_ending, thread: Some(thread) })
    }
}

impl Drop for CapacityServer {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Echo {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<TcpStream>>,
    /// Connections of the messages that were received and not answered, in order.
    queue: VecDeque<usize>,
    capacity: Capacity,
    /// When the token bucket answers the next message.
    next: Instant,
}

impl Echo {
    fn round(&mut self) {
        let mut events = Events::with_capacity(256);
        let timeout = if self.queue.is_empty() { IDLE } else { Duration::ZERO };
        if self.poll.poll(&mut events, Some(timeout)).is_err() {
            return;
        }
        for event in &events {
            match event.token() {
                LISTENER => self.accept(),
                Token(index) => self.receive(index),
            }
        }
        self.answer();
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let _ = stream.set_nodelay(true);
            let token = Token(self.connections.len());
            if self.poll.registry().register(&mut stream, token, Interest::READABLE).is_ok() {
                self.connections.push(Some(stream));
            }
        }
    }

    /// The load's messages are small, so a read returns whole messages.
    fn receive(&mut self, index: usize) {
        let mut buffer = [0; 256 * MESSAGE_BYTES];
        while let Some(stream) = &mut self.connections[index] {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.queue.extend(std::iter::repeat_n(index, count / MESSAGE_BYTES)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => self.connections[index] = None,
            }
        }
        self.queue.retain(|queued| *queued != index);
    }

    /// Answers the messages whose turn it is; with work, one, so that others can be received meanwhile.
    fn answer(&mut self) {
        let message = [b'.'; MESSAGE_BYTES];
        while let Some(&index) = self.queue.front() {
            match self.capacity {
                Capacity::PerSecond(_) if Instant::now() < self.next => return,
                Capacity::PerSecond(rate) => {
                    let begin = self.next.max(Instant::now().checked_sub(MAX_LATENESS).unwrap_or(self.next));
                    self.next = begin + Duration::from_secs_f64(1.0 / rate);
                }
                Capacity::Work(time) => {
                    let begun = Instant::now();
                    while begun.elapsed() < time {}
                }
            }
            self.queue.pop_front();
            if let Some(stream) = &mut self.connections[index] {
                let _ = stream.write_all(&message);
            }
            if matches!(self.capacity, Capacity::Work(_)) {
                return;
            }
        }
    }
}
