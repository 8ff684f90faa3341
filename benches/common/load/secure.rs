//! Load over TLS: the same closed loops with a rustls client.
//!
//! The client does as much cryptography as the server, so the rate is partly its own. The server's CPU time per message
//! or connection is not.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg, sockopt};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::measure::{Readiness, measure};
use super::socket::{close_all, open};
use super::{Explain, LoadParameters};
use crate::common::Outcome;
use crate::common::tls_configs::client_config;
use crate::common::traffic::Pattern;

const RECEIVE_BYTES: usize = 64 << 10;

struct TlsPeer {
    stream: OwnedFd,
    session: ClientConnection,
    /// Received bytes of the incomplete message.
    partial_bytes: usize,
    wants_out: bool,
    expected: Option<HandshakeKind>,
}

pub(super) fn run(parameters: &LoadParameters) -> Outcome<()> {
    let pattern = parameters.traffic.pattern;
    let config = client_config(pattern == Pattern::ResumedChurn)?;
    if matches!(pattern, Pattern::Churn | Pattern::ResumedChurn) {
        return Churn::new(parameters, config)?.run();
    }
    let mut peers = Vec::with_capacity(parameters.traffic.connections);
    for index in 0..parameters.traffic.connections {
        let mut peer = TlsPeer::connect(parameters.port, index, index, &config)?;
        peer.handshake_and_echo()?;
        peers.push(peer);
    }
    if pattern == Pattern::Steady {
        steady(parameters, &mut peers)?;
    } else {
        println!("open");
        io::stdin().read_to_end(&mut Vec::new()).map_err(|error| format!("cannot wait for standard input: {error}"))?;
    }
    peers.iter_mut().for_each(TlsPeer::send_close_notify);
    close_all(peers.iter().map(|peer| &peer.stream))
}

fn steady(parameters: &LoadParameters, peers: &mut [TlsPeer]) -> Outcome<()> {
    let message = vec![b'm'; parameters.traffic.message_bytes];
    let mut incoming = vec![0; RECEIVE_BYTES];
    let mut readiness = Readiness::new()?;
    for (index, peer) in peers.iter_mut().enumerate() {
        peer.session.set_buffer_limit(None);
        readiness.add(&peer.stream, index)?;
        for _ in 0..parameters.traffic.depth {
            peer.queue_message(&message)?;
        }
        peer.send_due(index, &readiness)?;
    }
    measure(parameters, || {
        let mut completed = 0;
        for position in 0..readiness.wait()? {
            let index = readiness.ready(position);
            let peer = &mut peers[index];
            let completed_messages = peer.receive(&mut incoming, message.len())?;
            for _ in 0..completed_messages {
                peer.queue_message(&message)?;
            }
            peer.send_due(index, &readiness)?;
            completed += completed_messages;
        }
        Ok(completed)
    })
}

/// Short connections: connect, handshake, one echo, close, and connect again.
struct Churn<'a> {
    parameters: &'a LoadParameters,
    config: Arc<ClientConfig>,
    /// Of every handshake for which there can be a ticket.
    expected: HandshakeKind,
    readiness: Readiness,
    peers: Vec<TlsPeer>,
    opened: usize,
    incoming: Vec<u8>,
    message: Vec<u8>,
}

impl<'a> Churn<'a> {
    fn new(parameters: &'a LoadParameters, config: Arc<ClientConfig>) -> Outcome<Self> {
        let resumes = parameters.traffic.pattern == Pattern::ResumedChurn;
        Ok(Self {
            parameters,
            config,
            expected: if resumes { HandshakeKind::Resumed } else { HandshakeKind::Full },
            readiness: Readiness::new()?,
            peers: Vec::with_capacity(parameters.traffic.connections),
            opened: 0,
            incoming: vec![0; RECEIVE_BYTES],
            message: vec![b'm'; parameters.traffic.message_bytes],
        })
    }

    fn run(mut self) -> Outcome<()> {
        let parameters = self.parameters;
        for index in 0..parameters.traffic.connections {
            let peer = self.begin(index)?;
            self.peers.push(peer);
        }
        measure(parameters, || self.turn())?;
        close_all(self.peers.iter().map(|peer| &peer.stream))
    }

    /// Opens a connection, and sends the first message of its handshake. Each but the first ones replaces one that has left
    /// at least one ticket.
    fn begin(&mut self, index: usize) -> Outcome<TlsPeer> {
        self.opened += 1;
        let mut peer = TlsPeer::connect(self.parameters.port, self.opened, index, &self.config)?;
        self.readiness.add(&peer.stream, index)?;
        peer.expected = Some(self.expected).filter(|_| self.opened > self.parameters.traffic.connections);
        peer.queue_message(&self.message)?;
        peer.send_due(index, &self.readiness)?;
        Ok(peer)
    }

    /// Waits once and handles the events. Returns the number of completed connections. A handshake of another kind than
    /// the expected one is an error.
    fn turn(&mut self) -> Outcome<u64> {
        let mut completed = 0;
        for position in 0..self.readiness.wait()? {
            let index = self.readiness.ready(position);
            let peer = &mut self.peers[index];
            let is_complete = peer.receive(&mut self.incoming, self.message.len())? > 0;
            peer.send_due(index, &self.readiness)?;
            if is_complete {
                let kind = peer.session.handshake_kind();
                if peer.expected.is_some() && peer.expected != kind {
                    return Err(format!("a handshake was {kind:?}, not {:?}", self.expected));
                }
                completed += 1;
                peer.send_close_notify();
                // Dropping the old stream closes it and removes it from the epoll set.
                self.peers[index] = self.begin(index)?;
            }
        }
        Ok(completed)
    }
}

impl TlsPeer {
    /// `number` selects the source address, `index` the server name. rustls keeps few tickets per name, and each connection
    /// needs one of that which it replaces.
    fn connect(port: u16, number: usize, index: usize, config: &Arc<ClientConfig>) -> Outcome<Self> {
        let name = format!("name-{index}.localhost").try_into();
        let name = name.map_err(|error| format!("not a valid server name: {error}"))?;
        let session = ClientConnection::new(Arc::clone(config), name);
        let session = session.map_err(|error| format!("cannot begin a handshake: {error}"))?;
        let stream = open(port, number)?;
        sockopt::set_tcp_nodelay(&stream, true).explain("setsockopt")?;
        Ok(Self { stream, session, partial_bytes: 0, wants_out: false, expected: None })
    }

    fn send_close_notify(&mut self) {
        self.session.send_close_notify();
        // The server may have closed the connection.
        let _ = self.session.write_tls(&mut Blocking(&self.stream));
    }

    /// Completes the handshake and one echo, so that the server has completed it, too.
    fn handshake_and_echo(&mut self) -> Outcome<()> {
        self.queue_message(b"m")?;
        let mut socket = Blocking(&self.stream);
        let mut stream = rustls::Stream::new(&mut self.session, &mut socket);
        stream.flush().and_then(|()| stream.read_exact(&mut [0])).map_err(|error| format!("no echo over TLS: {error}"))
    }

    fn queue_message(&mut self, message: &[u8]) -> Outcome<()> {
        self.session.writer().write_all(message).map_err(|error| format!("cannot encrypt: {error}"))
    }

    /// Receives, and returns the number of complete messages.
    fn receive(&mut self, incoming: &mut [u8], message_bytes: usize) -> Outcome<u64> {
        let received = match recv(&self.stream, &mut *incoming, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err("the server closed a connection".to_owned()),
            Ok((received, _)) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(error).explain("recv"),
        };
        let mut rest = &incoming[..received];
        let mut room = [0; 16 << 10];
        while !rest.is_empty() {
            self.session.read_tls(&mut rest).map_err(|error| format!("cannot read TLS records: {error}"))?;
            self.session.process_new_packets().map_err(|error| format!("invalid TLS from the server: {error}"))?;
            while let Ok(count @ 1..) = self.session.reader().read(&mut room) {
                self.partial_bytes += count;
            }
        }
        let completed_messages = self.partial_bytes / message_bytes;
        self.partial_bytes %= message_bytes;
        Ok(completed_messages as u64)
    }

    fn send_due(&mut self, index: usize, readiness: &Readiness) -> Outcome<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Nonblocking(&self.stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("send: {error}")),
            }
        }
        let wants_out = self.session.wants_write();
        if wants_out != self.wants_out {
            self.wants_out = wants_out;
            readiness.set_wants_out(&self.stream, index, wants_out)?;
        }
        Ok(())
    }
}

/// A socket for rustls, which writes all records in one call.
struct Blocking<'a>(&'a OwnedFd);
struct Nonblocking<'a>(&'a OwnedFd);

impl Read for Blocking<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, room, RecvFlags::empty())?.0)
    }
}

impl Write for Blocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(self.0, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(sendmsg(self.0, slices, &mut SendAncillaryBuffer::default(), flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
