//! Reading result files, pipes and stdin: one result, or a stream of any number of results among the lines of a log.

use crate::error::in_words;
use crate::escape;
use crate::results::{MAX_FILE_BYTES, ResultsError, RunResults, recognize};
use crate::units::format_size;
use memchr::memmem;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Start of a result in one line, as a client writes it to stdout. Something else may stand before it: log collectors
/// prefix lines with a time or the name of a pod.
const RESULT_START: &[u8] = b"{\"format\":\"multiconn-run/";

/// Byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether the path means stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Opens a file, or stdin.
pub(super) fn open(path: &Path) -> std::io::Result<File> {
    if is_stdin(path) { std::io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(path) }
}

/// Name of a file in texts.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { escape::path(path).to_string() }
}

/// Reads a file or a pipe that holds one result. The error names the file.
pub(super) fn read(path: &Path) -> Result<RunResults, String> {
    let unreadable = |reason: String| format!("cannot read {}: {reason}", name(path));
    let bytes = read_bytes(path).map_err(unreadable)?;
    parse(bytes).map_err(|error| unreadable(error.to_string()))
}

/// Reads a file or a pipe of at most [`MAX_FILE_BYTES`].
fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let io = |error: std::io::Error| in_words(&error);
    let file = open_regular(path)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(too_large()) } else { Ok(bytes) }
}

/// Opens a file, a pipe, or stdin, which may also be a socket or a terminal.
fn open_regular(path: &Path) -> Result<File, String> {
    let io = |error: std::io::Error| in_words(&error);
    let file = open(path).map_err(io)?;
    let kind = file.metadata().map_err(io)?.file_type();
    if !is_stdin(path) && !kind.is_file() && !kind.is_fifo() {
        return Err("it is neither a file nor a pipe; give a file that multiconn-client --json wrote".to_owned());
    }
    Ok(file)
}

fn too_large() -> String {
    format!("it is larger than the {} that a result may have", format_size(MAX_FILE_BYTES))
}

fn parse(bytes: Vec<u8>) -> Result<RunResults, ResultsError> {
    let text = String::from_utf8(bytes)
        .map_err(|error| ResultsError::OtherKind(recognize(error.as_bytes()).unwrap_or("a binary file, not text")))?;
    RunResults::from_json(&text)
}

/// Results in a file, one after another: each in one line, or spread over several as in a file of its own. Memory is
/// needed for one of them.
pub(super) struct ResultStream {
    name: String,
    input: BufReader<File>,
    /// Lines read so far, and the number of the line in which the last result began.
    line: usize,
    begin: usize,
    /// Skips lines that begin no result. Otherwise they are an error.
    skips_other_lines: bool,
    is_empty: bool,
}

impl ResultStream {
    /// Opens a file, a pipe or stdin. The error names it.
    pub(super) fn open(path: &Path, skips_other_lines: bool) -> Result<Self, String> {
        let name = name(path);
        let file = open_regular(path).map_err(|reason| format!("cannot read {name}: {reason}"))?;
        Ok(Self { name, input: BufReader::new(file), line: 0, begin: 0, skips_other_lines, is_empty: true })
    }

    /// The next result, and its name: that of the file, and where in the file it begins unless that is the first line.
    /// None at the end of the file.
    ///
    /// # Errors
    ///
    /// Something else than a result, or no result at all. The text names the place.
    pub(super) fn next(&mut self) -> Result<Option<(String, RunResults)>, String> {
        let result = match self.next_bytes() {
            Ok(Some(bytes)) => parse(bytes).map_err(|error| error.to_string()),
            Ok(None) if !self.is_empty => return Ok(None),
            Ok(None) if self.skips_other_lines => Err("it holds no result of a run".to_owned()),
            Ok(None) => parse(Vec::new()).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        self.is_empty = false;
        let name = if self.begin > 1 { format!("{}, line {}", self.name, self.begin) } else { self.name.clone() };
        match result {
            Ok(results) => Ok(Some((name, results))),
            Err(reason) => Err(format!("cannot read {name}: {reason}")),
        }
    }

    /// The bytes of the next result, or of what stands in its place.
    fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if !self.read_line(&mut bytes)? {
                return Ok(None);
            }
            let line = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes).trim_ascii();
            let may_span_lines = if self.skips_other_lines { line == b"{" } else { line.starts_with(b"{") };
            if !line.is_empty() {
                self.begin = self.line;
            }
            if let Some(offset) = memmem::find(&bytes, RESULT_START) {
                return Ok(Some(bytes.split_off(offset)));
            } else if may_span_lines {
                return self.read_object(bytes).map(Some);
            } else if !self.skips_other_lines && !line.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Reads further lines up to the end of the object that begins in `bytes`, or of the file.
    fn read_object(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let (mut object, mut scanned) = (JsonObject::default(), 0);
        while !object.ends_in(&bytes[scanned..]) {
            scanned = bytes.len();
            if !self.read_line(&mut bytes)? {
                break;
            }
        }
        Ok(bytes)
    }

    /// Appends a line. Returns false at the end of the file.
    fn read_line(&mut self, bytes: &mut Vec<u8>) -> Result<bool, String> {
        let room = (MAX_FILE_BYTES + 1).saturating_sub(bytes.len() as u64);
        let read = self.input.by_ref().take(room).read_until(b'\n', bytes).map_err(|error| in_words(&error))?;
        self.line += 1;
        if bytes.len() as u64 > MAX_FILE_BYTES { Err(too_large()) } else { Ok(read > 0) }
    }
}

/// Scanner for the end of a JSON object.
#[derive(Debug, Default)]
struct JsonObject {
    depth: u64,
    is_in_string: bool,
    is_escaped: bool,
}

impl JsonObject {
    /// Whether the object ends in these bytes, which continue those before.
    fn ends_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' => self.is_escaped = self.is_in_string,
                b'"' => self.is_in_string = !self.is_in_string,
                b'{' if !self.is_in_string => self.depth += 1,
                b'}' if !self.is_in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }
}
