//! Echo server that timestamps the arrival of each message, to observe the client from outside, and replies when it is
//! told to.
//!
//! The timestamps are the kernel's (`SO_TIMESTAMPNS`, socket(7)): when a message reached the socket, not when this
//! thread read it. The server's own delays are therefore excluded. The client's system call, and the kernel's work in
//! it, are included. Replies are timestamped as well if that is wanted: when the kernel passed one to the network device
//! (`SO_TIMESTAMPING`, Documentation/networking/timestamping.rst).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, IoSliceMut, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimestampns, Timestamping};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt};
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

/// Decides when a message is answered: from the instant of its arrival, in nanoseconds of the wall clock.
pub(crate) type ReplyAt = Box<dyn FnMut(u64) -> u64 + Send>;

/// One message per `gap_ns`, in the order of arrival, by a server that uses all of this time for it. After a pause,
/// messages for `burst_ns` are answered at once (generic cell rate algorithm, ITU-T I.371).
pub(crate) fn one_per(gap_ns: u64, burst_ns: u64) -> ReplyAt {
    let mut free_at_ns = 0;
    Box::new(move |arrived_ns: u64| {
        free_at_ns = free_at_ns.max(arrived_ns.saturating_sub(burst_ns)) + gap_ns;
        free_at_ns.max(arrived_ns)
    })
}

/// What the server does besides echoing.
#[derive(Default)]
pub(crate) struct Behaviour {
    pub(crate) flip: Option<BitFlip>,
    /// Each message is answered at an instant of its own, otherwise at once.
    pub(crate) reply_at: Option<ReplyAt>,
    /// The server never sleeps. Otherwise replies at an instant are up to 1 ms late, and to wake the server costs the client
    /// 10 µs in each send over loopback, and none over a network.
    pub(crate) polls: bool,
    /// Replies are timestamped, to know the service times.
    pub(crate) stamps_replies: bool,
}

/// What the server has seen.
#[derive(Default)]
pub(crate) struct Observed {
    /// Arrival of each message in nanoseconds, in ascending order.
    pub(crate) arrivals_ns: Vec<u64>,
    /// Time from each arrival until the reply left, where replies are timestamped.
    pub(crate) service_ns: Vec<f64>,
}

/// Handle of a running arrival server, on the server's CPU.
pub(crate) struct ArrivalServer {
    pub(crate) port: u16,
    end: Waker,
    thread: JoinHandle<Outcome<Observed>>,
}

impl ArrivalServer {
    pub(crate) fn start(cpus: &Cpus, behaviour: Behaviour) -> Outcome<Self> {
        let explain = |error: std::io::Error| format!("cannot set up the arrival server: {error}");
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(explain)?;
        keep_stamping()?;
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
            let mut echo_loop = EchoLoop {
                poll,
                listener,
                connections: Vec::new(),
                behaviour,
                waiting: BinaryHeap::new(),
                observed: Observed::default(),
            };
            echo_loop.run()?;
            Ok(echo_loop.observed)
        });
        Ok(Self { port, end, thread })
    }

    /// Stops the server.
    pub(crate) fn finish(self) -> Outcome<Observed> {
        self.end.wake().map_err(|error| format!("cannot wake the arrival server: {error}"))?;
        let mut observed = self.thread.join().map_err(|_| "the arrival server panicked")??;
        // Connections that were ready together were read in any order.
        observed.arrivals_ns.sort_unstable();
        Ok(observed)
    }
}

/// The kernel begins to timestamp a moment after a first socket wants it, and ends with the last one. This socket stays.
fn keep_stamping() -> Outcome<()> {
    static SOCKET: OnceLock<UdpSocket> = OnceLock::new();
    let explain = |error: std::io::Error| format!("cannot set up timestamps: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(explain)?;
    setsockopt(SOCKET.get_or_init(|| socket), ReceiveTimestampns, &true).map_err(|error| explain(error.into()))
}

struct EchoLoop {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    behaviour: Behaviour,
    /// Messages to be answered later, the next one first.
    waiting: BinaryHeap<Reverse<Waiting>>,
    observed: Observed,
}

struct Connection {
    stream: TcpStream,
    received_bytes: usize,
    /// The beginning of a message that is answered later.
    partial: Vec<u8>,
    /// When the last message is answered; a connection's replies are in the order of its messages.
    last_reply_at_ns: u64,
}

/// A message to be answered, ordered by the instant of the reply.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    reply_at_ns: u64,
    arrived_ns: u64,
    connection: usize,
    message: [u8; MESSAGE_BYTES],
}

impl EchoLoop {
    fn run(&mut self) -> Outcome<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let next = self.waiting.peek().map(|Reverse(next)| next.reply_at_ns.saturating_sub(wall_clock_ns()));
            let timeout = if self.behaviour.polls { Some(Duration::ZERO) } else { next.map(Duration::from_nanos) };
            match self.poll.poll(&mut events, timeout) {
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
            self.answer_due()?;
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
            if self.behaviour.stamps_replies {
                // Without the reply itself.
                let stamps = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
                    | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
                    | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
                setsockopt(&stream, Timestamping, &stamps).map_err(|error| format!("cannot set up: {error}"))?;
            }
            self.connections.push(Some(Connection {
                stream,
                received_bytes: 0,
                partial: Vec::new(),
                last_reply_at_ns: 0,
            }));
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
            self.observed.arrivals_ns.extend(std::iter::repeat_n(stamp_ns, whole));
            let echo = &mut buffer[..bytes];
            if let Some(reply_at) = &mut self.behaviour.reply_at {
                connection.partial.extend_from_slice(echo);
                let (messages, rest) = connection.partial.as_chunks();
                self.waiting.extend(messages.iter().map(|message| {
                    let reply_at_ns = reply_at(stamp_ns).max(connection.last_reply_at_ns + 1);
                    connection.last_reply_at_ns = reply_at_ns;
                    Reverse(Waiting { reply_at_ns, arrived_ns: stamp_ns, connection: index, message: *message })
                }));
                connection.partial = rest.to_vec();
            } else {
                if let Some(flip) = self.behaviour.flip.filter(|flip| flip.connection == index)
                    && let Some(byte) = flip.byte.checked_sub(before).and_then(|offset| echo.get_mut(offset))
                {
                    *byte ^= 1 << flip.bit;
                }
                if write(&mut connection.stream, echo)? == Write::Full {
                    return Err("the client does not read the echoes".to_owned());
                }
            }
            if bytes < BUFFER_BYTES {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Answers the messages that are due, and records their service time.
    fn answer_due(&mut self) -> Outcome<()> {
        while let Some(Reverse(next)) = self.waiting.peek() {
            if next.reply_at_ns > wall_clock_ns() {
                break;
            }
            if let Some(connection) = &mut self.connections[next.connection] {
                let outcome = write(&mut connection.stream, &next.message)?;
                if outcome == Write::Full {
                    // As long as this client does not read, the server is at its limit.
                    break;
                }
                if outcome == Write::Done && self.behaviour.stamps_replies {
                    let left_ns = departure(&connection.stream).ok_or("the kernel gave no timestamp for a reply")?;
                    self.observed.service_ns.push(left_ns.saturating_sub(next.arrived_ns) as f64);
                }
            }
            self.waiting.pop();
        }
        Ok(())
    }
}

/// Outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Done,
    /// The socket buffer is full.
    Full,
    /// A client that found the corrupt bit, or whose time is over, has closed.
    Closed,
}

fn write(stream: &mut TcpStream, echo: &[u8]) -> Outcome<Write> {
    match stream.write(echo) {
        Ok(written) if written == echo.len() => Ok(Write::Done),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Write::Full),
        Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => Ok(Write::Closed),
        other => Err(format!("the arrival server could not echo {} bytes: {other:?}", echo.len())),
    }
}

/// Receives bytes. Returns their number and the kernel's timestamp of the last one.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> Result<(usize, Option<u64>), Errno> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(TimeSpec, [TimeSpec; 3]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let stamp_ns = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => nanos(time),
        _ => None,
    });
    Ok((message.bytes, stamp_ns))
}

/// When the last reply was passed to the network device. Over loopback that is before the send call returns.
fn departure(stream: &TcpStream) -> Option<u64> {
    let mut space = nix::cmsg_space!([u8; 256]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut [], Some(&mut space), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampsns(times) => nanos(times.system),
        _ => None,
    })
}

fn nanos(time: TimeSpec) -> Option<u64> {
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).ok()
}

/// The clock of the kernel's timestamps.
fn wall_clock_ns() -> u64 {
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}
