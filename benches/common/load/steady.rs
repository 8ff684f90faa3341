//! Persistent connections with a fixed number of messages in flight on each.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::measure::{Readiness, measure};
use super::socket::{close_all, open_all};
use super::{Explain, LoadParameters};
use crate::common::Outcome;

const RECEIVE_BYTES: usize = 64 << 10;

struct Steady<'a> {
    readiness: Readiness,
    streams: &'a [OwnedFd],
    progress: Vec<Progress>,
    message_bytes: usize,
    /// All messages that one connection may have in flight. Their content is not checked.
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

#[derive(Clone)]
struct Progress {
    /// Bytes to be sent.
    due_bytes: usize,
    /// Received bytes of the incomplete message.
    partial_bytes: usize,
    wants_out: bool,
}

pub(super) fn run(parameters: &LoadParameters) -> Outcome<()> {
    let streams = open_all(parameters)?;
    let mut steady = Steady::new(parameters, &streams)?;
    for index in 0..streams.len() {
        steady.send_due(index)?;
    }
    measure(parameters, || steady.turn())?;
    close_all(&streams)
}

impl<'a> Steady<'a> {
    fn new(parameters: &LoadParameters, streams: &'a [OwnedFd]) -> Outcome<Self> {
        let in_flight_bytes = parameters.traffic.message_bytes * parameters.traffic.depth;
        let readiness = Readiness::new()?;
        for (index, stream) in streams.iter().enumerate() {
            readiness.add(stream, index)?;
        }
        let start = Progress { due_bytes: in_flight_bytes, partial_bytes: 0, wants_out: false };
        Ok(Self {
            readiness,
            streams,
            progress: vec![start; streams.len()],
            message_bytes: parameters.traffic.message_bytes,
            outgoing: vec![b'm'; in_flight_bytes],
            incoming: vec![0; RECEIVE_BYTES],
        })
    }

    /// Waits once and handles the events. Returns the number of completed messages.
    fn turn(&mut self) -> Outcome<u64> {
        let mut completed = 0;
        for position in 0..self.readiness.wait()? {
            let index = self.readiness.ready(position);
            completed += self.receive(index)?;
            self.send_due(index)?;
        }
        Ok(completed)
    }

    /// Receives. Each completed message makes the next one due.
    fn receive(&mut self, index: usize) -> Outcome<u64> {
        let progress = &mut self.progress[index];
        let mut whole = 0;
        loop {
            let room = &mut self.incoming[..];
            let received = match recv(&self.streams[index], room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err("the server closed a connection".to_owned()),
                Ok((received, _)) => received,
                Err(Errno::AGAIN) => 0,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error).explain("recv"),
            };
            progress.partial_bytes += received;
            whole += progress.partial_bytes / self.message_bytes;
            progress.partial_bytes %= self.message_bytes;
            if received < RECEIVE_BYTES {
                break;
            }
        }
        progress.due_bytes += whole * self.message_bytes;
        Ok(whole as u64)
    }

    fn send_due(&mut self, index: usize) -> Outcome<()> {
        let (stream, progress) = (&self.streams[index], &mut self.progress[index]);
        if progress.due_bytes > 0 {
            let due = &self.outgoing[..progress.due_bytes];
            match send(stream, due, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => progress.due_bytes -= sent,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).explain("send"),
            }
        }
        let wants_out = progress.due_bytes > 0;
        if wants_out != progress.wants_out {
            progress.wants_out = wants_out;
            self.readiness.set_wants_out(stream, index, wants_out)?;
        }
        Ok(())
    }
}
