//! Tests that every unsafe character is escaped, for any input and any split, and that all other text is unchanged.

use super::{TerminalWriter, UnescapeError, is_unsafe, json, line, lines, path, unescape};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn bytes(bytes: &[u8]) -> impl Display {
    path(Path::new(OsStr::from_bytes(bytes)))
}

/// Output of a stream of these writes.
fn escape_stream(writes: &[&[u8]]) -> String {
    let mut shown = Vec::new();
    let mut terminal = TerminalWriter::new(&mut shown);
    for bytes in writes {
        terminal.write_all(bytes).expect("a vector takes everything");
    }
    drop(terminal);
    String::from_utf8(shown).expect("what is shown is UTF-8")
}

#[test]
fn control_characters_are_escaped() {
    for (text, shown) in [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\r\n\tb\0\x7f", r"a\r\n\tb\x00\x7f"),
        ("\u{9b}31m\u{80}", r"\u{9b}31m\u{80}"),
        ("\u{202e}txt.exe\u{2066}\u{61c}", r"\u{202e}txt.exe\u{2066}\u{61c}"),
        ("\u{2028}\u{2029}\u{200b}\u{feff}\u{e0041}", r"\u{2028}\u{2029}\u{200b}\u{feff}\u{e0041}"),
    ] {
        assert_eq!(line(text).to_string(), shown);
        assert_eq!(bytes(text.as_bytes()).to_string(), shown);
    }
    assert_eq!(lines("one\ntwo\r").to_string(), "one\ntwo\\r");
    assert_eq!(path(Path::new(OsStr::from_bytes(b"a\x9b\xff\n"))).to_string(), r"a\x9b\xff\n");
}

#[test]
fn other_text_is_unchanged() {
    for text in
        ["Follow the white rabbit. 🐰", "👩‍👧 ❤️", "naïve e\u{301} אבג हिन्दी 日本\u{3000}語", r"b'\x00' \", "\u{a0}"]
    {
        assert_eq!(line(text).to_string(), text);
        assert_eq!(json(text), text);
        assert_eq!(escape_stream(&[text.as_bytes()]), text);
    }
}

#[test]
fn all_ranges_of_unsafe_characters_are_covered() {
    let ranges = ["\0\x1f", "\x7f\u{9f}", "\u{200e}\u{200f}", "\u{2028}\u{202e}", "\u{2060}\u{206f}"];
    for (first, last) in ranges.map(|range| (range.chars().next(), range.chars().last())) {
        let (Some(first), Some(last)) = (first, last) else { unreachable!("each has two ends") };
        assert!((first..=last).all(is_unsafe), "{first:?} to {last:?}");
    }
    assert!(['\u{61c}', '\u{200b}', '\u{feff}'].into_iter().all(is_unsafe));
}

#[test]
fn a_stream_keeps_line_ends_and_split_characters() {
    assert_eq!(escape_stream(&[b"HTTP/1.1 200 OK\r", b"\n\r\nab\tc\n"]), "HTTP/1.1 200 OK\r\n\r\nab\tc\n");
    assert_eq!(escape_stream(&[b"hidden\rshown", b"\r", b"x\r"]), r"hidden\rshown\rx\r");
    assert_eq!(escape_stream(&[b"\xf0\x9f", b"\x90", b"\xb0"]), "🐰");
    assert_eq!(escape_stream(&[b"\xc2", b"\x9b", b"31m"]), r"\u{9b}31m");
    assert_eq!(escape_stream(&[b"\xff\xf0\x9fx", b"\xe2\x80"]), r"\xff\xf0\x9fx\xe2\x80");
}

#[test]
fn escaped_json_has_the_same_value() {
    let value = serde_json::json!({"a\u{9b}": ["\u{202e}\x7f\x1b\n\"", "\u{e0041}💍"]});
    for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("it is JSON")] {
        let escaped = json(&text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).ok().as_ref(), Some(&value), "{escaped}");
        assert!(!escaped.chars().any(|character| is_unsafe(character) && character != '\n'), "{escaped}");
    }
}

#[test]
fn typed_escapes_are_decoded() {
    for (text, bytes) in [
        ("GET / HTTP/1.0\\r\\n\\r\\n", &b"GET / HTTP/1.0\r\n\r\n"[..]),
        (r#"\t\0\x00\xfF\\\'\""#, b"\t\0\0\xff\\'\""),
        (r"C:\\new", br"C:\new"),
        ("Grüße 🐶", "Grüße 🐶".as_bytes()),
        ("", b""),
    ] {
        assert_eq!(unescape(text).as_deref(), Ok(bytes), "{text}");
    }
    let error = |text: &str| unescape(text).expect_err("no escape");
    for text in [r"\x", r"\x4", r"\x4g", r"\x+4", r"\x🐶"] {
        assert_eq!(error(text), UnescapeError::NoDigits { text: text.to_owned() });
    }
    let shown = error("a\\q\u{1b}").to_string();
    assert!(shown.starts_with(r#"\q is no escape in "a\q\x1b"; "#) && shown.contains(r"\xNN"), "{shown}");
    assert!(error(r"a\").to_string().starts_with(r#""a\" ends with a backslash; give \\"#));
}

proptest! {
    #[test]
    fn unescape_reverses_escape_ascii(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(unescape(&bytes.escape_ascii().to_string()), Ok(bytes));
    }

    #[test]
    fn no_unsafe_character_passes(text in ".*|[\u{0}-\u{9f}\u{2000}-\u{206f}]*") {
        let (one, several) = (line(&text).to_string(), lines(&text).to_string());
        prop_assert!(!one.chars().any(is_unsafe));
        prop_assert!(!several.chars().any(|character| is_unsafe(character) && character != '\n'));
        prop_assert_eq!(line(&one).to_string(), one);
    }

    #[test]
    fn no_unsafe_character_passes_from_bytes(input in proptest::collection::vec(any::<u8>(), 0..64), cut in 0..64_usize) {
        prop_assert!(!bytes(&input).to_string().chars().any(is_unsafe));
        let (first, second) = input.split_at(cut.min(input.len()));
        let shown = escape_stream(&[first, second]);
        prop_assert_eq!(&shown, &escape_stream(&[&input]));
        let rest = shown.replace("\r\n", "").replace(['\n', '\t'], "");
        prop_assert!(!rest.chars().any(is_unsafe), "{:?}", shown);
    }
}
