//! The two threads that may block, for the loop never does: one reads what is typed, one writes what the server says.
//!
//! Threads, and not sources of the loop, because a file cannot be waited for by epoll(7), and because making a terminal
//! non-blocking would make it so for every other program that has it open (open(2), `O_NONBLOCK`).

use super::pipe::Pipe;
use super::{Interactive, Wake};
use crate::codec::Framing;
use crate::error::{Error, in_words};
use crate::guard::guarded;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How much is read at a time, in bytes.
const CHUNK: usize = 16 * 1024;

/// The longest line that is sent in a frame, in bytes; it is held in memory as a whole.
const LONGEST_LINE: usize = 1024 * 1024;

/// Starts both threads. That which reads may outlive the run: nobody can take it away from a keyboard.
pub(super) fn start(
    interactive: &Arc<Interactive>,
    input: Box<dyn Read + Send>,
    output: Box<dyn Write + Send>,
    wake: &Wake,
) -> Result<(), Error> {
    let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        thread.map(drop).map_err(Error::system("start a thread for the input or the output"))
    };
    let (reading, reader_wake) = (Arc::clone(interactive), Arc::clone(wake));
    start("input", Box::new(move || read_all(&reading, input, &*reader_wake)))?;
    let (writing, writer_wake) = (Arc::clone(interactive), Arc::clone(wake));
    start("output", Box::new(move || write_all(&writing.screen, output, &*writer_wake)))
}

fn read_all(interactive: &Interactive, input: Box<dyn Read + Send>, wake: &dyn Fn()) {
    let read = guarded(|| match interactive.framing {
        None | Some(Framing::UntilEnd) => read_chunks(&interactive.keyboard, input, wake),
        Some(framing) => read_lines(interactive, framing, input, wake),
    });
    if let Err(error) = read.unwrap_or_else(|text| Err(panicked(&text))) {
        log::error!("cannot read the input: {}", in_words(&error));
        interactive.keyboard.abort(error.kind());
    }
    interactive.keyboard.end();
    wake();
}

fn read_chunks(keyboard: &Pipe, mut input: impl Read, wake: &dyn Fn()) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => match keyboard.put(&chunk[..count]) {
                Some(true) => wake(),
                Some(false) => {}
                None => return Ok(()),
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Each line becomes a message. One that the framing cannot carry is told of, and left out.
fn read_lines(interactive: &Interactive, framing: Framing, input: impl Read, wake: &dyn Fn()) -> io::Result<()> {
    let mut input = BufReader::with_capacity(CHUNK, input);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > LONGEST_LINE {
            return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than 1 MiB"));
        }
        let envelope = match framing.envelope(&line, 0) {
            Ok(envelope) => envelope,
            Err(error) => {
                log::error!("a line was not sent: {error}");
                interactive.has_left_out.store(true, Ordering::Relaxed);
                continue;
            }
        };
        line.splice(..0, envelope.before().iter().copied());
        line.extend_from_slice(envelope.after());
        match interactive.keyboard.put(&line) {
            Some(true) => wake(),
            Some(false) => {}
            None => return Ok(()),
        }
    }
}

fn write_all(screen: &Pipe, mut output: impl Write, wake: &dyn Fn()) {
    let mut chunk = Vec::new();
    while screen.exchange(&mut chunk) {
        let written = guarded(|| output.write_all(&chunk).and_then(|()| output.flush()));
        if let Err(error) = written.unwrap_or_else(|text| Err(panicked(&text))) {
            if error.kind() != ErrorKind::BrokenPipe {
                log::error!("cannot write what the server says: {}", in_words(&error));
            }
            screen.abort(error.kind());
            return wake();
        }
        wake();
    }
    // A terminal is shown an incomplete character only when no more bytes can follow.
    drop(output);
    screen.finish();
    wake();
}

/// The input and the output are the caller's own, and may panic.
fn panicked(text: &str) -> io::Error {
    io::Error::other(format!("it panicked: {text}"))
}
