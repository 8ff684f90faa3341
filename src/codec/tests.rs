//! Tests of the codecs: any split of a stream yields the same frames, and errors are described.

use super::delimited::MAX_DELIMITER_BYTES;
use super::length_prefixed::MAX_DIGITS;
use super::{Decoder, Delimiter, FrameError, Framing, FramingError, LengthFormat, LengthPrefix};
use proptest::prelude::*;

const KIND: u8 = 7;

/// Payload and type byte of a frame.
type Decoded = (Vec<u8>, Option<u8>);

/// Decodes `stream`, which arrives in portions of at most the given sizes.
fn decode_in_parts(framing: Framing, stream: &[u8], sizes: &[usize]) -> Result<Vec<Decoded>, FrameError> {
    let mut decoder = Decoder::new(framing, 1 << 20);
    let (mut buffered, mut remaining, mut frames) = (Vec::new(), stream, Vec::new());
    let mut sizes = sizes.iter().copied().cycle();
    loop {
        let (portion, after) = remaining.split_at(sizes.next().unwrap_or(1).min(remaining.len()));
        buffered.extend_from_slice(portion);
        remaining = after;
        let has_ended = remaining.is_empty();
        while let Some(frame) = decoder.decode(&buffered, has_ended)? {
            frames.push((buffered[frame.payload].to_vec(), frame.kind));
            buffered.drain(..frame.size);
        }
        if has_ended {
            assert!(buffered.is_empty(), "bytes were left over: {buffered:?}");
            return Ok(frames);
        }
    }
}

fn encode(framing: Framing, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for payload in payloads {
        let envelope = framing.envelope(payload, KIND).expect("the framing carries the payload");
        assert_eq!(envelope.size(), envelope.before().len() + envelope.after().len());
        stream.extend_from_slice(envelope.before());
        stream.extend_from_slice(payload);
        stream.extend_from_slice(envelope.after());
    }
    stream
}

fn framing(text: &str) -> Framing {
    text.parse().expect("a valid framing")
}

fn framings() -> impl Strategy<Value = Framing> {
    let names = [
        "lines",
        "crlf",
        "delimiter:ab",
        "delimiter:aab",
        "delimiter:abab",
        "fixed:3",
        "digits:5",
        "digits:20",
        "u8",
        "u16be",
        "u16le",
        "u32be",
        "u32le",
        "u64be",
        "u64le",
        "type+u32be",
        "type+digits:5",
        "type+u8",
    ];
    prop::sample::select(names.map(framing).to_vec())
}

/// Strategy for every valid framing.
fn any_framing() -> impl Strategy<Value = Framing> {
    let sizes = prop::sample::select(vec![1_u8, 2, 4, 8]);
    let format = prop_oneof![
        (1..=MAX_DIGITS).prop_map(LengthFormat::Digits),
        sizes.clone().prop_map(LengthFormat::BigEndian),
        sizes.prop_map(LengthFormat::LittleEndian),
    ];
    let special = prop::sample::select(b"'\"\\\0\r\n\t: nrtx\x7f\xff\xc3".to_vec());
    let delimiter = prop::collection::vec(prop_oneof![special, any::<u8>()], 1..=MAX_DELIMITER_BYTES);
    prop_oneof![
        (1_usize..).prop_map(Framing::Fixed),
        delimiter.prop_map(|bytes| Framing::Delimited(Delimiter::new(&bytes).expect("one to eight bytes"))),
        (format, any::<bool>())
            .prop_map(|(format, has_kind)| Framing::LengthPrefixed(LengthPrefix { format, has_kind })),
        Just(Framing::UntilEnd),
    ]
}

/// The payloads that `framing` can carry. They consist of few letters, so that delimiters almost occur.
fn encodable(framing: Framing, payloads: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let fit = |mut payload: Vec<u8>| {
        if let Framing::Fixed(size) = framing {
            payload.resize(size, b'x');
        }
        payload
    };
    payloads.into_iter().map(fit).filter(|payload| framing.envelope(payload, KIND).is_ok()).collect()
}

proptest! {
    #[test]
    fn any_split_yields_the_sent_frames(
        framing in framings(),
        payloads in prop::collection::vec(prop::collection::vec(prop::sample::select(b"ab\r\n1".to_vec()), 0..20), 0..10),
        sizes in prop::collection::vec(1_usize..9, 1..9),
    ) {
        let payloads = encodable(framing, payloads);
        let stream = encode(framing, &payloads);
        let frames = decode_in_parts(framing, &stream, &sizes).expect("a valid stream");
        let has_kind = matches!(framing, Framing::LengthPrefixed(prefix) if prefix.has_kind);
        let expected: Vec<_> = payloads.into_iter().map(|payload| (payload, has_kind.then_some(KIND))).collect();
        prop_assert_eq!(frames, expected);
    }

    #[test]
    fn arbitrary_streams_decode_independently_of_splits(
        framing in framings(),
        stream in prop::collection::vec(prop::sample::select(b"ab\r\n0123\0\x01".to_vec()), 0..60),
        sizes in prop::collection::vec(1_usize..9, 1..9),
    ) {
        prop_assert_eq!(decode_in_parts(framing, &stream, &[stream.len().max(1)]), decode_in_parts(framing, &stream, &sizes));
    }

    #[test]
    fn the_text_form_parses_back(framing in any_framing()) {
        prop_assert_eq!(framing.to_string().parse(), Ok(framing));
    }
}

#[test]
fn truncation_reports_the_missing_bytes() {
    for (name, stream, missing) in [
        ("fixed:5", &b"abc"[..], 2),
        ("lines", b"abc", 1),
        ("crlf", b"abc", 2),
        ("crlf", b"abc\r", 1),
        ("digits:5", b"000", 2),
        ("digits:5", b"00010abc", 7),
        ("u16be", b"\x00", 1),
        ("u32le", b"\x05\0\0\0a", 4),
        ("type+u32be", b"\x01", 4),
    ] {
        assert_eq!(decode_in_parts(framing(name), stream, &[99]), Err(FrameError::Truncated { missing }), "{name}");
    }
    assert_eq!(
        decode_in_parts(framing("digits:5"), b"", &[99]),
        Ok(Vec::new()),
        "an end between frames is no truncation"
    );
}

#[test]
fn frames_above_the_limit_are_rejected() {
    for (name, stream, size) in [
        ("digits:5", &b"00017"[..], 22),
        ("digits:20", b"99999999999999999999", u64::MAX),
        ("u32be", b"\xff\xff\xff\xff", (1 << 32) + 3),
        ("u64le", b"\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
        ("lines", b"12345678901234567890", 21),
        ("end", b"12345678901234567890", 20),
    ] {
        let result = Decoder::new(framing(name), 16).decode(stream, false);
        assert_eq!(result, Err(FrameError::TooLarge { size, max: 16 }), "{name}");
    }
    for (name, stream) in [("lines", b"abc\n"), ("end", b"abcd")] {
        let whole = Decoder::new(framing(name), 4).decode(stream, true).expect("a frame that just fits");
        assert_eq!(whole.map(|frame| frame.size), Some(4), "{name}");
    }
}

#[test]
fn a_length_may_contain_only_digits() {
    for text in [" 0042", "+0042", "0x042", "4_200", "-0001"] {
        let result = Decoder::new(framing("digits:5"), 1 << 20).decode(text.as_bytes(), false);
        assert_eq!(result, Err(FrameError::NotDigits { text: text.to_owned() }));
    }
}

#[test]
fn until_end_yields_one_message() {
    let frames = decode_in_parts(Framing::UntilEnd, b"all\nof it", &[2]).expect("one message");
    assert_eq!(frames, [(b"all\nof it".to_vec(), None)]);
    assert_eq!(decode_in_parts(Framing::UntilEnd, b"", &[2]), Ok(Vec::new()));
}

#[test]
fn unframeable_payloads_are_rejected() {
    let delimiter = Delimiter::NEWLINE;
    assert_eq!(framing("lines").envelope(b"a\nb", 0).err(), Some(FramingError::HoldsDelimiter { delimiter }));
    assert_eq!(framing("fixed:3").envelope(b"ab", 0).err(), Some(FramingError::WrongSize { size: 2, fixed: 3 }));
    for (name, size) in [("u8", 256), ("digits:2", 100), ("u16le", 65_536)] {
        let error = FramingError::TooLong { size, framing: framing(name) };
        assert_eq!(framing(name).envelope(&vec![0; size], 0).err(), Some(error));
        assert!(framing(name).envelope(&vec![0; size - 1], 0).is_ok(), "{name} carries one byte less");
    }
    assert!(framing("delimiter:abab").envelope(b"ab", 0).is_err(), "the delimiter would be found too early");
    assert!(framing("delimiter:abab").envelope(b"a", 0).is_ok());
    assert!(framing("delimiter:12345678").envelope(b"a long payload", 0).is_ok());
    assert!(framing("fixed:3").envelope(b"abc", 0).is_ok());
    assert!(framing("fixed:65").check(64).is_err() && framing("fixed:64").check(64).is_ok());
}

#[test]
fn unknown_framings_are_rejected_with_an_example() {
    let names = [
        "",
        "line",
        "fixed",
        "fixed:0",
        "fixed:-1",
        "digits:0",
        "digits:21",
        "u24be",
        "u16",
        "u8be",
        "type+lines",
        "type+",
        "delimiter:",
        "delimiter:123456789",
        "lines ",
    ];
    for name in names {
        let error = name.parse::<Framing>().expect_err("an invalid framing").to_string();
        assert!(error.starts_with(&format!("{name:?} is not a framing")) && error.contains("fixed:64"), "{error}");
    }
    assert_eq!(framing("delimiter:\\r\\n"), framing("crlf"));
    assert_eq!(framing("delimiter:\\x0a"), Framing::LINES);
}
