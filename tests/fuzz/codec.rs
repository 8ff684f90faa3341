//! Framings: frames do not depend on the split of a stream, and an encoded payload is decoded.

use super::{Choices, Memory, Target};
use crate::codec::{Decoder, Delimiter, Frame, FrameError, Framing, LengthFormat, LengthPrefix};

/// Texts of errors, and the lists of frames that are compared.
const MEMORY: Memory = Memory { fixed: 64 * 1024, per_byte: 256 };

const FORMATS: [LengthFormat; 10] = [
    LengthFormat::BigEndian(1),
    LengthFormat::BigEndian(2),
    LengthFormat::BigEndian(4),
    LengthFormat::BigEndian(8),
    LengthFormat::LittleEndian(2),
    LengthFormat::LittleEndian(4),
    LengthFormat::LittleEndian(8),
    LengthFormat::Digits(1),
    LengthFormat::Digits(4),
    LengthFormat::Digits(20),
];

#[test]
fn codec_fixed() {
    Target {
        name: "codec_fixed",
        memory: MEMORY,
        check: |input| {
            let mut choices = Choices(input);
            let size = 1 + choices.below(64);
            check(Framing::Fixed(size), size + choices.below(8), choices.0);
        },
    }
    .fuzz();
}

#[test]
fn codec_delimited() {
    Target {
        name: "codec_delimited",
        memory: MEMORY,
        check: |input| {
            let mut choices = Choices(input);
            let max_bytes = 1 + choices.below(256);
            let size = choices.below(9).min(choices.0.len());
            let (delimiter, stream) = choices.0.split_at(size);
            let Some(delimiter) = Delimiter::new(delimiter) else { return };
            check(Framing::Delimited(delimiter), max_bytes, stream);
        },
    }
    .fuzz();
}

#[test]
fn codec_length_prefixed() {
    Target {
        name: "codec_length_prefixed",
        memory: MEMORY,
        check: |input| {
            let mut choices = Choices(input);
            let format = FORMATS[choices.below(FORMATS.len())];
            let prefix = LengthPrefix { format, has_kind: choices.below(2) == 1 };
            let max_bytes = 1 + choices.word();
            check(Framing::LengthPrefixed(prefix), max_bytes, choices.0);
        },
    }
    .fuzz();
}

#[test]
fn codec_until_end() {
    Target {
        name: "codec_until_end",
        memory: MEMORY,
        check: |input| {
            let mut choices = Choices(input);
            let max_bytes = choices.word();
            check(Framing::UntilEnd, max_bytes, choices.0);
        },
    }
    .fuzz();
}

/// The text form of a framing is read back as the same framing.
#[test]
fn codec_name() {
    Target {
        name: "codec_name",
        memory: MEMORY,
        check: |input| {
            let Ok(text) = str::from_utf8(input) else { return };
            let Ok(framing) = text.parse::<Framing>() else { return };
            assert_eq!(framing.to_string().parse(), Ok(framing), "{text:?} is {framing}");
        },
    }
    .fuzz();
}

/// Frames of a stream, as (payload, type byte), and the error at its end.
type Decoded = (Vec<(Vec<u8>, Option<u8>)>, Option<FrameError>);

fn check(framing: Framing, max_bytes: usize, stream: &[u8]) {
    let whole = decode(framing, max_bytes, stream, &[stream.len()]);
    if stream.len() <= 256 {
        for split in 0..stream.len() {
            assert_eq!(decode(framing, max_bytes, stream, &[split, stream.len()]), whole, "split at {split}");
        }
    }
    let bytewise: Vec<usize> = (1..=stream.len()).collect();
    assert_eq!(decode(framing, max_bytes, stream, &bytewise), whole, "byte by byte");
    check_encoding(framing, stream);
}

/// Decodes `stream`, which arrives up to each of the `ends`. A connection consumes each frame at once.
fn decode(framing: Framing, max_bytes: usize, stream: &[u8], ends: &[usize]) -> Decoded {
    let mut decoder = Decoder::new(framing, max_bytes);
    let (mut frames, mut start) = (Vec::new(), 0);
    let mut parts = ends.to_vec();
    // The end of the input comes after the last byte, with an event of its own.
    parts.push(stream.len());
    for (index, &end) in parts.iter().enumerate() {
        let has_ended = index + 1 == parts.len();
        loop {
            let bytes = &stream[start..end];
            match decoder.decode(bytes, has_ended) {
                Ok(Some(Frame { payload, size, kind })) => {
                    assert!(size > 0 && size <= bytes.len() && payload.end <= size, "{payload:?} of {size}");
                    assert!(size <= max_bytes, "a frame of {size} bytes");
                    let payload = bytes[payload].to_vec();
                    check_frame(framing, &payload, kind, &bytes[..size]);
                    frames.push((payload, kind));
                    start += size;
                }
                Ok(None) => break,
                // The size in the error is that of the part that has arrived.
                Err(FrameError::TooLarge { max, .. }) => {
                    return (frames, Some(FrameError::TooLarge { size: 0, max }));
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// The payload of a frame is encoded as the same bytes.
fn check_frame(framing: Framing, payload: &[u8], kind: Option<u8>, bytes: &[u8]) {
    let envelope = framing.envelope(payload, kind.unwrap_or(0)).expect("it was decoded");
    assert_eq!([envelope.before(), payload, envelope.after()].concat(), bytes);
}

/// Where the framing can carry `payload`, it is decoded again.
fn check_encoding(framing: Framing, payload: &[u8]) {
    let Ok(envelope) = framing.envelope(payload, 7) else { return };
    let bytes = [envelope.before(), payload, envelope.after()].concat();
    let (frames, error) = decode(framing, bytes.len(), &bytes, &[bytes.len()]);
    let expected = if bytes.is_empty() { None } else { Some(payload) };
    assert_eq!((frames.first().map(|(payload, _)| &payload[..]), frames.len() <= 1), (expected, true), "{error:?}");
}
