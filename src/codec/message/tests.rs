//! Any split of any stream yields the same messages; nothing that a peer sends makes the decoder panic.

use super::{ByteOrder, Content, Encoding, Head, Message, MessageDecoder, MessageError, python_json};
use proptest::prelude::*;
use serde_json::{Value, json};

const MOST: usize = 1 << 20;

/// Contents with their types and encodings, or what was wrong.
type Decoded = Result<Vec<(String, String, Vec<u8>)>, MessageError>;

/// All messages of `stream`, which comes in portions of at most the given sizes.
fn decoded(stream: &[u8], sizes: &[usize]) -> Decoded {
    let mut decoder = MessageDecoder::new(MOST);
    let (mut waiting, mut rest, mut messages) = (Vec::new(), stream, Vec::new());
    let mut sizes = sizes.iter().copied().cycle();
    loop {
        let (portion, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        waiting.extend_from_slice(portion);
        rest = after;
        while let Some(Message { header, content_bytes, size }) = decoder.decode(&waiting, rest.is_empty())? {
            messages.push((header.content_type, header.content_encoding, content_bytes.to_vec()));
            waiting.drain(..size);
        }
        if rest.is_empty() {
            assert!(waiting.is_empty(), "bytes were left over: {waiting:?}");
            return Ok(messages);
        }
    }
}

/// A message with this header, whatever it is.
fn with_header(header: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(header.len()).expect("a header is short");
    [&size.to_be_bytes(), header, content].concat()
}

fn error_of(header: &str) -> String {
    decoded(&with_header(header.as_bytes(), b""), &[usize::MAX]).expect_err("a wrong header").to_string()
}

proptest! {
    #[test]
    fn any_split_yields_the_messages_that_were_sent(
        messages in prop::collection::vec((".{0,20}", ".{0,20}", prop::collection::vec(any::<u8>(), 0..50)), 0..6),
        keeps_alive: bool,
        sizes in prop::collection::vec(1_usize..60, 1..9),
    ) {
        let mut stream = Vec::new();
        for (content_type, content_encoding, content) in &messages {
            let head = Head { content_type, content_encoding, keeps_alive };
            stream.extend(head.message(content).expect("a short header"));
        }
        prop_assert_eq!(decoded(&stream, &sizes), Ok(messages));
    }

    #[test]
    fn a_stream_of_anything_is_decoded_alike_however_it_is_split(
        header in "[\\[\\]{}\":,a-z0-9\\-. \\\\\u{e4}]{0,40}",
        extra in prop::collection::vec(any::<u8>(), 0..40),
        sizes in prop::collection::vec(1_usize..9, 1..9),
    ) {
        for stream in [with_header(header.as_bytes(), &extra), extra] {
            prop_assert_eq!(decoded(&stream, &[usize::MAX]), decoded(&stream, &sizes));
        }
    }

    #[test]
    fn a_header_with_one_wrong_byte_is_read_or_refused(at in 0_usize..110, byte: u8, sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let mut stream = Head::json().message(b"{}").expect("a short header");
        let at = at % stream.len();
        stream[at] = byte;
        prop_assert_eq!(decoded(&stream, &[usize::MAX]), decoded(&stream, &sizes));
    }

    #[test]
    fn no_bytes_are_too_odd_for_an_encoding(bytes in prop::collection::vec(any::<u8>(), 0..40), index in 0_usize..10) {
        let names = ["u8", "utf-8-sig", "ascii", "l1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"];
        let encoding: Encoding = names[index].parse().expect("a known name");
        for order in [ByteOrder::Little, ByteOrder::Big] {
            match encoding.decode(&bytes, order) {
                Ok(text) => prop_assert!(text.len() <= 2 * bytes.len()),
                Err(offset) => {
                    prop_assert!(offset < bytes.len());
                    prop_assert!(encoding.decode(&bytes[..offset], order).is_ok(), "what stands before the error is sound");
                }
            }
        }
    }

    #[test]
    fn texts_are_written_as_they_are_read(text in any::<String>()) {
        let written = python_json(&[("result", json!(text))]);
        prop_assert_eq!(serde_json::from_str::<Value>(&written).ok(), Some(json!({ "result": text })));
    }
}

#[test]
fn the_captured_exchange() {
    let order = ByteOrder::OURS.name();
    let header = |length: usize| {
        format!(
            r#"{{"byteorder": "{order}", "content-type": "text/json", "content-encoding": "utf-8", "content-length": {length}}}"#
        )
    };
    for (fields, length, content) in [
        (
            &[("action", json!("search")), ("value", json!("morpheus"))][..],
            41,
            r#"{"action": "search", "value": "morpheus"}"#,
        ),
        (&[("result", json!("Follow the white rabbit. 🐰"))], 43, r#"{"result": "Follow the white rabbit. 🐰"}"#),
    ] {
        assert_eq!((python_json(fields).as_str(), content.len()), (content, length));
        let message = Head::json().message(content.as_bytes()).expect("a short header");
        assert_eq!(message, with_header(header(length).as_bytes(), content.as_bytes()));
        assert_eq!(message.len(), length + header(length).len() + 2);
    }
}

/// As `json.dumps(text, ensure_ascii=False)` of Python 3.
#[test]
fn escapes_are_those_of_python() {
    let text = "\0\u{1}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1f} \"'\\/\u{7f}\u{80}\u{a0}\u{2028}é💍";
    let expected =
        "{\"a\": \"\\u0000\\u0001\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f \\\"'\\\\/\u{7f}\u{80}\u{a0}\u{2028}é💍\"}";
    assert_eq!(python_json(&[("a", json!(text))]), expected);
    let nested = python_json(&[("a", json!([1, true, null, { "b": [] }])), ("c", json!({}))]);
    assert_eq!(nested, r#"{"a": [1, true, null, {"b": []}], "c": {}}"#);
}

#[test]
fn encodings_go_by_the_names_that_python_knows() {
    for (names, encoding) in [
        (&["utf-8", "UTF-8", "utf_8", "utf8", "U8", " utf 8 ", "utf--8"][..], Encoding::Utf8),
        (&["utf-8-sig", "UTF_8_SIG"], Encoding::Utf8Sig),
        (&["ascii", "US-ASCII", "646", "ANSI_X3.4-1968"], Encoding::Ascii),
        (&["latin-1", "latin1", "L1", "iso-8859-1", "ISO8859-1"], Encoding::Latin1),
        (&["utf-16", "UTF16", "u16"], Encoding::Utf16(None)),
        (&["utf-16-le", "utf-16LE", "UTF_16_LE"], Encoding::Utf16(Some(ByteOrder::Little))),
        (&["utf-16-be"], Encoding::Utf16(Some(ByteOrder::Big))),
        (&["utf-32", "utf32"], Encoding::Utf32(None)),
        (&["utf-32-le"], Encoding::Utf32(Some(ByteOrder::Little))),
        (&["utf-32-be", "utf-32be"], Encoding::Utf32(Some(ByteOrder::Big))),
    ] {
        for name in names {
            assert_eq!(name.parse(), Ok(encoding), "{name}");
        }
        assert_eq!(encoding.name().parse(), Ok(encoding));
    }
    for name in ["", "utf-9", "utf", "cp1252", "utf-8x", "u t f 8", "binary"] {
        let result: Result<Encoding, _> = name.parse();
        assert_eq!(result.is_ok(), name == "utf", "{name}");
    }
    let error = "ebcdic".repeat(100).parse::<Encoding>().expect_err("no encoding").to_string();
    assert!(error.starts_with("unknown encoding \"ebcdicebcdic") && error.len() < 200, "{error}");
}

#[test]
fn what_is_missing_is_named_in_the_words_of_the_peers() {
    let all =
        [r#""byteorder": "big""#, r#""content-length": 0"#, r#""content-type": "b""#, r#""content-encoding": "b""#];
    for (missing, key) in ["byteorder", "content-length", "content-type", "content-encoding"].iter().enumerate() {
        let rest: Vec<&str> =
            all.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, &text)| text).collect();
        assert_eq!(error_of(&format!("{{{}}}", rest.join(","))), format!("Missing required header '{key}'."));
    }
    assert_eq!(error_of("{}"), "Missing required header 'byteorder'.");
}

#[test]
fn a_header_is_as_long_as_it_can_be() {
    let fields = r#""byteorder":"big","content-length":3,"content-type":"b","content-encoding":"b""#;
    let padding = " ".repeat(65_535 - fields.len() - 2);
    let message = with_header(format!("{{{fields}{padding}}}").as_bytes(), b"abc");
    assert_eq!(message.len(), super::MOST_BEFORE_CONTENT + 3);
    let whole = decoded(&message, &[1000]).expect("a sound message");
    assert_eq!(whole, [("b".to_owned(), "b".to_owned(), b"abc".to_vec())]);
    let long = "x".repeat(65_536);
    let error = Head { content_type: &long, ..Head::json() }.message(b"").expect_err("too long");
    assert!(error.to_string().ends_with("it may have 65,535 at most"), "{error}");
}

/// The limit of `serde_json`, which also keeps the stack from running over.
#[test]
fn json_nests_127_deep() {
    let read = |depth: usize| {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        let bytes = Head::json().message(text.as_bytes()).expect("a short header");
        let message = MessageDecoder::new(MOST).decode(&bytes, true).expect("sound").expect("whole");
        message.content().map(|content| matches!(content, Content::Json(_)))
    };
    assert_eq!(read(127), Ok(true));
    for depth in [128, 1000, 100_000] {
        let error = read(depth).expect_err("too deep").to_string();
        assert!(error.contains("recursion limit exceeded"), "{error}");
    }
}
