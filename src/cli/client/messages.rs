//! The messages that are not typed, but made or read from a file.

use crate::cli::values::MESSAGE_BYTES;
use crate::codec::{Decoder, Framing};
use crate::error::{Error, in_words};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The messages in a file: one, or, where a delimiter tells messages apart, each that it ends.
///
/// # Errors
///
/// [`Error::Usage`] for a file that cannot be read, or is larger than a message may be.
pub(super) fn read_file(path: &Path, framing: Option<Framing>) -> Result<Vec<Vec<u8>>, Error> {
    let refuse = |why: &str| {
        let shown = path.display();
        Error::Usage(format!("cannot take the messages from {shown:?}: {why}; give a file such as request.txt"))
    };
    let io = |error: std::io::Error| refuse(&in_words(&error));
    let file = File::open(path).map_err(io)?;
    // /dev/zero never ends.
    let kind = file.metadata().map_err(io)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(refuse("it is a device"));
    }
    let mut bytes = Vec::new();
    let most = MESSAGE_BYTES as u64;
    if file.take(most + 1).read_to_end(&mut bytes).map_err(io)? as u64 > most {
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
    // The last line may lack its end.
    if !rest.is_empty() {
        messages.push(rest.to_vec());
    }
    Ok(messages)
}

/// The same as [`pattern`] in letters from a to p, for messages that a delimiter ends.
pub(super) fn datagrams(size: usize) -> Vec<u8> {
    let mut bytes = pattern(size.div_ceil(2)).into_iter().flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]);
    bytes.by_ref().take(size).collect()
}

/// Bytes in which a lost, repeated or moved block shows: the numbers from 0 on, mixed by SplitMix64 (Steele, Lea and
/// Flood, OOPSLA 2014), which gives each a word of its own.
pub(super) fn pattern(size: usize) -> Vec<u8> {
    let mix = |number: u64| {
        let word = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(size + 8);
    (0..size.div_ceil(8) as u64).for_each(|number| bytes.extend_from_slice(&mix(number)));
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::pattern;
    use std::collections::HashSet;

    #[test]
    fn no_block_of_the_pattern_stands_elsewhere() {
        let bytes = pattern(1 << 20);
        let blocks: HashSet<&[u8]> = bytes.windows(8).collect();
        assert_eq!(blocks.len(), bytes.len() - 7);
    }
}
