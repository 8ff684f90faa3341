//! Input and output thread of interactive mode. They may block; the event loop never does.
//!
//! They are threads, not event sources of the loop, because epoll(7) does not support files. Making a terminal
//! non-blocking would affect every other program that has it open (open(2), `O_NONBLOCK`).

use super::pipe::Pipe;
use super::{Interactive, Wake};
use crate::codec::Framing;
use crate::error::{Error, in_words};
use crate::panic_guard::guarded;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes per read.
const CHUNK: usize = 16 * 1024;

/// Maximum length of a line that is sent in a frame, in bytes. It is held in memory as a whole.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Starts both threads. The input thread may outlive the run, since its read cannot be interrupted.
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
    start("output", Box::new(move || write_all(&writing.output_pipe, output, &*writer_wake)))
}

fn read_all(interactive: &Interactive, input: Box<dyn Read + Send>, wake: &dyn Fn()) {
    let read = guarded(|| match interactive.framing {
        None | Some(Framing::UntilEnd) => read_chunks(&interactive.input_pipe, input, wake),
        Some(framing) => read_lines(interactive, framing, input, wake),
    });
    if let Err(error) = read.unwrap_or_else(|text| Err(panicked(&text))) {
        log::error!("cannot read the input: {}", in_words(&error));
        interactive.input_pipe.abort(error.kind());
    }
    interactive.input_pipe.end();
    wake();
}

fn read_chunks(input_pipe: &Pipe, mut input: impl Read, wake: &dyn Fn()) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => match input_pipe.put(&chunk[..count]) {
                Some(true) => wake(),
                Some(false) => {}
                None => return Ok(()),
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends each line as a message. A line that the framing cannot carry is logged and skipped.
fn read_lines(interactive: &Interactive, framing: Framing, input: impl Read, wake: &dyn Fn()) -> io::Result<()> {
    let mut input = BufReader::with_capacity(CHUNK, input);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > MAX_LINE_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than 1 MiB"));
        }
        let envelope = match framing.envelope(&line, 0) {
            Ok(envelope) => envelope,
            Err(error) => {
                log::error!("a line was not sent: {error}");
                interactive.has_skipped_line.store(true, Ordering::Relaxed);
                continue;
            }
        };
        line.splice(..0, envelope.before().iter().copied());
        line.extend_from_slice(envelope.after());
        match interactive.input_pipe.put(&line) {
            Some(true) => wake(),
            Some(false) => {}
            None => return Ok(()),
        }
    }
}

fn write_all(output_pipe: &Pipe, mut output: impl Write, wake: &dyn Fn()) {
    let mut chunk = Vec::new();
    while output_pipe.exchange(&mut chunk) {
        let written = guarded(|| output.write_all(&chunk).and_then(|()| output.flush()));
        if let Err(error) = written.unwrap_or_else(|text| Err(panicked(&text))) {
            if error.kind() != ErrorKind::BrokenPipe {
                log::error!("cannot write the output: {}", in_words(&error));
            }
            output_pipe.abort(error.kind());
            return wake();
        }
        wake();
    }
    // Dropped first: an incomplete character is written only when no more bytes can follow.
    drop(output);
    output_pipe.finish();
    wake();
}

/// Error for a panic of the caller's input or output.
fn panicked(text: &str) -> io::Error {
    io::Error::other(format!("it panicked: {text}"))
}
