//! Short connections: connect, one echo, close, and connect again.
//!
//! The kernel does the work of both ends of the handshake in the client's `connect`. This load therefore works harder
//! than the server, and the rate is partly its own. The server's CPU time per connection is not.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::measure::{Readiness, measure};
use super::socket::{close_all, open};
use super::{Explain, LoadParameters};
use crate::common::Outcome;

struct Churn<'a> {
    parameters: &'a LoadParameters,
    readiness: Readiness,
    connections: Vec<ShortConnection>,
    opened: usize,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

struct ShortConnection {
    stream: OwnedFd,
    missing_bytes: usize,
}

pub(super) fn run(parameters: &LoadParameters) -> Outcome<()> {
    let message_bytes = parameters.traffic.message_bytes;
    let mut churn = Churn {
        parameters,
        readiness: Readiness::new()?,
        connections: Vec::with_capacity(parameters.traffic.connections),
        opened: 0,
        outgoing: vec![b'm'; message_bytes],
        incoming: vec![0; message_bytes],
    };
    for index in 0..parameters.traffic.connections {
        let connection = churn.begin(index)?;
        churn.connections.push(connection);
    }
    measure(parameters, || churn.turn())?;
    let streams: Vec<_> = churn.connections.into_iter().map(|connection| connection.stream).collect();
    close_all(&streams)
}

impl Churn<'_> {
    /// Opens a connection and sends its message. On loopback a connection is established when `connect` returns.
    fn begin(&mut self, index: usize) -> Outcome<ShortConnection> {
        let stream = open(self.parameters.port, self.opened)?;
        self.opened += 1;
        let sent = send(&stream, &self.outgoing, SendFlags::NOSIGNAL).explain("send")?;
        if sent < self.outgoing.len() {
            return Err(format!("a new connection accepted only {sent} bytes"));
        }
        self.readiness.add(&stream, index)?;
        Ok(ShortConnection { stream, missing_bytes: self.outgoing.len() })
    }

    fn turn(&mut self) -> Outcome<u64> {
        let mut completed = 0;
        for position in 0..self.readiness.wait()? {
            let index = self.readiness.ready(position);
            let connection = &mut self.connections[index];
            match recv(&connection.stream, &mut self.incoming[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err("the server closed before its echo".to_owned()),
                Ok((received, _)) => {
                    connection.missing_bytes = connection.missing_bytes.saturating_sub(received);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).explain("recv"),
            }
            if connection.missing_bytes == 0 {
                completed += 1;
                // Dropping the old stream closes it and removes it from the epoll set.
                self.connections[index] = self.begin(index)?;
            }
        }
        Ok(completed)
    }
}
