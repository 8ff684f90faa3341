//! Valid requests: the table, values and actions of all kinds, and binary requests.

use super::case::{Case, answer, beginning, binary, binary_answer, json, message, search, typed_header};

pub(super) fn cases() -> Vec<Case> {
    [table(), values(), actions(), ours(), binaries()].concat()
}

fn table() -> Vec<Case> {
    [
        ("morpheus", "Follow the white rabbit. 🐰"),
        ("ring", "In the caves beneath the Misty Mountains. 💍"),
        ("🐶", "🐾 Playing ball! 🏐"),
    ]
    .map(|(value, result)| Case::common(&format!("the table: {value}"), search(value), answer(result)))
    .to_vec()
}

/// Values as written in the request, and as shown in the answer between single quotes.
fn values() -> Vec<Case> {
    let long = "x".repeat(60_000);
    let values = [
        (r#""nope""#, "nope"),
        (r#""""#, ""),
        (r#"" ring""#, " ring"),
        (r#""Ring""#, "Ring"),
        (r#""it's""#, "it's"),
        (r#""a \"b\"""#, r#"a \"b\""#),
        (r#""a\\b""#, r"a\\b"),
        (r#""a\/b""#, "a/b"),
        (r#""\u0000""#, r"\u0000"),
        (r#""\u001f""#, r"\u001f"),
        (r#""\u001F\b\f\n\r\t""#, r"\u001f\b\f\n\r\t"),
        ("\"\u{7f}\"", "\u{7f}"),
        (r#""\u007f""#, "\u{7f}"),
        ("\"\u{80}\u{2028}\u{feff}\"", "\u{80}\u{2028}\u{feff}"),
        (r#""\u00e9""#, "é"),
        (r#""\ud83d\ude00""#, "😀"),
        ("\"Привет, 世界\"", "Привет, 世界"),
        ("null", "None"),
        ("true", "True"),
        ("false", "False"),
        ("0", "0"),
        ("42", "42"),
        ("-7", "-7"),
        ("18446744073709551615", "18446744073709551615"),
        (&format!("\"{long}\""), &long),
    ];
    let case = |(value, told): &(&str, &str)| {
        let request = json(&format!(r#"{{"action": "search", "value": {value}}}"#));
        let name = format!("the value {}", beginning(value));
        Case::common(&name, request, answer(&format!("No match for '{told}'.")))
    };
    values.iter().map(case).collect()
}

fn actions() -> Vec<Case> {
    let ball = "🐾 Playing ball! 🏐";
    [
        (r#"{"action": "xyz", "value": "ring"}"#, "Error: invalid action 'xyz'."),
        (r#"{"action": "", "value": "ring"}"#, "Error: invalid action ''."),
        (r#"{"action": "SEARCH", "value": "ring"}"#, "Error: invalid action 'SEARCH'."),
        (r#"{"action": "search ", "value": "ring"}"#, "Error: invalid action 'search '."),
        (r#"{"action": "\"", "value": "ring"}"#, r#"Error: invalid action '\"'."#),
        (r#"{"action": "💍"}"#, "Error: invalid action '💍'."),
        (r#"{"value": "ring"}"#, "Error: invalid action 'None'."),
        (r#"{"action": null}"#, "Error: invalid action 'None'."),
        (r#"{"action": true}"#, "Error: invalid action 'True'."),
        (r#"{"action": 5}"#, "Error: invalid action '5'."),
        ("{}", "Error: invalid action 'None'."),
        (r#"{"action": "search"}"#, "No match for 'None'."),
        // The same, written differently.
        (r#"{"value": "🐶", "action": "search"}"#, ball),
        (r#"{"action":"search","value":"🐶"}"#, ball),
        (r#"{"action": "search", "value": "\ud83d\udc36"}"#, ball),
        (r#"{"\u0061ction": "\u0073earch", "value": "🐶"}"#, ball),
        ("\n{\t\"action\" :\r\n\"search\" , \"value\": \"🐶\" } \n", ball),
        (r#"{"action": "search", "value": "🐶", "more": {"a": [1, 2.5, null]}}"#, ball),
        (r#"{"action": "search", "value": "ring", "value": "🐶"}"#, ball),
        (r#"{"action": "xyz", "action": "search", "value": "🐶"}"#, ball),
    ]
    .map(|(content, result)| Case::common(&format!("the request {content}"), json(content), answer(result)))
    .to_vec()
}

/// Cases for which the tutorial's server fails with a traceback, or nests deeper.
fn ours() -> Vec<Case> {
    let nested = format!(r#"{{"more": {}{}}}"#, "[".repeat(126), "]".repeat(126));
    vec![Case::answers("JSON that nests 127 deep", json(&nested), answer("Error: invalid action 'None'."))]
}

fn binaries() -> Vec<Case> {
    let mut cases = Vec::new();
    let contents: [&[u8]; 9] = [
        b"binary\xf0\x9f\x98\x83",
        b"x",
        b"123456789",
        b"1234567890",
        b"12345678901",
        b"\0\xff\xfe\r\n\x80'\"\\",
        b"{\"action\": \"search\", \"value\": \"ring\"}",
        b"",
        &vec![0; 65_536],
    ];
    for content in contents {
        let name = format!("a binary request of {} bytes", content.len());
        cases.push(Case::common(&name, binary(content), binary_answer(&content[..content.len().min(10)])));
    }
    for (content_type, encoding) in [
        ("text/plain", "utf-8"),
        ("text/plain", "no such encoding"),
        ("", ""),
        ("TEXT/JSON", "utf-8"),
        ("text/json; charset=utf-8", "utf-8"),
        ("application/json", "cp1252"),
        ("💍", "💍"),
    ] {
        let sent = message(&typed_header(content_type, encoding, 8), b"\xffuntouch");
        cases.push(Case::common(&format!("the type {content_type:?}"), sent, binary_answer(b"\xffuntouch")));
    }
    cases
}
