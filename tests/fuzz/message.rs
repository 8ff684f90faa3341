//! Messages with a JSON header: decoding does not depend on the split, and what is encoded is decoded.

use super::{Choices, Memory, Target};
use crate::codec::message::{Content, Head, Header, MAX_BEFORE_CONTENT, MessageDecoder, MessageError, python_json};

/// Maximum content in bytes, small enough to be exceeded.
const MAX_CONTENT_BYTES: usize = 512;

/// JSON takes up to 32 times its size in memory; UTF-32 in four bytes becomes one to four.
const MEMORY: Memory = Memory { fixed: 256 * 1024, per_byte: 256 };

/// A header, its content, and the size of both.
type Decoded = Vec<(Header, Vec<u8>, usize)>;

#[test]
fn message_stream() {
    Target { name: "message_stream", memory: MEMORY, check: check_stream }.fuzz();
}

#[test]
fn message_encoding() {
    Target { name: "message_encoding", memory: MEMORY, check: check_encoding }.fuzz();
}

fn check_stream(stream: &[u8]) {
    let whole = decode(stream, &[stream.len()]);
    // One of the splits, chosen by the content: all of them take too long.
    let sum = stream.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    for split in [2, stream.len() / 2, sum, sum / 3].map(|split| split % (stream.len() + 1)) {
        assert_eq!(decode(stream, &[split, stream.len()]), whole, "split at {split}");
    }
    if stream.len() < 512 {
        let bytewise: Vec<usize> = (1..=stream.len()).collect();
        assert_eq!(decode(stream, &bytewise), whole, "byte by byte");
    }
}

fn decode(stream: &[u8], ends: &[usize]) -> (Decoded, Option<MessageError>) {
    let mut decoder = MessageDecoder::new(MAX_CONTENT_BYTES);
    let (mut messages, mut start) = (Vec::new(), 0);
    for (&end, is_last) in ends.iter().map(|end| (end, false)).chain([(&stream.len(), true)]) {
        loop {
            match decoder.decode(&stream[start..end], is_last) {
                Ok(Some(message)) => {
                    assert!(message.size <= MAX_BEFORE_CONTENT + MAX_CONTENT_BYTES);
                    assert!(message.size >= 2 + message.content_bytes.len());
                    assert_eq!(message.content_bytes.len() as u64, message.header.content_length);
                    check_content(&message.header, message.content());
                    messages.push((message.header, message.content_bytes.to_vec(), message.size));
                    start += message.size;
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.to_string().len() < 1024, "{error}");
                    return (messages, Some(error));
                }
            }
        }
    }
    (messages, None)
}

fn check_content(header: &Header, content: Result<Content<'_>, MessageError>) {
    match content {
        Ok(Content::Json(value)) => {
            assert!(header.is_json());
            let text = python_json(&[("value", value.clone())]);
            let read: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            // Without the feature for exact numbers, the last digit of a float may differ.
            let is_same = read["value"] == value || text.contains(['.', 'e', 'E']);
            assert!(is_same, "{text} is not {value}");
        }
        Ok(Content::Binary(_)) => assert!(!header.is_json()),
        Err(error) => assert!(error.to_string().len() < 1024, "{error}"),
    }
}

/// Encodes a message with a content type, an encoding and a content from the input.
fn check_encoding(input: &[u8]) {
    let mut choices = Choices(input);
    let keeps_alive = choices.below(2) == 1;
    let is_json = choices.below(2) == 1;
    let sizes = [choices.below(64), choices.below(64)];
    let text = String::from_utf8_lossy(choices.0);
    let characters: Vec<char> = text.chars().collect();
    let [kind, encoding] = [0, 1].map(|part| {
        let start: usize = sizes[..part].iter().sum();
        characters.iter().skip(start).take(sizes[part]).collect::<String>()
    });
    let content: String = characters.iter().skip(sizes.iter().sum()).collect();
    let mut head = Head { content_type: &kind, content_encoding: &encoding, keeps_alive };
    if is_json {
        head = Head { keeps_alive, ..Head::json() };
    }
    let bytes = head.message(content.as_bytes()).expect("a short header");
    let mut decoder = MessageDecoder::new(content.len());
    let message = decoder.decode(&bytes, true).expect("it was encoded here").expect("it is whole");
    assert_eq!((message.size, message.content_bytes), (bytes.len(), content.as_bytes()));
    let header = &message.header;
    assert_eq!((&header.content_type[..], header.keeps_alive), (head.content_type, keeps_alive));
    assert_eq!(header.content_encoding, head.content_encoding);
    check_content(header, message.content());
    for missing in [1, content.len() / 2 + 1, bytes.len() - 2] {
        let part = &bytes[..bytes.len() - missing.min(bytes.len())];
        assert_eq!(MessageDecoder::new(content.len()).decode(part, false), Ok(None));
    }
}
