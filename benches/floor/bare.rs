//! Minimal echo server: a level-triggered epoll loop without any other function. It is the lower bound of the
//! comparison.
//!
//! It has no log, clock, timer, limit or counter. A small message costs one `recv`, one `send` and a share of an
//! `epoll_wait`. Everything beyond that is overhead of another server.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, accept_with, bind, getsockname,
    listen, recv, send, socket_with, sockopt,
};

use crate::common::{Outcome, child};

/// Reading 64 KiB in a loop is faster than a larger buffer, which no longer fits the cache.
const BUFFER_BYTES: usize = 64 << 10;
const BACKLOG: i32 = 4096;
const EVENTS_AT_ONCE: usize = 1024;

struct Connection {
    stream: OwnedFd,
    /// Bytes that the socket did not accept. While there are any, nothing more is read.
    leftover: Vec<u8>,
}

struct Server {
    epoll: OwnedFd,
    listener: OwnedFd,
    /// Indexed by descriptor. The kernel assigns the lowest free number, so the vector stays dense.
    connections: Vec<Option<Connection>>,
}

/// State of a connection after its turn.
enum Turn {
    /// It waits for the same event as before.
    Same,
    /// It now waits for the other direction.
    WaitFor(EventFlags),
    Over,
}

pub(crate) fn serve() -> Outcome<()> {
    let listener = open_listener().map_err(|error| format!("cannot listen: {error}"))?;
    child::announce(port_of(&listener)?);
    let mut server = Server::new(listener).map_err(|error| format!("cannot set up: {error}"))?;
    server.run().map_err(|error| format!("event loop failed: {error}"))
}

fn open_listener() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    // Accepted sockets inherit this option on Linux, which saves a call per connection.
    sockopt::set_tcp_nodelay(&listener, true)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn port_of(listener: &OwnedFd) -> Outcome<u16> {
    getsockname(listener)
        .and_then(|address: SocketAddrAny| SocketAddrV4::try_from(address))
        .map(|address| address.port())
        .map_err(|error| format!("cannot get the port: {error}"))
}

impl Server {
    fn new(listener: OwnedFd) -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, data_of(&listener), EventFlags::IN)?;
        Ok(Self { epoll, listener, connections: Vec::new() })
    }

    fn run(&mut self) -> Result<(), Errno> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        let listener_index = index_of(&self.listener);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            for event in events.drain(..) {
                let index = data_index(event.data);
                if index == listener_index {
                    self.accept_all()?;
                } else {
                    self.take_turn(index, &mut buffer)?;
                }
            }
        }
    }

    fn accept_all(&mut self) -> Result<(), Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            let stream = match accept_with(&self.listener, flags) {
                Ok(stream) => stream,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error),
            };
            epoll::add(&self.epoll, &stream, data_of(&stream), EventFlags::IN)?;
            let index = index_of(&stream);
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(Connection { stream, leftover: Vec::new() });
        }
    }

    #[inline]
    fn take_turn(&mut self, index: usize, buffer: &mut [u8]) -> Result<(), Errno> {
        // A descriptor occurs once per batch, and closes only in its own turn.
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let turn = if connection.leftover.is_empty() { connection.echo(buffer) } else { connection.flush() };
        match turn {
            Turn::Same => Ok(()),
            Turn::WaitFor(flags) => epoll::modify(&self.epoll, &connection.stream, data_of(&connection.stream), flags),
            Turn::Over => {
                // Closing removes it from the epoll set.
                self.connections[index] = None;
                Ok(())
            }
        }
    }
}

impl Connection {
    #[inline]
    fn echo(&mut self, buffer: &mut [u8]) -> Turn {
        loop {
            let received = match recv(&self.stream, &mut *buffer, RecvFlags::empty()) {
                Ok((received @ 1.., _)) => received,
                Err(Errno::AGAIN) => return Turn::Same,
                Err(Errno::INTR) => continue,
                Ok((0, _)) | Err(_) => return Turn::Over,
            };
            let chunk = &buffer[..received];
            let sent = match send(&self.stream, chunk, SendFlags::NOSIGNAL) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(_) => return Turn::Over,
            };
            if sent < received {
                self.leftover.extend_from_slice(&chunk[sent..]);
                return Turn::WaitFor(EventFlags::OUT);
            }
            if received < buffer.len() {
                return Turn::Same;
            }
        }
    }

    #[cold]
    fn flush(&mut self) -> Turn {
        match send(&self.stream, &self.leftover, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.leftover.len() => {
                self.leftover.clear();
                Turn::WaitFor(EventFlags::IN)
            }
            Ok(sent) => {
                self.leftover.drain(..sent);
                Turn::Same
            }
            Err(Errno::AGAIN | Errno::INTR) => Turn::Same,
            Err(_) => Turn::Over,
        }
    }
}

fn index_of(descriptor: &OwnedFd) -> usize {
    usize::try_from(descriptor.as_raw_fd()).unwrap_or_default()
}

fn data_of(descriptor: &OwnedFd) -> EventData {
    EventData::new_u64(index_of(descriptor) as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "it was made from a usize")]
fn data_index(data: EventData) -> usize {
    data.u64() as usize
}
