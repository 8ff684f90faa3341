//! Escapes of external text: nothing unsafe is left, and typed escapes are decoded exactly.

use super::{Memory, Target};
use crate::escape::{TerminalWriter, is_unsafe, json, line, lines, path, unescape};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MEMORY: Memory = Memory { fixed: 64 * 1024, per_byte: 128 };

#[test]
fn escapes() {
    Target { name: "escapes", memory: MEMORY, check }.fuzz();
}

fn check(input: &[u8]) {
    let lossy = String::from_utf8_lossy(input);
    expect_safe(&line(&lossy).to_string(), "");
    expect_safe(&lines(&lossy).to_string(), "\n");
    expect_safe(&path(Path::new(OsStr::from_bytes(input))).to_string(), "");
    check_json(&lossy);
    check_terminal(input);
    if let Ok(text) = str::from_utf8(input)
        && let Ok(bytes) = unescape(text)
    {
        assert_eq!(unescape(&bytes.escape_ascii().to_string()).as_ref(), Ok(&bytes));
    }
    // Every byte string can be typed.
    assert_eq!(unescape(&input.escape_ascii().to_string()).as_deref(), Ok(input));
}

fn expect_safe(text: &str, allowed: &str) {
    let left = text.chars().find(|character| is_unsafe(*character) && !allowed.contains(*character));
    assert_eq!(left, None, "in {text:?}");
}

fn check_json(text: &str) {
    let document = serde_json::to_string(text).expect("every text is a JSON string");
    let escaped = json(&document);
    expect_safe(&escaped, "\n\t");
    assert_eq!(serde_json::from_str::<String>(&escaped).as_deref().ok(), Some(text));
}

/// The split of the stream does not change what is shown.
fn check_terminal(input: &[u8]) {
    let shown = |parts: &[&[u8]]| {
        let mut out = Vec::new();
        let mut writer = TerminalWriter::new(&mut out);
        for part in parts {
            writer.write_all(part).expect("a vector takes everything");
        }
        drop(writer);
        String::from_utf8(out).expect("it writes text")
    };
    let whole = shown(&[input]);
    expect_safe(&whole.replace("\r\n", "\n"), "\n\t");
    let bytewise: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(shown(&bytewise), whole);
    let (first, second) = input.split_at(input.len() / 2);
    assert_eq!(shown(&[first, second]), whole);
}
