//! Headers: unusual but valid ones, and invalid ones.

use super::case::{Case, ORDER, answer, content, header, header_with, message, raw_message};

const RING: &str = "In the caves beneath the Misty Mountains. 💍";
const SIZE: usize = 37;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = sound();
    cases.extend(not_json());
    cases.extend(missing());
    cases.extend(twice());
    cases.extend(wrong());
    cases.extend(lengths());
    cases
}

fn refused(name: &str, header: &str, words: &str) -> Case {
    Case::refused(name, message(header, &content("ring")), words)
}

fn fields() -> [(&'static str, String); 4] {
    [
        ("byteorder", format!("\"{ORDER}\"")),
        ("content-length", SIZE.to_string()),
        ("content-type", "\"text/json\"".to_owned()),
        ("content-encoding", "\"utf-8\"".to_owned()),
    ]
}

/// A header of these fields, without spaces.
fn of_fields(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The header with one value replaced.
fn with(key: &str, value: &str) -> String {
    let other = |(name, old): (&'static str, String)| (name, if name == key { value.to_owned() } else { old });
    of_fields(&fields().map(other))
}

fn sound() -> Vec<Case> {
    let plain = header(ORDER, "utf-8", SIZE);
    let mut reversed = fields();
    reversed.reverse();
    let pad = |size: usize| format!("{}{}", " ".repeat(size - plain.len()), plain);
    let nested = format!("\"x\": {}{}", "[".repeat(126), "]".repeat(126));
    let headers = [
        ("without spaces", of_fields(&fields())),
        ("the other way round", of_fields(&reversed)),
        ("on several lines", plain.replace(' ', "\r\n\t ")),
        ("with spaces around", format!(" \n{plain}\t ")),
        ("with escapes", plain.replace("content-type", "content\\u002dtype").replace("utf-8", "\\u0075tf-8")),
        ("from a machine of the other order", header("big", "utf-8", SIZE)),
        ("with an unknown key", header_with("\"x\": \"y\"", SIZE)),
        ("with unknown keys of all kinds", header_with(r#""": null, "a": [1, {"b": 2.5}], "c": {}, "💍": true"#, SIZE)),
        ("with an unknown key that nests 127 deep", header_with(&nested, SIZE)),
        ("of 4,096 bytes", pad(4096)),
        ("of 65,535 bytes", pad(65_535)),
        ("that keeps the connection", header_with(r#""connection": "keep-alive""#, SIZE)),
        ("with another connection", header_with(r#""connection": "close""#, SIZE)),
        ("with a connection of another kind", header_with(r#""connection": 1"#, SIZE)),
    ];
    let case = |(name, header): (&str, String)| {
        Case::common(&format!("a header {name}"), message(&header, &content("ring")), answer(RING))
    };
    headers.map(case).to_vec()
}

fn not_json() -> Vec<Case> {
    let plain = header(ORDER, "utf-8", SIZE);
    let why = |why: &str| format!("the header is not a JSON object: {why}");
    let mut cases = vec![
        refused("no header", "", &why("EOF while parsing a value")),
        refused("a header of spaces", "    ", &why("EOF while parsing a value")),
        refused("no JSON", "GET / HTTP/1.1", &why("expected value at line 1 column 1")),
        refused("an array", "[1, 2]", &why("invalid type: sequence, expected an object")),
        refused("a text", "\"byteorder\"", &why("invalid type: string")),
        refused("a number", "12", &why("invalid type: integer `12`, expected an object")),
        refused("null", "null", &why("invalid type: null, expected an object")),
        refused("half an object", &plain[..plain.len() - 1], &why("EOF while parsing an object")),
        refused("something behind the object", &format!("{plain}x"), &why("trailing characters")),
        refused("two objects", &format!("{plain}{plain}"), &why("trailing characters")),
        refused("single quotes", &plain.replace('"', "'"), &why("key must be a string")),
        refused("a comma at the end", &plain.replace('}', ",}"), &why("trailing comma")),
        refused("a comment", &format!("/**/{plain}"), &why("expected value")),
        refused("a byte order mark", &format!("\u{feff}{plain}"), &why("expected value")),
        refused("a line break in a text", &plain.replace("utf-8", "utf\n-8"), &why("control character")),
        refused("half a surrogate pair", &header_with(r#""x": "\ud83d""#, SIZE), &why("")),
        refused("a key that is no text", &header_with("1: 2", SIZE), &why("key must be a string")),
        refused("NaN", &header_with("\"x\": NaN", SIZE), &why("expected value")),
        refused("a number beyond all", &header_with("\"x\": 1e999", SIZE), &why("number out of range")),
    ];
    for depth in [127, 128, 30_000] {
        let nested = format!("\"x\": {}{}", "[".repeat(depth), "]".repeat(depth));
        cases.push(refused(&format!("{depth} deep"), &header_with(&nested, SIZE), &why("recursion limit exceeded")));
    }
    let bad = |name: &str, bytes: &[u8], offset: usize| {
        let words = format!("the header is not UTF-8: invalid byte at offset {offset}");
        Case::refused(name, raw_message(bytes, b""), &words)
    };
    cases.push(bad("a header in UTF-16", b"\xff\xfe{\0}\0", 0));
    cases.push(bad("a header in Latin-1", b"{\"x\": \"\xe9\"}", 7));
    cases.push(bad("a header with a surrogate in UTF-8", b"{\"x\": \"\xed\xa0\x80\"}", 7));
    cases
}

fn missing() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (key, _)) in fields().iter().enumerate() {
        let mut rest = fields().to_vec();
        rest.remove(index);
        let words = format!("Missing required header '{key}'.");
        cases.push(refused(&format!("no {key}"), &of_fields(&rest), &words));
        let misspelt = of_fields(&fields()).replace(key, &key.to_uppercase());
        cases.push(refused(&format!("{key} in upper case"), &misspelt, &words));
    }
    cases.push(refused("an empty object", "{}", "Missing required header 'byteorder'."));
    cases
}

fn twice() -> Vec<Case> {
    let twice = |key: &str, value: &str| {
        let header = header_with(&format!("\"{key}\": {value}"), SIZE);
        refused(&format!("{key} twice"), &header, &format!("the header has the key \"{key}\" twice"))
    };
    let mut cases: Vec<Case> = fields().iter().map(|(key, value)| twice(key, value)).collect();
    cases.push(twice("content-length", "0"));
    let unknown = header_with("\"x\": 1, \"x\": 2", SIZE);
    cases.push(refused("an unknown key twice", &unknown, "the header has the key \"x\" twice"));
    cases
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut wrong = |key: &str, value: &str, wanted: &str| {
        let words = format!("the header's '{key}' is {value}; expected {wanted}");
        cases.push(refused(&format!("{key} {value}"), &with(key, value), &words));
    };
    for value in [r#""middle""#, r#""LITTLE""#, r#""""#, r#"" little""#, "1", "null", "true", r#"["little"]"#] {
        wrong("byteorder", value, r#""little" or "big""#);
    }
    for key in ["content-type", "content-encoding"] {
        for value in ["1", "null", "false", "[]", r#"{"a":1}"#] {
            wrong(key, value, "a string");
        }
    }
    for value in ["-1", "-9223372036854775808", r#""37""#, "37.0", "37.5", "0.1", "null", "true", "[37]", "{}"] {
        wrong("content-length", value, "an integer of 0 or more");
    }
    cases
}

/// Lengths that are displayed differently from how they were written, or that are not numbers.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    let why = |why: &str| format!("the header is not a JSON object: {why}");
    for (value, words) in [
        ("1e3", "the header's 'content-length' is 1000.0; ".to_owned()),
        ("3.7E+1", "the header's 'content-length' is 37.0; ".to_owned()),
        ("-0", "the header's 'content-length' is -0.0; ".to_owned()),
        ("18446744073709551616", "the header's 'content-length' is 1.8446744073709552e+19; ".to_owned()),
        ("1e400", why("number out of range")),
        ("037", why("invalid number")),
        ("+37", why("expected value")),
        ("0x25", why("expected `,` or `}`")),
        ("37.", why("")),
        (".5", why("expected value")),
        ("3_7", why("expected `,` or `}`")),
        ("NaN", why("expected value")),
        ("-Infinity", why("invalid number")),
        ("65537", "a content of 65,537 bytes is larger than the 65,536 bytes allowed".to_owned()),
        ("4294967296", "a content of 4,294,967,296 bytes is larger than".to_owned()),
        ("18446744073709551615", "a content of 18,446,744,073,709,551,615 bytes is larger than".to_owned()),
    ] {
        cases.push(refused(&format!("content-length {value}"), &with("content-length", value), &words));
    }
    let long = format!("\"{}\"", "7".repeat(50_000));
    let words = format!("the header's 'content-length' is \"{}...; ", "7".repeat(39));
    cases.push(refused("content-length of 50,000 digits in a text", &with("content-length", &long), &words));
    cases
}
