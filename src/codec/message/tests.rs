//! Tests of the message protocol: any split of a stream yields the same messages, and no input makes the decoder panic.

use super::{ByteOrder, Content, Encoding, Head, Message, MessageDecoder, MessageError, python_json};
use proptest::prelude::*;
use serde_json::{Value, json};

const MAX_CONTENT_BYTES: usize = 1 << 20;

/// Contents with their types and encodings, or an error.
type Decoded = Result<Vec<(String, String, Vec<u8>)>, MessageError>;

/// Decodes `stream`, which arrives in portions of at most the given sizes.
fn decode_in_parts(stream: &[u8], sizes: &[usize]) -> Decoded {
    let mut decoder = MessageDecoder::new(MAX_CONTENT_BYTES);
    let (mut buffered, mut remaining, mut messages) = (Vec::new(), stream, Vec::new());
    let mut sizes = sizes.iter().copied().cycle();
    loop {
        let (portion, after) = remaining.split_at(sizes.next().unwrap_or(1).min(remaining.len()));
        buffered.extend_from_slice(portion);
        remaining = after;
        while let Some(Message { header, content_bytes, size }) = decoder.decode(&buffered, remaining.is_empty())? {
            messages.push((header.content_type, header.content_encoding, content_bytes.to_vec()));
            buffered.drain(..size);
        }
        if remaining.is_empty() {
            assert!(buffered.is_empty(), "bytes were left over: {buffered:?}");
            return Ok(messages);
        }
    }
}

/// A message with an arbitrary header.
fn with_header(header: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(header.len()).expect("a header is short");
    [&size.to_be_bytes(), header, content].concat()
}

fn error_of(header: &str) -> String {
    decode_in_parts(&with_header(header.as_bytes(), b""), &[usize::MAX]).expect_err("an invalid header").to_string()
}

proptest! {
    #[test]
    fn any_split_yields_the_sent_messages(
        messages in prop::collection::vec((".{0,20}", ".{0,20}", prop::collection::vec(any::<u8>(), 0..50)), 0..6),
        keeps_alive: bool,
        sizes in prop::collection::vec(1_usize..60, 1..9),
    ) {
        let mut stream = Vec::new();
        for (content_type, content_encoding, content) in &messages {
            let head = Head { content_type, content_encoding, keeps_alive };
            stream.extend(head.message(content).expect("a short header"));
        }
        prop_assert_eq!(decode_in_parts(&stream, &sizes), Ok(messages));
    }

    #[test]
    fn arbitrary_streams_decode_independently_of_splits(
        header in "[\\[\\]{}\":,a-z0-9\\-. \\\\\u{e4}]{0,40}",
        extra in prop::collection::vec(any::<u8>(), 0..40),
        sizes in prop::collection::vec(1_usize..9, 1..9),
    ) {
        for stream in [with_header(header.as_bytes(), &extra), extra] {
            prop_assert_eq!(decode_in_parts(&stream, &[usize::MAX]), decode_in_parts(&stream, &sizes));
        }
    }

    #[test]
    fn a_header_with_one_changed_byte_is_decoded_or_rejected(at in 0_usize..110, byte: u8, sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let mut stream = Head::json().message(b"{}").expect("a short header");
        let at = at % stream.len();
        stream[at] = byte;
        prop_assert_eq!(decode_in_parts(&stream, &[usize::MAX]), decode_in_parts(&stream, &sizes));
    }

    #[test]
    fn arbitrary_bytes_never_panic_in_an_encoding(bytes in prop::collection::vec(any::<u8>(), 0..40), index in 0_usize..10) {
        let names = ["u8", "utf-8-sig", "ascii", "l1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"];
        let encoding: Encoding = names[index].parse().expect("a known name");
        for order in [ByteOrder::Little, ByteOrder::Big] {
            match encoding.decode(&bytes, order) {
                Ok(text) => prop_assert!(text.len() <= 2 * bytes.len()),
                Err(offset) => {
                    prop_assert!(offset < bytes.len());
                    prop_assert!(encoding.decode(&bytes[..offset], order).is_ok(), "the bytes before the error are valid");
                }
            }
        }
    }

    #[test]
    fn encoded_text_parses_back(text in any::<String>()) {
        let written = python_json(&[("result", json!(text))]);
        prop_assert_eq!(serde_json::from_str::<Value>(&written).ok(), Some(json!({ "result": text })));
    }
}

#[test]
fn truncation_reports_the_missing_bytes() {
    let message = Head::json().message(b"{}").expect("a short header");
    // Until the length of the header is known, that of the length counts; then that of the header.
    for (end, missing) in [(1, 1), (10, message.len() as u64 - 12), (message.len() - 1, 1)] {
        assert_eq!(decode_in_parts(&message[..end], &[5]), Err(MessageError::Truncated { missing }), "cut at {end}");
    }
}

#[test]
fn messages_equal_the_captured_exchange() {
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

/// Like `json.dumps(text, ensure_ascii=False)` of Python 3.
#[test]
fn escapes_equal_those_of_python() {
    let text = "\0\u{1}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1f} \"'\\/\u{7f}\u{80}\u{a0}\u{2028}é💍";
    let expected =
        "{\"a\": \"\\u0000\\u0001\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f \\\"'\\\\/\u{7f}\u{80}\u{a0}\u{2028}é💍\"}";
    assert_eq!(python_json(&[("a", json!(text))]), expected);
    let nested = python_json(&[("a", json!([1, true, null, { "b": [] }])), ("c", json!({}))]);
    assert_eq!(nested, r#"{"a": [1, true, null, {"b": []}], "c": {}}"#);
}

#[test]
fn encodings_accept_pythons_names() {
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
fn text_is_decoded_in_its_byte_order() {
    use ByteOrder::{Big, Little};
    for (name, order, bytes, text) in [
        ("utf-8", Big, &b"\xef\xbb\xbfa"[..], "\u{feff}a"),
        ("utf-8-sig", Big, b"\xef\xbb\xbfa", "a"),
        ("utf-8-sig", Big, b"a", "a"),
        ("ascii", Big, b"a", "a"),
        ("latin-1", Big, b"\xe9", "é"),
        ("utf-16", Little, b"a\0=\xd80\xdc", "a🐰"),
        ("utf-16", Big, b"\0a\xd8=\xdc0", "a🐰"),
        ("utf-16", Big, b"\xff\xfea\0", "a"),
        ("utf-16", Little, b"\xfe\xff\0a", "a"),
        ("utf-16-le", Big, b"a\0", "a"),
        ("utf-16-be", Little, b"\0a", "a"),
        ("utf-32", Little, b"a\0\0\0\x30\xf4\x01\0", "a🐰"),
        ("utf-32", Big, b"\0\0\0a", "a"),
        ("utf-32", Big, b"\xff\xfe\0\0a\0\0\0", "a"),
        ("utf-32", Little, b"\0\0\xfe\xff\0\0\0a", "a"),
        ("utf-32-le", Big, b"a\0\0\0", "a"),
        ("utf-32-be", Little, b"\0\0\0a", "a"),
    ] {
        let encoding: Encoding = name.parse().expect("a known name");
        assert_eq!(encoding.decode(bytes, order).as_deref(), Ok(text), "{name} {bytes:?}");
    }
}

#[test]
fn an_invalid_byte_is_reported_with_its_offset() {
    for (name, bytes, offset) in [
        ("utf-8", &b"ab\xff"[..], 2),
        ("utf-8-sig", b"\xef\xbb\xbfa\xff", 4),
        ("ascii", b"abc\x80", 3),
        ("utf-16-le", b"a\0\0\xd8b\0", 2),
        ("utf-16-le", b"=\xd80\xdca", 4),
        ("utf-16", b"\xff\xfea\0\0\xdc", 4),
        ("utf-32-le", b"a\0\0\0\0\0\x11\0", 4),
        ("utf-32-le", b"a\0\0\0b", 4),
        ("utf-32", b"\xff\xfe\0\0a\0\0\0\0\0\x11\0", 8),
    ] {
        let encoding: Encoding = name.parse().expect("a known name");
        assert_eq!(encoding.decode(bytes, ByteOrder::Little), Err(offset), "{name} {bytes:?}");
    }
}

#[test]
fn the_header_tells_the_kind_of_content_and_the_wish_to_go_on() {
    for (content_type, keeps_alive, content) in
        [("text/json", true, Content::Json(json!(5))), ("binary/any", false, Content::Binary(b"5"))]
    {
        let head = Head { content_type, keeps_alive, ..Head::json() };
        let bytes = head.message(b"5").expect("a short header");
        let message = MessageDecoder::new(1).decode(&bytes, true).expect("valid").expect("complete");
        assert_eq!((message.content(), message.header.keeps_alive), (Ok(content), keeps_alive));
    }
    assert!(error_of("[]").contains("expected an object"));
}

#[test]
fn a_missing_key_is_named_in_the_peers_words() {
    let all =
        [r#""byteorder": "big""#, r#""content-length": 0"#, r#""content-type": "b""#, r#""content-encoding": "b""#];
    for (missing, key) in ["byteorder", "content-length", "content-type", "content-encoding"].iter().enumerate() {
        let remaining: Vec<&str> =
            all.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, &text)| text).collect();
        assert_eq!(error_of(&format!("{{{}}}", remaining.join(","))), format!("Missing required header '{key}'."));
    }
    assert_eq!(error_of("{}"), "Missing required header 'byteorder'.");
}

#[test]
fn a_header_of_the_maximum_length_is_accepted() {
    let fields = r#""byteorder":"big","content-length":3,"content-type":"b","content-encoding":"b""#;
    let padding = " ".repeat(65_535 - fields.len() - 2);
    let message = with_header(format!("{{{fields}{padding}}}").as_bytes(), b"abc");
    assert_eq!(message.len(), super::MAX_BEFORE_CONTENT + 3);
    let whole = decode_in_parts(&message, &[1000]).expect("a valid message");
    assert_eq!(whole, [("b".to_owned(), "b".to_owned(), b"abc".to_vec())]);
    let long = "x".repeat(65_536);
    let error = Head { content_type: &long, ..Head::json() }.message(b"").expect_err("too long");
    assert!(error.to_string().ends_with("the maximum is 65,535 bytes"), "{error}");
}

/// The limit of `serde_json`, which also prevents a stack overflow.
#[test]
fn json_nests_127_deep() {
    let read = |depth: usize| {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        let bytes = Head::json().message(text.as_bytes()).expect("a short header");
        let message = MessageDecoder::new(MAX_CONTENT_BYTES).decode(&bytes, true).expect("valid").expect("complete");
        message.content().map(|content| matches!(content, Content::Json(_)))
    };
    assert_eq!(read(127), Ok(true));
    for depth in [128, 1000, 100_000] {
        let error = read(depth).expect_err("too deep").to_string();
        assert!(error.contains("recursion limit exceeded"), "{error}");
    }
}
