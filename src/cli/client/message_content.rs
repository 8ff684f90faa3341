//! Message contents that are generated or read from a file.

use crate::cli::values::MESSAGE_BYTES;
use crate::codec::{Decoder, Framing};
use crate::error::{Error, in_words};
use crate::random::random;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Reads the messages in a file: one message, or with a delimiter one message per delimited part.
///
/// # Errors
///
/// [`Error::Usage`] for a file that cannot be read, is empty, or is larger than a message may be.
pub(super) fn read_file(path: &Path, framing: Option<Framing>) -> Result<Vec<Vec<u8>>, Error> {
    let refuse = |why: &str| {
        let shown = path.display();
        Error::Usage(format!("cannot take the messages from {shown:?}: {why}; give a file such as request.txt"))
    };
    let io = |error: std::io::Error| refuse(&in_words(&error));
    let file = File::open(path).map_err(io)?;
    // /dev/zero has no end.
    let kind = file.metadata().map_err(io)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(refuse("it is a device"));
    }
    let mut bytes = Vec::new();
    let max_bytes = MESSAGE_BYTES as u64;
    if file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(io)? as u64 > max_bytes {
        return Err(refuse("it is larger than 1 GiB"));
    }
    if bytes.is_empty() {
        return Err(refuse("it is empty"));
    }
    let Some(framing @ Framing::Delimited(_)) = framing else { return Ok(vec![bytes]) };
    let (mut messages, mut rest) = (Vec::new(), bytes.as_slice());
    let mut decoder = Decoder::new(framing, usize::MAX);
    while let Ok(Some(frame)) = decoder.decode(rest, false) {
        messages.push(rest[frame.payload].to_vec());
        rest = &rest[frame.size..];
    }
    // The last line may lack its delimiter.
    if !rest.is_empty() {
        messages.push(rest.to_vec());
    }
    Ok(messages)
}

/// A [`pattern`] of the letters a to p, for messages that end with a delimiter.
pub(super) fn letter_pattern(size: usize) -> Vec<u8> {
    let mut bytes = pattern(size.div_ceil(2)).into_iter().flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]);
    bytes.by_ref().take(size).collect()
}

/// Bytes in which lost, repeated or moved blocks are detectable: every 8-byte word is different.
pub(super) fn pattern(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    (0..size.div_ceil(8) as u64).for_each(|number| bytes.extend_from_slice(&random(0, number).to_le_bytes()));
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::pattern;
    use std::collections::HashSet;

    #[test]
    fn pattern_has_no_repeated_block() {
        let bytes = pattern(1 << 20);
        let blocks: HashSet<&[u8]> = bytes.windows(8).collect();
        assert_eq!(blocks.len(), bytes.len() - 7);
    }
}
