//! File transfer that resumes after an interruption and verifies what was received.
//!
//! ```sh
//! cargo run --example file_transfer -- serve DIR [PORT]
//! cargo run --example file_transfer -- get 127.0.0.1:65435 NAME [DIR]
//! cargo run --example file_transfer -- put 127.0.0.1:65435 FILE
//! ```
//!
//! Each connection transfers one file. The receiver announces the size of its partial file and the SHA-256 of that. The
//! sender continues after this part if its own file begins with the same bytes, otherwise it starts over. At the end it
//! sends the SHA-256 of the whole file:
//!
//! ```text
//! client                server          client                 server
//! GET notes.txt                         PUT notes.txt
//! HAVE 4096 9f86...                                HAVE 4096 9f86...
//!         FROM 4096 10000               FROM 4096 10000
//!            (5,904 bytes)              (5,904 bytes)
//!             SUM 60303...              SUM 60303...
//!                                                               DONE
//! ```
//!
//! Received bytes are kept in `.NAME.part`. If the checksums agree, the file is renamed to `NAME` atomically; otherwise
//! it is deleted. Files of any size are streamed through bounded buffers.
//!
//! Files are read and written on the thread of the event loop, because no system reports when a regular file is ready.
//! The amount per call is therefore limited. Nothing is synced: a power failure can lose a file that was already
//! received.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use multiconn::codec::{Decoder, Framing};
use multiconn::{Context, Endpoint, Input, Output, Server, ServerConfig, Service, Wait};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// Default port of the server.
const PORT: u16 = 65435;

/// Maximum length of a line in bytes, including its end: a name, one or two numbers, a checksum, or an error text.
const MAX_LINE_BYTES: usize = 512;

/// Maximum length of a name in bytes. With the affixes of a partial file it stays below the usual limit of file systems
/// (255).
const MAX_NAME_BYTES: usize = 200;

/// Maximum size of a file in bytes. The file system limits the total size of all files.
const MAX_FILE_BYTES: u64 = 16 << 30;

/// Maximum number of bytes read or written at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Maximum number of bytes hashed in one call, so that a large partial file delays no other client. The buffers of the
/// connection bound all other work.
const HASHED_BYTES_PER_CALL: u64 = 256 * 1024;

/// Maximum number of connections of the server. Each holds up to two descriptors.
const MAX_CONNECTIONS: usize = 1000;

/// Socket timeout of the client. The server hashes its part of a large file before it answers.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(120);

/// File with its current position and the SHA-256 of all bytes before it.
struct HashedFile {
    file: File,
    /// Size of the file; of one that is being received, when it is complete.
    size: u64,
    at: u64,
    sum: Sha256,
}

impl HashedFile {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self { size: file.metadata()?.len(), file, at: 0, sum: Sha256::new() })
    }

    /// Opens a file to send it. A symbolic link could lead anywhere, and opening a pipe could block for ever.
    fn open(path: &Path) -> io::Result<Self> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::other("this is not a regular file"));
        }
        Self::new(File::open(path)?)
    }

    /// As many of `bytes` bytes as remain to the end of the file.
    fn remaining(&self, bytes: usize) -> usize {
        usize::try_from(self.size - self.at).map_or(bytes, |remaining| remaining.min(bytes))
    }

    fn is_at_end(&self) -> bool {
        self.at == self.size
    }

    /// Reads the next bytes, none at the end.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let room = self.remaining(chunk.len());
        let count = self.file.read(&mut chunk[..room])?;
        if count == 0 && room > 0 {
            return Err(io::Error::other("the file was truncated while it was read"));
        }
        self.pass(&chunk[..count]);
        Ok(count)
    }

    /// Writes as many of `bytes` as belong to the file; returns their number.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..self.remaining(bytes.len())];
        self.file.write_all(bytes)?;
        self.pass(bytes);
        Ok(bytes.len())
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.at += bytes.len() as u64;
    }

    /// Reads on to `end`, at most `max_bytes` bytes; returns whether it was reached.
    fn hash_to(&mut self, end: u64, max_bytes: u64) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        let stop = end.min(self.at.saturating_add(max_bytes));
        while self.at < stop {
            let room = usize::try_from(stop - self.at).map_or(CHUNK_BYTES, |bytes| bytes.min(CHUNK_BYTES));
            self.read(&mut chunk[..room])?;
        }
        Ok(self.at == end)
    }

    /// Whether the position is after the receiver's part of `bytes` bytes with this checksum, or at 0 because the part
    /// differs. Reads at most `max_bytes` bytes; otherwise it must be called again.
    fn seek_after(&mut self, bytes: u64, sum: &str, max_bytes: u64) -> io::Result<bool> {
        let is_shorter = bytes > self.size;
        if !is_shorter && !self.hash_to(bytes, max_bytes)? {
            return Ok(false);
        }
        if is_shorter || self.sum() != sum {
            self.restart()?;
        }
        Ok(true)
    }

    fn restart(&mut self) -> io::Result<()> {
        (self.at, self.sum) = (0, Sha256::new());
        self.file.rewind()
    }

    /// The checksum in hexadecimal digits.
    fn sum(&self) -> String {
        self.sum.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }
}

/// Partial file of the receiver, locked against a second transfer. It stays when this value is dropped, so that a later
/// transfer can resume.
struct Partial {
    file: HashedFile,
    path: PathBuf,
    target: PathBuf,
}

impl Partial {
    /// Opens or creates the partial file of `name` in `folder`.
    fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let (path, target) = (folder.join(format!(".{}.part", check_name(name)?)), folder.join(name));
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("the partial file is not a regular file"));
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        // The holder of the lock may have renamed the file in the meantime.
        let inode = file.metadata()?.ino();
        if !is_locked || !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.ino() == inode) {
            return Err(io::Error::other("another client is sending this file"));
        }
        Ok(Self { file: HashedFile::new(file)?, path, target })
    }

    /// The message about the part, after it was hashed.
    fn have(&self) -> String {
        format!("HAVE {} {}\n", self.file.at, self.file.sum())
    }

    /// Continues after the existing part or starts over, as the sender decides.
    fn start(&mut self, offset: u64, size: u64) -> io::Result<()> {
        if size > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("a file may have {MAX_FILE_BYTES} bytes at most")));
        }
        if offset > size || (offset != 0 && offset != self.file.at) {
            return Err(io::Error::other("there is a gap between the existing part and the offset"));
        }
        if offset == 0 {
            self.file.restart()?;
            self.file.file.set_len(0)?;
        }
        self.file.size = size;
        Ok(())
    }

    /// Renames the partial file to its final name, if the sender's checksum matches.
    fn finish(self, sum: &str) -> io::Result<()> {
        if self.file.sum() == sum {
            return fs::rename(&self.path, &self.target);
        }
        // The invalid bytes are unknown, so no part can be reused.
        fs::remove_file(&self.path)?;
        Err(io::Error::other("checksum mismatch: the received file was deleted"))
    }
}

/// Checks that the name denotes a file in the folder itself and is not hidden, as partial files are.
fn check_name(name: &str) -> io::Result<&str> {
    let is_short = (1..=MAX_NAME_BYTES).contains(&name.len());
    let is_unsafe = name.starts_with('.') || name.contains(['/', '\\']) || name.contains(char::is_control);
    if is_short && !is_unsafe { Ok(name) } else { Err(io::Error::other("this is not the name of a file here")) }
}

/// The two values after the keyword of a message.
fn two<A: FromStr, B: FromStr>(values: &str) -> Option<(A, B)> {
    let (first, second) = values.split_once(' ')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

fn unexpected(line: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected message: {}", line[..line.len().min(40)].escape_ascii()))
}

/// Service of one connection: sends or receives one file.
struct Transfer {
    folder: PathBuf,
    decoder: Decoder,
    state: State,
    error_detail: Option<String>,
}

enum State {
    /// Waits for the client's request.
    Request,
    /// Waits for the size and checksum of the client's part.
    AwaitPart(HashedFile),
    /// Compares the client's part with the file.
    Compare(HashedFile, u64, String),
    /// Sends the file and its checksum.
    Send(HashedFile),
    /// Hashes the existing part of an upload.
    HashPart(Partial),
    /// Waits for the offset at which the client starts.
    AwaitOffset(Partial),
    /// Receives the file, then its checksum.
    Receive(Partial),
    /// The transfer is complete.
    Done,
}

/// The next state, and what to wait for before it is handled; `None` handles it at once.
type Transition = io::Result<(State, Option<Wait>)>;

impl Transfer {
    fn step(
        &mut self,
        state: State,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
        context: &Context<'_>,
    ) -> Transition {
        let next_call = Some(Wait::Deadline(context.now()));
        match state {
            State::Send(file) => send(file, output),
            State::Receive(mut upload) if !upload.file.is_at_end() => {
                let count = upload.file.append(input.bytes())?;
                input.consume(count);
                let wait = (!upload.file.is_at_end()).then_some(Wait::Input);
                Ok((State::Receive(upload), wait))
            }
            State::Compare(mut file, bytes, sum) => {
                if !file.seek_after(bytes, &sum, HASHED_BYTES_PER_CALL)? {
                    return Ok((State::Compare(file, bytes, sum), next_call));
                }
                output.write(format!("FROM {} {}\n", file.at, file.size).as_bytes());
                Ok((State::Send(file), None))
            }
            State::HashPart(mut upload) => {
                if !upload.file.hash_to(upload.file.size, HASHED_BYTES_PER_CALL)? {
                    return Ok((State::HashPart(upload), next_call));
                }
                output.write(upload.have().as_bytes());
                Ok((State::AwaitOffset(upload), None))
            }
            State::Done => Ok((State::Done, Some(Wait::Close))),
            awaiting => {
                let line = self.decoder.decode(input.bytes(), input.has_ended()).map_err(io::Error::other)?;
                let Some(line) = line else { return Ok((awaiting, Some(Wait::Input))) };
                let next = self.answer(awaiting, &input.bytes()[line.payload], output)?;
                input.consume(line.size);
                Ok((next, None))
            }
        }
    }

    /// Handles a message of the client; returns the next state.
    fn answer(&self, state: State, line: &[u8], output: &mut Output<'_>) -> io::Result<State> {
        let unexpected = || unexpected(line);
        let text = str::from_utf8(line).map_err(|_| unexpected())?;
        let (keyword, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match (state, keyword) {
            (State::Request, "GET") => State::AwaitPart(HashedFile::open(&self.folder.join(check_name(rest)?))?),
            (State::Request, "PUT") => State::HashPart(Partial::open(&self.folder, rest)?),
            (State::AwaitPart(file), "HAVE") => {
                let (bytes, sum) = two(rest).ok_or_else(unexpected)?;
                State::Compare(file, bytes, sum)
            }
            (State::AwaitOffset(mut upload), "FROM") => {
                let (offset, size) = two(rest).ok_or_else(unexpected)?;
                upload.start(offset, size)?;
                State::Receive(upload)
            }
            (State::Receive(upload), "SUM") => {
                upload.finish(rest)?;
                output.write(b"DONE\n");
                State::Done
            }
            _ => return Err(unexpected()),
        })
    }
}

/// Sends as much of the file as there is room for, then the checksum.
fn send(mut file: HashedFile, output: &mut Output<'_>) -> Transition {
    let mut chunk = [0; CHUNK_BYTES];
    while !file.is_at_end() {
        let room = output.room().min(CHUNK_BYTES);
        if room == 0 {
            return Ok((State::Send(file), Some(Wait::Writable)));
        }
        let count = file.read(&mut chunk[..room])?;
        output.write(&chunk[..count]);
    }
    let sum_written = output.write_whole(format!("SUM {}\n", file.sum()).as_bytes());
    Ok(if sum_written { (State::Done, None) } else { (State::Send(file), Some(Wait::Writable)) })
}

impl Service for Transfer {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        loop {
            let state = std::mem::replace(&mut self.state, State::Done);
            // Within a file an error message would be taken as content; the early end must suffice.
            let may_send_error = !matches!(state, State::Send(_));
            match self.step(state, input, output, context) {
                Ok((next, wait)) => {
                    self.state = next;
                    if let Some(wait) = wait {
                        return wait;
                    }
                }
                Err(error) => {
                    if may_send_error {
                        output.write(format!("ERROR {error}\n").as_bytes());
                    }
                    self.error_detail = Some(error.to_string());
                    return Wait::Abort;
                }
            }
        }
    }

    fn error_detail(&self) -> Option<String> {
        self.error_detail.clone()
    }
}

/// Serves the files of `folder` until stopped; returns a summary.
fn serve(folder: &Path, port: u16) -> io::Result<String> {
    if !folder.is_dir() {
        return Err(io::Error::other(format!("{} is not a folder", folder.display())));
    }
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    config.max_connections = Some(MAX_CONNECTIONS);
    let server = Server::bind(config, |_| Transfer {
        folder: folder.to_owned(),
        decoder: Decoder::new(Framing::LINES, MAX_LINE_BYTES),
        state: State::Request,
        error_detail: None,
    });
    let server = server.map_err(io::Error::other)?;
    println!("Listening on {}", server.addresses()[0]);
    server.run().map(|summary| summary.to_string()).map_err(io::Error::other)
}

/// The client's connection, on a blocking socket.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
        stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
        Ok(Self(BufReader::with_capacity(CHUNK_BYTES, stream)))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Receives the message `keyword`; returns what follows the keyword.
    fn receive(&mut self, keyword: &str) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.0).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended in the middle of a line"));
        }
        let text = String::from_utf8_lossy(&line);
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("ERROR", error) => Err(io::Error::other(format!("the server says: {}", error.escape_debug()))),
            (received, rest) if received == keyword => Ok(rest.to_owned()),
            _ => Err(unexpected(&line)),
        }
    }

    fn receive_two<A: FromStr, B: FromStr>(&mut self, keyword: &str) -> io::Result<(A, B)> {
        let rest = self.receive(keyword)?;
        two(&rest).ok_or_else(|| unexpected(rest.as_bytes()))
    }

    fn send_file(&mut self, file: &mut HashedFile) -> io::Result<()> {
        self.send(format!("FROM {} {}\n", file.at, file.size).as_bytes())?;
        let mut chunk = [0; CHUNK_BYTES];
        while !file.is_at_end() {
            let count = file.read(&mut chunk)?;
            self.send(&chunk[..count])?;
        }
        self.send(format!("SUM {}\n", file.sum()).as_bytes())
    }
}

/// Receives the file `name` into `folder`; returns a summary.
fn get(address: &str, name: &str, folder: &Path) -> io::Result<String> {
    let mut partial = Partial::open(folder, name)?;
    let mut server = Connection::open(address)?;
    partial.file.hash_to(partial.file.size, u64::MAX)?;
    server.send(format!("GET {name}\n{}", partial.have()).as_bytes())?;
    let (offset, size) = server.receive_two("FROM")?;
    partial.start(offset, size)?;
    while !partial.file.is_at_end() {
        let chunk = server.0.fill_buf()?;
        if chunk.is_empty() {
            let missing = size - partial.file.at;
            let text = format!("the server ended {missing} bytes early; the received part is kept");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let count = partial.file.append(chunk)?;
        server.0.consume(count);
    }
    let sum = server.receive("SUM")?;
    partial.finish(&sum)?;
    Ok(format!("{name}: {size} bytes received, {offset} of them before"))
}

/// Sends the file at `path`; returns a summary.
fn put(address: &str, path: &Path) -> io::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| io::Error::other("a file has a name"))?;
    let mut file = HashedFile::open(path)?;
    let mut server = Connection::open(address)?;
    server.send(format!("PUT {}\n", check_name(name)?).as_bytes())?;
    let (bytes, sum): (_, String) = server.receive_two("HAVE")?;
    file.seek_after(bytes, &sum, u64::MAX)?;
    let (size, offset) = (file.size, file.at);
    // A server that rejects the file sends an error and stops reading. Its error matters more than the failed write.
    let sent = server.send_file(&mut file);
    server.receive("DONE").and(sent)?;
    Ok(format!("{name}: {size} bytes sent, {offset} of them before"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["serve", folder] => serve(Path::new(folder), PORT),
        ["serve", folder, port] => match port.parse() {
            Ok(port) => serve(Path::new(folder), port),
            Err(_) => Err(io::Error::other("a port is a number from 0 to 65535")),
        },
        ["get", address, name] => get(address, name, Path::new(".")),
        ["get", address, name, folder] => get(address, name, Path::new(folder)),
        ["put", address, file] => put(address, Path::new(file)),
        _ => Err(io::Error::other("give one of: serve DIR [PORT], get HOST:PORT NAME [DIR], put HOST:PORT FILE")),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
