//! Tests of the notation against a table, and against Python itself where it is installed.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fmt::Write;
use std::io::ErrorKind;
use std::process::Command;

use super::*;

#[test]
fn bytes_are_formatted_as_in_python() {
    let table: [(&[u8], &str); 10] = [
        (b"", "b''"),
        (b"Message 1 from client.", "b'Message 1 from client.'"),
        (b"it's", r#"b"it's""#),
        (br#"say "it""#, r#"b'say "it"'"#),
        (br#"it's "it""#, r#"b'it\'s "it"'"#),
        (b"\t\n\r\\", r"b'\t\n\r\\'"),
        (b"\0\x01\x1f\x7f", r"b'\x00\x01\x1f\x7f'"),
        (b"\x80\xAB\xff", r"b'\x80\xab\xff'"),
        ("µ".as_bytes(), r"b'\xc2\xb5'"),
        (b"\x0b\x0c\x07 ~", r"b'\x0b\x0c\x07 ~'"),
    ];
    for (bytes, text) in table {
        assert_eq!(BytesRepr(bytes).to_string(), text);
    }
}

#[test]
fn json_is_formatted_as_in_python() {
    for (json, text) in [
        (r#"{"action": "search", "value": "morpheus"}"#, "{'action': 'search', 'value': 'morpheus'}"),
        ("[null, true, false, -1, 2.5, [], {}]", "[None, True, False, -1, 2.5, [], {}]"),
        (r#"["it's", "say \"it\"", "it's \"it\""]"#, r#"["it's", 'say "it"', 'it\'s "it"']"#),
        (r#""\t\n\r\\ \u0000\u001b\u007f\u009b""#, r"'\t\n\r\\ \x00\x1b\x7f\x9b'"),
        (
            r#""🐰 Grüße e\u0301 \u00a0\u200d\u202e\ue000\udb40\udc41""#,
            "'🐰 Grüße e\u{301} \\xa0\\u200d\\u202e\\ue000\\U000e0041'",
        ),
    ] {
        let value = serde_json::from_str(json).unwrap();
        assert_eq!(JsonRepr(&value).to_string(), text);
    }
}

#[test]
fn addresses_are_formatted_as_in_python() {
    let shown = |address: &str| AddressRepr(address.parse().unwrap()).to_string();
    assert_eq!(shown("127.0.0.1:65432"), "('127.0.0.1', 65432)");
    assert_eq!(shown("[::1]:65432"), "('::1', 65432, 0, 0)");
    assert_eq!(shown("[fe80::1%2]:80"), "('fe80::1', 80, 0, 2)");
}

#[test]
fn only_bytes_beyond_the_limit_are_omitted() {
    let show = |bytes, limit| BytesRepr::abbreviated(bytes, limit).to_string();
    assert_eq!(show(b"Message", 8), "b'Message'");
    assert_eq!(show(b"Message", 7), "b'Message'");
    assert_eq!(show(b"Message", 6), "b'Messag'... (7 bytes)");
    assert_eq!(show(b"Message", 0), "b''... (7 bytes)");
    assert_eq!(show(b"", 0), "b''");
    // The quote depends on the bytes that are shown, not on those omitted.
    assert_eq!(show(br#"it's "it""#, 5), r#"b"it's "... (9 bytes)"#);
}

#[test]
fn python_agrees() {
    let mut samples: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    samples.extend((0..200).map(sample));
    let script = "import sys\nfor text in sys.argv[1:]: print(repr(bytes.fromhex(text)))";
    let run = Command::new("python3").args(["-c", script]).args(samples.iter().map(|bytes| hex(bytes))).output();
    let output = match run {
        // 127 is the exit status of a version manager's stub for a python3 that is not installed.
        Ok(output) if output.status.code() != Some(127) => output,
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("python3: {error}"),
        _ => return eprintln!("skipped: python3 is not installed"),
    };
    assert!(output.status.success(), "{}", BytesRepr(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), samples.len());
    for (bytes, line) in samples.iter().zip(text.lines()) {
        assert_eq!(BytesRepr(bytes).to_string(), line);
    }
}

/// Up to 40 bytes, equal in every run, with many quotes, escapes and letters: uniformly random bytes would rarely
/// exercise the choice of the quote.
fn sample(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    // Each sample draws mostly from three bytes of its own, so that some contain one kind of quote, some the other, and
    // some both.
    let palette: Vec<u8> = (0..3).map(|_| b"'\"\\\t\n\r x\x7f\0\xff"[next(11)]).collect();
    let length = next(41);
    (0..length).map(|_| if next(4) == 0 { u8::try_from(next(256)).unwrap() } else { palette[next(3)] }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
