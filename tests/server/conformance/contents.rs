//! Message contents that are not valid requests.

use super::case::{Case, beginning, json};

pub(super) fn cases() -> Vec<Case> {
    let not_json = "the content is not JSON: ";
    let object = "expected an object with an action and a value";
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let cases = [
        (String::new(), format!("{not_json}it is empty")),
        (" \n".to_owned(), format!("{not_json}EOF while parsing a value")),
        ("ring".to_owned(), format!("{not_json}expected value at line 1 column 1")),
        ("{\"action\": \"search\", ".to_owned(), format!("{not_json}EOF while parsing")),
        ("{\"action\": \"search\"} x".to_owned(), format!("{not_json}trailing characters")),
        ("{\"action\": \"search\"}{}".to_owned(), format!("{not_json}trailing characters")),
        ("{'action': 'search'}".to_owned(), format!("{not_json}key must be a string")),
        ("{\"action\": \"a\nb\"}".to_owned(), format!("{not_json}control character")),
        (r#"{"action": "\ud83d"}"#.to_owned(), not_json.to_owned()),
        (r#"{"action": "\x41"}"#.to_owned(), format!("{not_json}invalid escape")),
        (r#"{"action": NaN}"#.to_owned(), format!("{not_json}expected value")),
        (r#"{"action": 1e999}"#.to_owned(), format!("{not_json}number out of range")),
        (deep(128), format!("{not_json}recursion limit exceeded")),
        (deep(30_000), format!("{not_json}recursion limit exceeded")),
        ("{\"a\":".repeat(10_000), format!("{not_json}recursion limit exceeded")),
        ("[]".to_owned(), format!("the request is an array; {object}")),
        (deep(127), format!("the request is an array; {object}")),
        ("\"search\"".to_owned(), format!("the request is a string; {object}")),
        ("1".to_owned(), format!("the request is a number; {object}")),
        ("1.5".to_owned(), format!("the request is a fraction; {object}")),
        ("null".to_owned(), format!("the request is null; {object}")),
        ("true".to_owned(), format!("the request is a boolean; {object}")),
        (r#"{"action": ["search"]}"#.to_owned(), "the request's 'action' is an array; expected a string".to_owned()),
        (r#"{"action": {}}"#.to_owned(), "the request's 'action' is an object; expected a string".to_owned()),
        (value("[]"), "the request's 'value' is an array; expected a string".to_owned()),
        (value(r#"{"a": 1}"#), "the request's 'value' is an object; expected a string".to_owned()),
        (value("1.5"), "the request's 'value' is a fraction; expected a string".to_owned()),
    ];
    let case = |(content, words): &(String, String)| {
        Case::refused(&format!("the content {:?} of {} bytes", beginning(content), content.len()), json(content), words)
    };
    cases.iter().map(case).collect()
}

fn value(value: &str) -> String {
    format!(r#"{{"action": "search", "value": {value}}}"#)
}
