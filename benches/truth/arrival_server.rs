//! Echo server that timestamps the arrival of each message, to observe the client from outside.
//!
//! The timestamps are the kernel's (`SO_TIMESTAMPNS`, socket(7)): when a message reached the socket, not when this
//! thread read it. The server's own delays are therefore excluded. The client's system call, and the kernel's work in
//! it, are included.

use std::io::{ErrorKind, IoSliceMut, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns};
use nix::sys::time::TimeSpec;

use crate::common::Outcome;
use crate::common::cpus::{CpuRole, Cpus, move_to};

pub(crate) const MESSAGE_BYTES: usize = 64;

const LISTENER: Token = Token(usize::MAX);
const END: Token = Token(usize::MAX - 1);

/// A read that does not fill the buffer has drained the socket.
const BUFFER_BYTES: usize = 16 << 10;

/// A single bit to corrupt in the echo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitFlip {
    /// Index of the connection in order of accepting, from 0.
    pub(crate) connection: usize,
    /// Byte offset in the stream of that connection, from 0.
    pub(crate) byte: usize,
    pub(crate) bit: u8,
}

/// Handle of a running arrival server, on the server's CPU.
pub(crate) struct ArrivalServer {
    pub(crate) port: u16,
    end: Waker,
    thread: JoinHandle<Outcome<Vec<u64>>>,
}

impl ArrivalServer {
    pub(crate) fn start(cpus: &Cpus, flip: Option<BitFlip>) -> Outcome<Self> {
        let explain = |error: std::io::Error| format!("cannot set up the arrival server: {error}");
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(explain)?;
        // Accepted connections inherit this option.
        setsockopt(&listener, ReceiveTimestampns, &true).map_err(|error| explain(error.into()))?;
        let port = listener.local_addr().map_err(explain)?.port();
        let poll = Poll::new().map_err(explain)?;
        let end = Waker::new(poll.registry(), END).map_err(explain)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(explain)?;
        let cpu = cpus.only(CpuRole::Server);
        let thread = thread::spawn(move || {
            if let Some(cpu) = cpu {
                move_to(&cpu)?;
            }
            let mut echo_loop = EchoLoop { poll, listener, connections: Vec::new(), arrivals_ns: Vec::new(), flip };
            echo_loop.run()?;
            Ok(echo_loop.arrivals_ns)
        });
        Ok(Self { port, end, thread })
    }

    /// Stops the server. Returns the arrival time of each message in nanoseconds, in ascending order.
    pub(crate) fn finish(self) -> Outcome<Vec<u64>> {
        self.end.wake().map_err(|error| format!("cannot wake the arrival server: {error}"))?;
        let mut arrivals_ns = self.thread.join().map_err(|_| "the arrival server panicked")??;
        // Connections that were ready together were read in any order.
        arrivals_ns.sort_unstable();
        Ok(arrivals_ns)
    }
}

struct EchoLoop {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    arrivals_ns: Vec<u64>,
    flip: Option<BitFlip>,
}

struct Connection {
    stream: TcpStream,
    received_bytes: usize,
}

impl EchoLoop {
    fn run(&mut self) -> Outcome<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(format!("the arrival server cannot poll: {error}"));
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    END => return Ok(()),
                    LISTENER => self.accept_all()?,
                    Token(index) => self.take_turn(index, &mut buffer)?,
                }
            }
        }
    }

    fn accept_all(&mut self) -> Outcome<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("the arrival server cannot accept: {error}")),
            };
            let token = Token(self.connections.len());
            let registered = self.poll.registry().register(&mut stream, token, Interest::READABLE);
            registered.and_then(|()| stream.set_nodelay(true)).map_err(|error| format!("cannot set up: {error}"))?;
            self.connections.push(Some(Connection { stream, received_bytes: 0 }));
        }
    }

    /// Reads, records the arrival, and echoes.
    fn take_turn(&mut self, index: usize, buffer: &mut [u8]) -> Outcome<()> {
        while let Some(connection) = &mut self.connections[index] {
            let (bytes, stamp_ns) = match receive(&connection.stream, buffer) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(_) => (0, None),
            };
            if bytes == 0 {
                self.connections[index] = None;
                return Ok(());
            }
            let before = connection.received_bytes;
            connection.received_bytes += bytes;
            let whole = connection.received_bytes / MESSAGE_BYTES - before / MESSAGE_BYTES;
            let stamp_ns = stamp_ns.ok_or("the kernel gave no timestamp for a message")?;
            self.arrivals_ns.extend(std::iter::repeat_n(stamp_ns, whole));
            let echo = &mut buffer[..bytes];
            if let Some(flip) = self.flip.filter(|flip| flip.connection == index)
                && let Some(byte) = flip.byte.checked_sub(before).and_then(|offset| echo.get_mut(offset))
            {
                *byte ^= 1 << flip.bit;
            }
            match connection.stream.write(echo) {
                Ok(written) if written == bytes => {}
                // A client that found the corrupt bit has closed.
                Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => {}
                other => return Err(format!("the arrival server could not echo {bytes} bytes: {other:?}")),
            }
            if bytes < BUFFER_BYTES {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Receives bytes. Returns their number and the kernel's timestamp of the last one.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> Result<(usize, Option<u64>), Errno> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(TimeSpec);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let stamp_ns = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).ok(),
        _ => None,
    });
    Ok((message.bytes, stamp_ns))
}
