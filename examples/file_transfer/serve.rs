//! The side that is asked: a service that sends or receives one file.

use super::files::{CHUNK_BYTES, Partial, Source, plain};
use super::words::{LINE_BYTES, Word};
use multiconn::codec::{Decoder, Framing};
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How much of a file is read in one call to take its sum, in bytes: as much as a connection moves in one turn anyway. All
/// else is bounded by the buffers of the connection.
const SUM_BYTES: usize = 256 * 1024;

/// The most uploads at a time. Each holds a descriptor besides that of its connection.
const UPLOADS: usize = 1000;

/// Serves the files of `folder` until told to end, and says what was done.
pub(crate) fn run(folder: PathBuf, port: u16) -> Result<String, String> {
    if !folder.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    let shelf = Arc::new(Shelf { folder, uploads: Mutex::default() });
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    let server = Server::bind(config, |_| Transfer::new(&shelf)).map_err(|error| error.to_string())?;
    for address in server.addresses() {
        println!("Listening on {address}");
    }
    server.run().map(|summary| summary.to_string()).map_err(|error| error.to_string())
}

/// What all transfers share.
struct Shelf {
    folder: PathBuf,
    /// The names of the files that are being received.
    uploads: Mutex<HashSet<String>>,
}

impl Shelf {
    fn uploads(&self) -> MutexGuard<'_, HashSet<String>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is being received, by nobody else meanwhile: two who write to it would spoil it.
struct Upload {
    partial: Partial,
    _claim: Claim,
}

/// The name of a file that is being received.
struct Claim {
    name: String,
    shelf: Arc<Shelf>,
}

impl Claim {
    fn new(shelf: &Arc<Shelf>, name: &str) -> io::Result<Self> {
        let mut uploads = shelf.uploads();
        if uploads.len() >= UPLOADS {
            return Err(io::Error::other("too many files are being received; try again later"));
        }
        if !uploads.insert(name.to_owned()) {
            return Err(io::Error::other("somebody else is sending this file"));
        }
        Ok(Self { name: name.to_owned(), shelf: Arc::clone(shelf) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shelf.uploads().remove(&self.name);
    }
}

/// How far a transfer has come.
enum Stage {
    /// The client says what it wants.
    Request,
    /// The client says what it has.
    Offer(Source),
    /// That is compared with what is here.
    Compare(Source, u64, String),
    /// The file goes out.
    Send(Source),
    /// What is here already is summed up.
    Recall(Upload),
    /// The client says where it begins.
    Start(Upload),
    /// The file comes in.
    Receive(Upload),
    /// The client says what it has sent.
    Check(Upload),
    /// All was said.
    Over,
}

/// The next stage, and what to wait for before it; with nothing to wait for, it begins at once.
type Next = io::Result<(Stage, Option<Wait>)>;

/// One connection.
struct Transfer {
    shelf: Arc<Shelf>,
    decoder: Decoder,
    stage: Stage,
    error_detail: Option<io::Error>,
}

impl Transfer {
    fn new(shelf: &Arc<Shelf>) -> Self {
        let decoder = Decoder::new(Framing::LINES, LINE_BYTES);
        Self { shelf: Arc::clone(shelf), decoder, stage: Stage::Request, error_detail: None }
    }

    fn step(&mut self, stage: Stage, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Next {
        match stage {
            Stage::Send(source) => send(source, output),
            Stage::Receive(upload) => receive(upload, input),
            Stage::Compare(mut source, bytes, sum) => match source.find_offset(bytes, &sum, SUM_BYTES)? {
                Some(offset) => {
                    say(output, &Word::From { offset, size: source.size() })?;
                    Ok((Stage::Send(source), None))
                }
                None => Ok((Stage::Compare(source, bytes, sum), Some(Wait::Deadline(now)))),
            },
            Stage::Recall(mut upload) => match upload.partial.recall(SUM_BYTES)? {
                Some((bytes, sum)) => {
                    say(output, &Word::Have { bytes, sum })?;
                    Ok((Stage::Start(upload), None))
                }
                None => Ok((Stage::Recall(upload), Some(Wait::Deadline(now)))),
            },
            Stage::Over => Ok((Stage::Over, Some(Wait::Close))),
            listening => match self.hear(input)? {
                Some(word) => self.answer(listening, word, output),
                None => Ok((listening, Some(Wait::Input))),
            },
        }
    }

    /// What a word of the client leads to.
    fn answer(&self, stage: Stage, word: Word, output: &mut Output<'_>) -> Next {
        let next = match (stage, word) {
            (Stage::Request, Word::Get(name)) => Stage::Offer(Source::open(&self.shelf.folder.join(plain(&name)?))?),
            (Stage::Request, Word::Put(name)) => {
                let claim = Claim::new(&self.shelf, plain(&name)?)?;
                Stage::Recall(Upload { partial: Partial::open(&self.shelf.folder, &name)?, _claim: claim })
            }
            (Stage::Offer(source), Word::Have { bytes, sum }) => Stage::Compare(source, bytes, sum),
            (Stage::Start(mut upload), Word::From { offset, size }) => {
                upload.partial.start(offset, size)?;
                Stage::Receive(upload)
            }
            (Stage::Check(upload), Word::Sum(sum)) => {
                upload.partial.finish(&sum)?;
                say(output, &Word::Done)?;
                Stage::Over
            }
            _ => return Err(io::Error::other("this is not the time for that word")),
        };
        Ok((next, None))
    }

    fn hear(&mut self, input: &mut Input<'_>) -> io::Result<Option<Word>> {
        let Some(line) = self.decoder.decode(input.bytes(), input.has_ended()).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let word = Word::parse(&input.bytes()[line.payload]);
        input.consume(line.size);
        word.map(Some)
    }
}

/// Sends as much as there is room for, and the sum behind it.
fn send(mut source: Source, output: &mut Output<'_>) -> Next {
    let mut chunk = [0; CHUNK_BYTES];
    while source.left() > 0 {
        let room = output.room().min(CHUNK_BYTES);
        if room == 0 {
            return Ok((Stage::Send(source), Some(Wait::Writable)));
        }
        let count = source.read(&mut chunk[..room])?;
        output.write(&chunk[..count]);
    }
    let is_told = output.write_whole(Word::Sum(source.sum()).to_string().as_bytes());
    Ok(if is_told { (Stage::Over, None) } else { (Stage::Send(source), Some(Wait::Writable)) })
}

/// Takes what has come in.
fn receive(mut upload: Upload, input: &mut Input<'_>) -> Next {
    let count = upload.partial.append(input.bytes())?;
    input.consume(count);
    let is_all = upload.partial.left() == 0;
    Ok(if is_all { (Stage::Check(upload), None) } else { (Stage::Receive(upload), Some(Wait::Input)) })
}

/// Says a word where nothing but words is said, and so few of them that there is room.
fn say(output: &mut Output<'_>, word: &Word) -> io::Result<()> {
    let is_said = output.write_whole(word.to_string().as_bytes());
    if is_said { Ok(()) } else { Err(io::Error::other("the client does not listen")) }
}

impl Service for Transfer {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Over);
            // In the middle of a file, words would be taken for a part of it: that it ends early has to be enough.
            let may_speak = !matches!(stage, Stage::Send(_));
            match self.step(stage, input, output, now) {
                Ok((next, None)) => self.stage = next,
                Ok((next, Some(wait))) => {
                    self.stage = next;
                    return wait;
                }
                Err(error) => {
                    if may_speak {
                        output.write(Word::Error(error.to_string()).to_string().as_bytes());
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
