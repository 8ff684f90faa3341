//! Steady and silent load over TLS: the same closed loop with a rustls client.
//!
//! The client does as much cryptography as the server, so the rate is partly its own. The server's CPU time per message
//! is not.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::ClientConnection;

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
}

pub(super) fn run(parameters: &LoadParameters) -> Outcome<()> {
    let config = client_config()?;
    let name = "localhost".try_into().map_err(|error| format!("localhost is not a valid name: {error}"))?;
    let mut peers = Vec::with_capacity(parameters.traffic.connections);
    for index in 0..parameters.traffic.connections {
        let session = ClientConnection::new(Arc::clone(&config), Clone::clone(&name));
        let session = session.map_err(|error| format!("cannot begin a handshake: {error}"))?;
        let mut peer = TlsPeer { stream: open(parameters.port, index)?, session, partial_bytes: 0, wants_out: false };
        peer.handshake_and_echo()?;
        peers.push(peer);
    }
    if parameters.traffic.pattern == Pattern::Steady {
        steady(parameters, &mut peers)?;
    } else {
        println!("open");
        io::stdin().read_to_end(&mut Vec::new()).map_err(|error| format!("cannot wait for standard input: {error}"))?;
    }
    for peer in &mut peers {
        peer.session.send_close_notify();
        let _ = peer.session.write_tls(&mut Blocking(&peer.stream));
    }
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

impl TlsPeer {
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

struct Blocking<'a>(&'a OwnedFd);
struct Nonblocking<'a>(&'a OwnedFd);

impl Read for Blocking<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, room, RecvFlags::empty())?.0)
    }
}

impl Write for Blocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
