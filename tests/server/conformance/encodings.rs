//! Encodings of requests. Answers are in UTF-8, as those of the tutorial's server.

use super::case::{Case, ORDER, answer, content, header, message};

const BALL: &str = "🐾 Playing ball! 🏐";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = names();
    cases.extend(texts());
    cases.extend(marks());
    cases.extend(refusals());
    cases
}

fn le16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn be16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn le32(text: &str) -> Vec<u8> {
    text.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect()
}

fn be32(text: &str) -> Vec<u8> {
    text.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect()
}

fn sent(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    message(&header(ORDER, encoding, bytes.len()), bytes)
}

/// Python's spellings of ASCII-compatible encodings.
fn names() -> Vec<Case> {
    [
        "utf-8",
        "UTF-8",
        "utf8",
        "utf_8",
        "U8",
        "cp65001",
        "ascii",
        "US-ASCII",
        "us_ascii",
        "646",
        "ansi_x3.4-1968",
        "latin-1",
        "latin1",
        "Latin_1",
        "L1",
        "iso-8859-1",
        "ISO8859-1",
        "ISO_8859-1",
        "cp819",
        "8859",
        "utf-8-sig",
    ]
    .map(|name| {
        let result = "Follow the white rabbit. 🐰";
        Case::common(&format!("in {name}"), sent(name, &content("morpheus")), answer(result))
    })
    .to_vec()
}

/// Non-ASCII texts.
fn texts() -> Vec<Case> {
    let dog = String::from_utf8(content("🐶")).unwrap();
    let latin = [&b"{\"action\": \"search\", \"value\": \"caf\xe9\x80\xff\"}"[..]].concat();
    vec![
        Case::common("latin-1 that is not ASCII", sent("latin-1", &latin), answer("No match for 'café\u{80}ÿ'.")),
        Case::common("utf-16-le", sent("utf-16-le", &le16(&dog)), answer(BALL)),
        Case::common("UTF_16LE", sent("UTF_16LE", &le16(&dog)), answer(BALL)),
        Case::common("utf-16-be", sent("utf-16-be", &be16(&dog)), answer(BALL)),
        Case::common("utf-32-le", sent("utf-32-le", &le32(&dog)), answer(BALL)),
        Case::common("utf-32-be", sent("utf-32-be", &be32(&dog)), answer(BALL)),
    ]
}

/// Byte order marks; without one, the sender's byte order applies.
fn marks() -> Vec<Case> {
    let dog = String::from_utf8(content("🐶")).unwrap();
    let marked = format!("\u{feff}{dog}");
    let from = |order: &str, encoding: &str, bytes: &[u8]| message(&header(order, encoding, bytes.len()), bytes);
    vec![
        Case::common("utf-16, little", sent("utf-16", &le16(&marked)), answer(BALL)),
        Case::common("utf-16, big", sent("utf-16", &be16(&marked)), answer(BALL)),
        Case::common("U16", sent("U16", &be16(&marked)), answer(BALL)),
        Case::common("utf-32, little", sent("utf-32", &le32(&marked)), answer(BALL)),
        Case::common("utf-32, big", sent("utf-32", &be32(&marked)), answer(BALL)),
        Case::common("utf-8-sig with a mark", sent("utf-8-sig", marked.as_bytes()), answer(BALL)),
        Case::answers("utf-16 from little", from("little", "utf-16", &le16(&dog)), answer(BALL)),
        Case::answers("utf-16 from big", from("big", "utf-16", &be16(&dog)), answer(BALL)),
        Case::answers("utf-32 from little", from("little", "utf-32", &le32(&dog)), answer(BALL)),
        Case::answers("utf-32 from big", from("big", "utf-32", &be32(&dog)), answer(BALL)),
    ]
}

fn refusals() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["cp1252", "utf-7", "base64", "rot13", "shift_jis", "binary", "utf-9", "", "💍"] {
        let words = format!("unknown encoding {name:?}; known are utf-8, ");
        cases.push(Case::refused(&format!("in {name:?}"), sent(name, &content("ring")), &words));
    }
    let dog = content("🐶");
    let text = str::from_utf8(&dog).unwrap();
    let half = [&le16("{\"a\": \"")[..], b"\x3d\xd8", &le16("\"}")].concat();
    let above = [&le32("\"")[..], &[0, 0, 0x11, 0], &le32("\"")].concat();
    let mut refused = |name: &str, encoding: &str, bytes: &[u8], offset: usize| {
        let words = format!("the content is not {encoding}: invalid byte at offset {offset}");
        cases.push(Case::refused(name, sent(encoding, bytes), &words));
    };
    refused("a wrong byte in UTF-8", "utf-8", b"{\"a\": \"\xff\"}", 7);
    refused("half a character in UTF-8", "utf-8", b"{\"a\": \"\xf0\x9f\"}", 7);
    refused("an overlong character in UTF-8", "utf-8", b"{\"\xc0\xaf\": 1}", 2);
    refused("a surrogate in UTF-8", "utf-8", b"\"\xed\xa0\xbd\"", 1);
    refused("a wrong byte behind a mark", "utf-8-sig", b"\xef\xbb\xbf\xff", 3);
    refused("an emoji in ASCII", "ascii", &dog, 31);
    refused("an odd number of bytes in UTF-16", "utf-16-le", &le16(text)[..15], 14);
    refused("half a pair in UTF-16", "utf-16-le", &half, 14);
    refused("three bytes too many in UTF-32", "utf-32-be", &[&be32("12")[..], b"\0\0\0"].concat(), 8);
    refused("a number above U+10FFFF in UTF-32", "utf-32-le", &above, 4);
    refused("a surrogate in UTF-32", "utf-32-be", &[0, 0, 0xd8, 0x3d], 0);
    let why = "the content is not JSON: expected value at line 1 column 1";
    cases.push(Case::refused("a mark in UTF-8", sent("utf-8", format!("\u{feff}{text}").as_bytes()), why));
    cases.push(Case::refused("UTF-16 in the wrong order", sent("utf-16-be", &le16("{}")), why));
    cases.push(Case::refused(
        "UTF-16 that is told to be Latin-1",
        sent("latin-1", &le16("{}")),
        "the content is not JSON: ",
    ));
    cases
}
