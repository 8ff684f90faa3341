//! Protocol of the file transfer: its lines as values.

use std::fmt;
use std::io;

/// Maximum length of a line in bytes, including its end: a name, one or two numbers, a checksum, or an error text.
pub(crate) const MAX_LINE_BYTES: usize = 512;

/// One line of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// The client requests the file of this name.
    Get(String),
    /// The client sends the file of this name.
    Put(String),
    /// The receiver has this many bytes already, with this checksum.
    Have { bytes: u64, sum: String },
    /// The sender starts at this offset of a file of this size. The bytes follow.
    From { offset: u64, size: u64 },
    /// Checksum of the whole file.
    Sum(String),
    /// The file was received.
    Done,
    /// The transfer failed, with a description.
    Error(String),
}

impl Message {
    /// Parses a line without its line end.
    pub(crate) fn parse(line: &[u8]) -> io::Result<Self> {
        let text = str::from_utf8(line).ok();
        text.and_then(parse).ok_or_else(|| io::Error::other(format!("unknown message: {}", escaped_start(line))))
    }
}

fn parse(text: &str) -> Option<Message> {
    let (keyword, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(match keyword {
        "GET" => Message::Get(rest.to_owned()),
        "PUT" => Message::Put(rest.to_owned()),
        "HAVE" => {
            let (bytes, sum) = rest.split_once(' ')?;
            Message::Have { bytes: bytes.parse().ok()?, sum: sum.to_owned() }
        }
        "FROM" => {
            let (offset, size) = rest.split_once(' ')?;
            Message::From { offset: offset.parse().ok()?, size: size.parse().ok()? }
        }
        "SUM" => Message::Sum(rest.to_owned()),
        "DONE" => Message::Done,
        "ERROR" => Message::Error(rest.to_owned()),
        _ => return None,
    })
}

/// The start of a line, escaped for terminals and logs.
fn escaped_start(line: &[u8]) -> String {
    line[..line.len().min(40)].escape_ascii().to_string()
}

impl fmt::Display for Message {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(name) => writeln!(out, "GET {name}"),
            Self::Put(name) => writeln!(out, "PUT {name}"),
            Self::Have { bytes, sum } => writeln!(out, "HAVE {bytes} {sum}"),
            Self::From { offset, size } => writeln!(out, "FROM {offset} {size}"),
            Self::Sum(sum) => writeln!(out, "SUM {sum}"),
            Self::Done => writeln!(out, "DONE"),
            Self::Error(text) => writeln!(out, "ERROR {text}"),
        }
    }
}
