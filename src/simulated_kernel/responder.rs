//! A script that answers what it receives, in parts, and may break off.

use super::{Kernel, Nanos, Script};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};

/// Longest part that is read or sent at once.
const PART_BYTES: usize = 1000;

/// How the end of a stream behaves, unless the faults end before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Sends everything, ends, and reads the rest.
    Orderly,
    /// Resets the connection after that many bytes.
    Resets(usize),
    /// Closes the connection after that many bytes, whatever has arrived.
    Closes(usize),
    /// Sends that many bytes, and then nothing.
    Vanishes(usize),
    /// Sends a part when everything before it was answered, also after the end of the faults; then it ends.
    Converses,
    /// Shuts down its sending half after that many bytes, and reads the rest.
    HalfCloses(usize),
}

/// What a [`Responder`] answers.
pub(crate) trait Answers {
    /// Whether the faults have ended. From then on it is orderly, and waits for nothing.
    fn is_quiet(&self) -> bool;

    /// Bytes that were received, as far as the conduct counts them.
    fn counted_bytes(&self) -> usize;

    /// How many bytes are read at once.
    fn wanted_bytes(&self, part: usize) -> usize {
        part
    }

    /// These bytes were received: appends to `unsent` what is sent back for them.
    fn answer(&mut self, kernel: &Kernel, bytes: &[u8], unsent: &mut VecDeque<u8>);

    /// Reads from the endpoint.
    fn read(&mut self, kernel: &mut Kernel, endpoint: usize, room: &mut [u8]) -> io::Result<usize> {
        kernel.read(endpoint, room)
    }

    /// Writes to the endpoint.
    fn write(&mut self, kernel: &mut Kernel, endpoint: usize, bytes: &[u8]) -> io::Result<usize> {
        kernel.write(endpoint, bytes)
    }

    /// Shuts down the sending half, after TLS has sent what it holds.
    fn shut(&mut self, kernel: &mut Kernel, endpoint: usize) {
        kernel.shut(endpoint);
    }

    /// Sends what TLS holds. Returns whether that was all.
    fn flush(&mut self, _kernel: &mut Kernel, _endpoint: usize) -> io::Result<bool> {
        Ok(true)
    }

    /// Whether it ends before the end of the input.
    fn ends_early(&self) -> bool {
        false
    }

    /// So many bytes of the answer were sent.
    fn sent(&mut self, count: usize);

    /// It has shut down its sending half: after it has received the end and sent everything, or before.
    fn ended(&mut self);
}

/// Pace of a responder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Longest part that is read or sent at once.
    pub(crate) part: usize,
    /// Longest pause between two parts.
    pub(crate) pause: Nanos,
    /// It does nothing before this instant.
    pub(crate) begins: Nanos,
}

/// The script of an endpoint.
pub(crate) struct Responder<A> {
    answers: A,
    endpoint: usize,
    conduct: Conduct,
    pace: Pace,
    next_part: Nanos,
    /// Received, and not answered yet.
    unsent: VecDeque<u8>,
    saw_end: bool,
    has_ended: bool,
    is_closed: bool,
}

impl<A: Answers> Responder<A> {
    pub(crate) fn new(answers: A, endpoint: usize, conduct: Conduct, pace: Pace) -> Self {
        let (next_part, unsent) = (0, VecDeque::new());
        Self { answers, endpoint, conduct, pace, next_part, unsent, saw_end: false, has_ended: false, is_closed: false }
    }

    /// Reads as far as there is room for the answers.
    fn receive(&mut self, kernel: &mut Kernel) {
        while !self.saw_end && self.unsent.len() < self.pace.part {
            let mut bytes = [0; PART_BYTES];
            let count = self.answers.wanted_bytes(self.pace.part);
            match self.answers.read(kernel, self.endpoint, &mut bytes[..count]) {
                Ok(0) => self.saw_end = true,
                Ok(count) => {
                    self.answers.answer(kernel, &bytes[..count], &mut self.unsent);
                    if self.has_ended {
                        self.unsent.clear();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => (self.saw_end, self.is_closed) = (true, true),
            }
        }
    }

    /// Sends a part. Returns whether it may go on.
    fn send(&mut self, kernel: &mut Kernel) -> bool {
        let part: Vec<u8> = self.unsent.iter().copied().take(self.pace.part).collect();
        if part.is_empty() || self.is_closed {
            return false;
        }
        match self.answers.write(kernel, self.endpoint, &part) {
            Ok(count) => {
                self.unsent.drain(..count);
                self.answers.sent(count);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                (self.saw_end, self.is_closed) = (true, true);
                false
            }
        }
    }

    /// Does what it does before the end of the stream. Returns whether it goes on.
    fn goes_on(&mut self, kernel: &mut Kernel) -> bool {
        let counted = self.answers.counted_bytes();
        match self.conduct {
            Conduct::Resets(after) if counted >= after => kernel.abort(self.endpoint),
            Conduct::Closes(after) if counted >= after => kernel.close(self.endpoint),
            Conduct::Vanishes(after) if counted >= after => return false,
            Conduct::HalfCloses(after) if counted >= after && !self.has_ended => {
                self.end(kernel);
                self.unsent.clear();
                return true;
            }
            _ => return true,
        }
        self.is_closed = true;
        false
    }

    /// Waits before the next part. Returns whether it has to.
    fn pauses(&mut self, kernel: &mut Kernel, script: usize) -> bool {
        if self.pace.pause == 0 || self.answers.is_quiet() {
            return false;
        }
        self.next_part = kernel.now + 1 + kernel.rng.below(self.pace.pause);
        kernel.run_at(self.next_part, script);
        true
    }

    fn end(&mut self, kernel: &mut Kernel) {
        self.has_ended = true;
        self.answers.ended();
        self.answers.shut(kernel, self.endpoint);
    }

    /// Sends what TLS holds. Returns whether that was all.
    fn flush(&mut self, kernel: &mut Kernel) -> bool {
        if self.is_closed {
            return true;
        }
        let result = self.answers.flush(kernel, self.endpoint);
        if result.is_err() {
            (self.saw_end, self.is_closed) = (true, true);
        }
        result.unwrap_or(true)
    }
}

impl<A: Answers> Script for Responder<A> {
    fn run(&mut self, kernel: &mut Kernel, script: usize) {
        if self.answers.is_quiet() {
            self.conduct = Conduct::Orderly;
        } else if kernel.now < self.pace.begins {
            return kernel.run_at(self.pace.begins, script);
        } else if kernel.now < self.next_part {
            return;
        }
        if self.is_closed || !kernel.is_connected(self.endpoint) {
            return;
        }
        loop {
            if !self.goes_on(kernel) {
                return;
            }
            self.receive(kernel);
            self.flush(kernel);
            if !self.send(kernel) {
                break;
            }
            if self.pauses(kernel, script) {
                return;
            }
        }
        let is_last = self.saw_end || self.answers.ends_early();
        if !self.is_closed && is_last && self.unsent.is_empty() && !self.has_ended {
            self.end(kernel);
        }
        let is_flushed = self.flush(kernel);
        if self.is_closed || self.saw_end && self.has_ended && is_flushed {
            self.is_closed = true;
            kernel.close(self.endpoint);
        }
    }
}
