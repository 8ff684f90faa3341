//! The side that asks: one file at a time over a blocking socket, which is all that it needs.

use super::files::{CHUNK_BYTES, Partial, Source, plain};
use super::words::{LINE_BYTES, Word};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// How long the server may be silent. It reads what it has of a large file before it says where to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// Receives the file `name` into `folder`, and says how that went.
pub(crate) fn get(address: &str, name: &str, folder: &Path) -> io::Result<String> {
    let mut partial = Partial::open(folder, name)?;
    let mut server = Server::connect(address)?;
    let Some((bytes, sum)) = partial.recall(usize::MAX)? else { return Err(unexpected()) };
    server.say(&Word::Get(name.to_owned()))?;
    server.say(&Word::Have { bytes, sum })?;
    let Word::From { offset, size } = server.hear()? else { return Err(unexpected()) };
    partial.start(offset, size)?;
    while partial.left() > 0 {
        let chunk = server.stream.fill_buf()?;
        if chunk.is_empty() {
            let why = format!("the server ended {} bytes early; what has come is kept", partial.left());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        let count = partial.append(chunk)?;
        server.stream.consume(count);
    }
    let Word::Sum(sum) = server.hear()? else { return Err(unexpected()) };
    partial.finish(&sum)?;
    Ok(format!("{name}: {size} bytes received, {offset} of them before"))
}

/// Sends the file at `path`, and says how that went.
pub(crate) fn put(address: &str, path: &Path) -> io::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| io::Error::other("a file has a name"))?;
    let name = plain(name)?;
    let mut source = Source::open(path)?;
    let mut server = Server::connect(address)?;
    server.say(&Word::Put(name.to_owned()))?;
    let Word::Have { bytes, sum } = server.hear()? else { return Err(unexpected()) };
    let Some(offset) = source.find_offset(bytes, &sum, usize::MAX)? else { return Err(unexpected()) };
    let size = source.size();
    // A server that has seen enough says why, and takes no more: then what it says matters, and not that it took no more.
    let sent = server.send(offset, &mut source);
    let answer = server.hear();
    match (sent, answer) {
        (Ok(()), Ok(Word::Done)) => Ok(format!("{name}: {size} bytes sent, {offset} of them before")),
        (Ok(()), Ok(_)) => Err(unexpected()),
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

/// The other side.
struct Server {
    stream: BufReader<TcpStream>,
}

impl Server {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(CHUNK_BYTES, stream) })
    }

    fn say(&mut self, word: &Word) -> io::Result<()> {
        self.stream.get_mut().write_all(word.to_string().as_bytes())
    }

    fn hear(&mut self) -> io::Result<Word> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended in the middle of a line"));
        }
        match Word::parse(&line)? {
            Word::Error(why) => Err(io::Error::other(format!("the server says: {}", why.escape_debug()))),
            word => Ok(word),
        }
    }

    fn send(&mut self, offset: u64, source: &mut Source) -> io::Result<()> {
        self.say(&Word::From { offset, size: source.size() })?;
        let mut chunk = [0; CHUNK_BYTES];
        while source.left() > 0 {
            let count = source.read(&mut chunk)?;
            self.stream.get_mut().write_all(&chunk[..count])?;
        }
        self.say(&Word::Sum(source.sum()))
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the server does not keep to the protocol")
}
