//! The lines that the two sides say to each other, as values.

use std::fmt;
use std::io;

/// The longest line, in bytes, its end included: a name, a number or two, a sum, or a sentence about what went wrong.
pub(crate) const LINE_BYTES: usize = 512;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// The client wants to receive the file of this name.
    Get(String),
    /// The client wants to send the file of this name.
    Put(String),
    /// The receiver has so many bytes already, with this sum.
    Have { bytes: u64, sum: String },
    /// The sender begins here; the whole file has this size. The bytes follow.
    From { offset: u64, size: u64 },
    /// The sum of the whole file.
    Sum(String),
    /// The file has arrived.
    Done,
    /// It cannot be done, and why.
    Error(String),
}

impl Word {
    /// The word that a line without its end stands for.
    pub(crate) fn parse(line: &[u8]) -> io::Result<Self> {
        let text = str::from_utf8(line).ok();
        text.and_then(parse).ok_or_else(|| io::Error::other(format!("not a word of this protocol: {}", shown(line))))
    }
}

fn parse(text: &str) -> Option<Word> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(match word {
        "GET" => Word::Get(rest.to_owned()),
        "PUT" => Word::Put(rest.to_owned()),
        "HAVE" => {
            let (bytes, sum) = rest.split_once(' ')?;
            Word::Have { bytes: bytes.parse().ok()?, sum: sum.to_owned() }
        }
        "FROM" => {
            let (offset, size) = rest.split_once(' ')?;
            Word::From { offset: offset.parse().ok()?, size: size.parse().ok()? }
        }
        "SUM" => Word::Sum(rest.to_owned()),
        "DONE" => Word::Done,
        "ERROR" => Word::Error(rest.to_owned()),
        _ => return None,
    })
}

/// The first few bytes of a line, in a form that any terminal and any log can take.
fn shown(line: &[u8]) -> String {
    line[..line.len().min(40)].escape_ascii().to_string()
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(name) => writeln!(out, "GET {name}"),
            Self::Put(name) => writeln!(out, "PUT {name}"),
            Self::Have { bytes, sum } => writeln!(out, "HAVE {bytes} {sum}"),
            Self::From { offset, size } => writeln!(out, "FROM {offset} {size}"),
            Self::Sum(sum) => writeln!(out, "SUM {sum}"),
            Self::Done => writeln!(out, "DONE"),
            Self::Error(why) => writeln!(out, "ERROR {why}"),
        }
    }
}
