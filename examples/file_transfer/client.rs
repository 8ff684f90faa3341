//! Client: transfers one file over a blocking socket.

use super::files::{CHUNK_BYTES, Partial, Source, check_name};
use super::protocol::{MAX_LINE_BYTES, Message};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Socket timeout. The server hashes its part of a large file before it answers.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(120);

/// Receives the file `name` into `folder`; returns a summary.
pub(crate) fn get(address: &str, name: &str, folder: &Path) -> io::Result<String> {
    let mut partial = Partial::open(folder, name)?;
    let mut server = Server::connect(address)?;
    let Some((bytes, sum)) = partial.hash_existing(usize::MAX)? else { return Err(unexpected()) };
    server.write_message(&Message::Get(name.to_owned()))?;
    server.write_message(&Message::Have { bytes, sum })?;
    let Message::From { offset, size } = server.read_message()? else { return Err(unexpected()) };
    partial.start(offset, size)?;
    while partial.remaining() > 0 {
        let chunk = server.stream.fill_buf()?;
        if chunk.is_empty() {
            let text = format!("the server ended {} bytes early; the received part is kept", partial.remaining());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let count = partial.append(chunk)?;
        server.stream.consume(count);
    }
    let Message::Sum(sum) = server.read_message()? else { return Err(unexpected()) };
    partial.finish(&sum)?;
    Ok(format!("{name}: {size} bytes received, {offset} of them before"))
}

/// Sends the file at `path`; returns a summary.
pub(crate) fn put(address: &str, path: &Path) -> io::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| io::Error::other("a file has a name"))?;
    let name = check_name(name)?;
    let mut source = Source::open(path)?;
    let mut server = Server::connect(address)?;
    server.write_message(&Message::Put(name.to_owned()))?;
    let Message::Have { bytes, sum } = server.read_message()? else { return Err(unexpected()) };
    let Some(offset) = source.find_offset(bytes, &sum, usize::MAX)? else { return Err(unexpected()) };
    let size = source.size();
    // A server that rejects the file sends an error and stops reading. Its error matters more than the failed write.
    let sent = server.send(offset, &mut source);
    let answer = server.read_message();
    match (sent, answer) {
        (Ok(()), Ok(Message::Done)) => Ok(format!("{name}: {size} bytes sent, {offset} of them before")),
        (Ok(()), Ok(_)) => Err(unexpected()),
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

/// Connection to the server.
struct Server {
    stream: BufReader<TcpStream>,
}

impl Server {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
        stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
        Ok(Self { stream: BufReader::with_capacity(CHUNK_BYTES, stream) })
    }

    fn write_message(&mut self, message: &Message) -> io::Result<()> {
        self.stream.get_mut().write_all(message.to_string().as_bytes())
    }

    fn read_message(&mut self) -> io::Result<Message> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended in the middle of a line"));
        }
        match Message::parse(&line)? {
            Message::Error(text) => Err(io::Error::other(format!("the server says: {}", text.escape_debug()))),
            message => Ok(message),
        }
    }

    fn send(&mut self, offset: u64, source: &mut Source) -> io::Result<()> {
        self.write_message(&Message::From { offset, size: source.size() })?;
        let mut chunk = [0; CHUNK_BYTES];
        while source.remaining() > 0 {
            let count = source.read(&mut chunk)?;
            self.stream.get_mut().write_all(&chunk[..count])?;
        }
        self.write_message(&Message::Sum(source.sum()))
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the server violated the protocol")
}
