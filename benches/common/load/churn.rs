//! Short lives: connect, one echo, close, and the next one takes the place.
//!
//! Both ends of the handshake are handled in the client's `connect`, so this load works harder than
//! the server does and the rate is partly its own. The server's CPU time per connection is not.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::measure::{Readiness, measure};
use super::socket::{close_all, open};
use super::{Explain, Order};
use crate::common::Outcome;

struct Churn<'a> {
    order: &'a Order,
    readiness: Readiness,
    places: Vec<Life>,
    opened: usize,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

struct Life {
    stream: OwnedFd,
    missing_bytes: usize,
}

pub(super) fn run(order: &Order) -> Outcome<()> {
    let message_bytes = order.traffic.message_bytes;
    let mut churn = Churn {
        order,
        readiness: Readiness::new()?,
        places: Vec::with_capacity(order.traffic.connections),
        opened: 0,
        outgoing: vec![b'm'; message_bytes],
        incoming: vec![0; message_bytes],
    };
    for place in 0..order.traffic.connections {
        let life = churn.begin(place)?;
        churn.places.push(life);
    }
    measure(order, || churn.turn())?;
    let streams: Vec<_> = churn.places.into_iter().map(|life| life.stream).collect();
    close_all(&streams)
}

impl Churn<'_> {
    /// On loopback a connection is established when `connect` returns: the message can go at once.
    fn begin(&mut self, place: usize) -> Outcome<Life> {
        let stream = open(self.order.port, self.opened)?;
        self.opened += 1;
        let sent = send(&stream, &self.outgoing, SendFlags::NOSIGNAL).explain("send")?;
        if sent < self.outgoing.len() {
            return Err(format!("a new connection took {sent} bytes only"));
        }
        self.readiness.add(&stream, place)?;
        Ok(Life { stream, missing_bytes: self.outgoing.len() })
    }

    fn turn(&mut self) -> Outcome<u64> {
        let mut completed = 0;
        for nth in 0..self.readiness.wait()? {
            let place = self.readiness.ready(nth);
            let life = &mut self.places[place];
            match recv(&life.stream, &mut self.incoming[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err("the server closed before its echo".to_owned()),
                Ok((received, _)) => {
                    life.missing_bytes = life.missing_bytes.saturating_sub(received);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).explain("recv"),
            }
            if life.missing_bytes == 0 {
                completed += 1;
                // Dropping the old stream closes it, and takes it out of the epoll set.
                self.places[place] = self.begin(place)?;
            }
        }
        Ok(completed)
    }
}
