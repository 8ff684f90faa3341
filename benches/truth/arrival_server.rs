//! A server that records when each message arrives, and echoes it: what the client did, as seen by somebody else.
//!
//! The instants are the kernel's (`SO_TIMESTAMPNS`, socket(7)): when a message reached the socket, and not when this
//! thread came to read it, so that the recorder's own delays are no part of what is measured. The client's system call,
//! and what the kernel does within it, are.

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
use crate::common::cpus::{Cpus, Place, move_to};

pub(crate) const MESSAGE_BYTES: usize = 64;

const LISTENER: Token = Token(usize::MAX);
const END: Token = Token(usize::MAX - 1);

/// A read that does not fill it has drained the socket.
const BUFFER_BYTES: usize = 16 << 10;

/// One bit that comes back wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lie {
    /// In the order of accepting, from 0.
    pub(crate) connection: usize,
    /// In the stream of that connection, from 0.
    pub(crate) byte: usize,
    pub(crate) bit: u8,
}

/// A recorder at work, on the server's CPU.
pub(crate) struct Recorder {
    pub(crate) port: u16,
    end: Waker,
    thread: JoinHandle<Outcome<Vec<u64>>>,
}

impl Recorder {
    pub(crate) fn start(cpus: &Cpus, lie: Option<Lie>) -> Outcome<Self> {
        let explain = |error: std::io::Error| format!("cannot set up the recorder: {error}");
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(explain)?;
        // Connections inherit it.
        setsockopt(&listener, ReceiveTimestampns, &true).map_err(|error| explain(error.into()))?;
        let port = listener.local_addr().map_err(explain)?.port();
        let poll = Poll::new().map_err(explain)?;
        let end = Waker::new(poll.registry(), END).map_err(explain)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(explain)?;
        let place = cpus.only(Place::Server);
        let thread = thread::spawn(move || {
            if let Some(place) = place {
                move_to(&place)?;
            }
            let mut desk = Desk { poll, listener, connections: Vec::new(), arrivals_ns: Vec::new(), lie };
            desk.run()?;
            Ok(desk.arrivals_ns)
        });
        Ok(Self { port, end, thread })
    }

    /// Ends it, and returns when each message arrived, in ascending order, in nanoseconds.
    pub(crate) fn finish(self) -> Outcome<Vec<u64>> {
        self.end.wake().map_err(|error| format!("cannot wake the recorder: {error}"))?;
        let mut arrivals_ns = self.thread.join().map_err(|_| "the recorder panicked")??;
        // Those that were ready together were read in any order.
        arrivals_ns.sort_unstable();
        Ok(arrivals_ns)
    }
}

struct Desk {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    arrivals_ns: Vec<u64>,
    lie: Option<Lie>,
}

struct Connection {
    stream: TcpStream,
    received_bytes: usize,
}

impl Desk {
    fn run(&mut self) -> Outcome<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(format!("the recorder cannot wait: {error}"));
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
                Err(error) => return Err(format!("the recorder cannot accept: {error}")),
            };
            let token = Token(self.connections.len());
            let registered = self.poll.registry().register(&mut stream, token, Interest::READABLE);
            registered.and_then(|()| stream.set_nodelay(true)).map_err(|error| format!("cannot set up: {error}"))?;
            self.connections.push(Some(Connection { stream, received_bytes: 0 }));
        }
    }

    /// Reads, writes down, echoes.
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
            let stamp_ns = stamp_ns.ok_or("the kernel did not say when a message arrived")?;
            self.arrivals_ns.extend(std::iter::repeat_n(stamp_ns, whole));
            let echo = &mut buffer[..bytes];
            if let Some(lie) = self.lie.filter(|lie| lie.connection == index)
                && let Some(byte) = lie.byte.checked_sub(before).and_then(|place| echo.get_mut(place))
            {
                *byte ^= 1 << lie.bit;
            }
            match connection.stream.write(echo) {
                Ok(written) if written == bytes => {}
                // A client that found a lie has closed.
                Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => {}
                other => return Err(format!("the recorder could not echo {bytes} bytes: {other:?}")),
            }
            if bytes < BUFFER_BYTES {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What came, in bytes, and when the kernel got the last of it.
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
