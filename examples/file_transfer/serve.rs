//! Server: a service that sends or receives one file per connection.

use super::files::{CHUNK_BYTES, Partial, Source, check_name};
use super::protocol::{MAX_LINE_BYTES, Message};
use multiconn::codec::{Decoder, Framing};
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Context, Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Maximum number of bytes hashed in one call: as many as a connection moves in one turn. The buffers of the connection
/// bound all other work.
const HASHED_BYTES_PER_CALL: usize = 256 * 1024;

/// Maximum number of concurrent uploads. Each holds a descriptor besides that of its connection.
const MAX_UPLOADS: usize = 1000;

/// Serves the files of `folder` until stopped; returns a summary.
pub(crate) fn run(folder: PathBuf, port: u16) -> Result<String, String> {
    if !folder.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    let shared = Arc::new(SharedFolder { folder, uploads: Mutex::default() });
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    let server = Server::bind(config, |_| Transfer::new(&shared)).map_err(|error| error.to_string())?;
    for address in server.addresses() {
        println!("Listening on {address}");
    }
    server.run().map(|summary| summary.to_string()).map_err(|error| error.to_string())
}

/// State shared by all transfers.
struct SharedFolder {
    folder: PathBuf,
    /// Names of the files that are being received.
    uploads: Mutex<HashSet<String>>,
}

impl SharedFolder {
    fn uploads(&self) -> MutexGuard<'_, HashSet<String>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is being received. The lock prevents a second upload from writing to it.
struct Upload {
    partial: Partial,
    _lock: UploadLock,
}

/// Lock on the name of a file that is being received.
struct UploadLock {
    name: String,
    shared: Arc<SharedFolder>,
}

impl UploadLock {
    fn new(shared: &Arc<SharedFolder>, name: &str) -> io::Result<Self> {
        let mut uploads = shared.uploads();
        if uploads.len() >= MAX_UPLOADS {
            return Err(io::Error::other("too many files are being received; try again later"));
        }
        if !uploads.insert(name.to_owned()) {
            return Err(io::Error::other("another client is sending this file"));
        }
        Ok(Self { name: name.to_owned(), shared: Arc::clone(shared) })
    }
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        self.shared.uploads().remove(&self.name);
    }
}

/// State of a transfer.
enum State {
    /// Waits for the client's request.
    Request,
    /// Waits for the size and checksum of the client's partial file.
    AwaitPartial(Source),
    /// Compares the client's partial file with the source.
    Compare(Source, u64, String),
    /// Sends the file.
    Send(Source),
    /// Hashes the existing part of an upload.
    HashPartial(Upload),
    /// Waits for the offset at which the client starts.
    AwaitOffset(Upload),
    /// Receives the file.
    Receive(Upload),
    /// Waits for the client's checksum.
    AwaitSum(Upload),
    /// The transfer is complete.
    Done,
}

/// The next state, and what to wait for before it is handled; `None` handles it at once.
type Transition = io::Result<(State, Option<Wait>)>;

/// Service of one connection.
struct Transfer {
    shared: Arc<SharedFolder>,
    decoder: Decoder,
    state: State,
    error_detail: Option<io::Error>,
}

impl Transfer {
    fn new(shared: &Arc<SharedFolder>) -> Self {
        let decoder = Decoder::new(Framing::LINES, MAX_LINE_BYTES);
        Self { shared: Arc::clone(shared), decoder, state: State::Request, error_detail: None }
    }

    fn step(&mut self, state: State, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Transition {
        match state {
            State::Send(source) => send(source, output),
            State::Receive(upload) => receive(upload, input),
            State::Compare(mut source, bytes, sum) => match source.find_offset(bytes, &sum, HASHED_BYTES_PER_CALL)? {
                Some(offset) => {
                    write_message(output, &Message::From { offset, size: source.size() })?;
                    Ok((State::Send(source), None))
                }
                None => Ok((State::Compare(source, bytes, sum), Some(Wait::Deadline(now)))),
            },
            State::HashPartial(mut upload) => match upload.partial.hash_existing(HASHED_BYTES_PER_CALL)? {
                Some((bytes, sum)) => {
                    write_message(output, &Message::Have { bytes, sum })?;
                    Ok((State::AwaitOffset(upload), None))
                }
                None => Ok((State::HashPartial(upload), Some(Wait::Deadline(now)))),
            },
            State::Done => Ok((State::Done, Some(Wait::Close))),
            awaiting => match self.read_message(input)? {
                Some(message) => self.answer(awaiting, message, output),
                None => Ok((awaiting, Some(Wait::Input))),
            },
        }
    }

    /// Handles a message of the client.
    fn answer(&self, state: State, message: Message, output: &mut Output<'_>) -> Transition {
        let next = match (state, message) {
            (State::Request, Message::Get(name)) => {
                State::AwaitPartial(Source::open(&self.shared.folder.join(check_name(&name)?))?)
            }
            (State::Request, Message::Put(name)) => {
                let lock = UploadLock::new(&self.shared, check_name(&name)?)?;
                State::HashPartial(Upload { partial: Partial::open(&self.shared.folder, &name)?, _lock: lock })
            }
            (State::AwaitPartial(source), Message::Have { bytes, sum }) => State::Compare(source, bytes, sum),
            (State::AwaitOffset(mut upload), Message::From { offset, size }) => {
                upload.partial.start(offset, size)?;
                State::Receive(upload)
            }
            (State::AwaitSum(upload), Message::Sum(sum)) => {
                upload.partial.finish(&sum)?;
                write_message(output, &Message::Done)?;
                State::Done
            }
            _ => return Err(io::Error::other("unexpected message")),
        };
        Ok((next, None))
    }

    fn read_message(&mut self, input: &mut Input<'_>) -> io::Result<Option<Message>> {
        let Some(line) = self.decoder.decode(input.bytes(), input.has_ended()).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let message = Message::parse(&input.bytes()[line.payload]);
        input.consume(line.size);
        message.map(Some)
    }
}

/// Sends as much of the file as there is room for, then the checksum.
fn send(mut source: Source, output: &mut Output<'_>) -> Transition {
    let mut chunk = [0; CHUNK_BYTES];
    while source.remaining() > 0 {
        let room = output.room().min(CHUNK_BYTES);
        if room == 0 {
            return Ok((State::Send(source), Some(Wait::Writable)));
        }
        let count = source.read(&mut chunk[..room])?;
        output.write(&chunk[..count]);
    }
    let sum_written = output.write_whole(Message::Sum(source.sum()).to_string().as_bytes());
    Ok(if sum_written { (State::Done, None) } else { (State::Send(source), Some(Wait::Writable)) })
}

/// Writes received bytes to the file.
fn receive(mut upload: Upload, input: &mut Input<'_>) -> Transition {
    let count = upload.partial.append(input.bytes())?;
    input.consume(count);
    let is_complete = upload.partial.remaining() == 0;
    Ok(if is_complete { (State::AwaitSum(upload), None) } else { (State::Receive(upload), Some(Wait::Input)) })
}

/// Sends a message in a state where only a few messages are sent, so that there is room.
fn write_message(output: &mut Output<'_>, message: &Message) -> io::Result<()> {
    let was_written = output.write_whole(message.to_string().as_bytes());
    if was_written { Ok(()) } else { Err(io::Error::other("the client does not read")) }
}

impl Service for Transfer {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        loop {
            let state = std::mem::replace(&mut self.state, State::Done);
            // Within a file an error message would be taken as content; the early end must suffice.
            let may_send_error = !matches!(state, State::Send(_));
            match self.step(state, input, output, now) {
                Ok((next, None)) => self.state = next,
                Ok((next, Some(wait))) => {
                    self.state = next;
                    return wait;
                }
                Err(error) => {
                    if may_send_error {
                        output.write(Message::Error(error.to_string()).to_string().as_bytes());
                    }
                    self.error_detail = Some(error);
                    return Wait::Abort;
                }
            }
        }
    }

    fn error_detail(&self) -> Option<String> {
        self.error_detail.as_ref().map(ToString::to_string)
    }
}
