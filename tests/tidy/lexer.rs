//! Minimal Rust lexer that separates code from comments and literals.
//!
//! It serves the checks and is not a parser. It accepts any text, and misclassifies only code that rustfmt would not
//! produce.

use crate::source::is_ident;

/// Replaces comments and literals by spaces, keeping the lines.
pub(crate) fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, is_code) = piece(rest);
        let (piece, after) = rest.split_at(length);
        if is_code {
            code.push_str(piece);
        } else {
            code.push_str(&blank(piece));
        }
        rest = after;
    }
    code
}

/// Replaces all characters except line feeds by spaces.
pub(crate) fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// Length of the comment, literal, identifier or single character at the start of `rest`, and whether it is code.
fn piece(rest: &str) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    let name = rest.find(|c| !is_ident(c)).unwrap_or(rest.len());
    if name > 0 {
        let raw = ["r", "br", "cr"].contains(&&rest[..name]);
        return match raw_string(&rest[name..]).filter(|_| raw) {
            Some(length) => (name + length, false),
            None => (name, true),
        };
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), false);
    }
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => (quoted(rest, '\''), false),
        (first, ..) => (first.map_or(0, char::len_utf8), true),
    }
}

/// Length of a block comment; block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut offset = 0;
    while offset < rest.len() {
        let here = &rest.as_bytes()[offset..];
        if here.starts_with(b"/*") {
            depth += 1;
            offset += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            offset += 2;
            if depth == 0 {
                return offset;
            }
        } else {
            offset += 1;
        }
    }
    rest.len()
}

/// Length of `#"…"#` with any number of `#`, if `rest` starts with one.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    let contents = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = contents.find(&end).map_or(contents.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (offset, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return offset + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_blanked() {
    let code = blank_comments_and_strings;
    assert_eq!(code("a // b\nc"), "a     \nc");
    assert_eq!(code("a /* b /* c\n */ d */ e"), "a          \n         e");
    assert_eq!(code(r#"f("a\"b", c)"#), "f(      , c)");
    assert_eq!(code(r##"r#"a"b"# c"##), "         c");
    assert_eq!(code("'a' 'b: '\\'' '\"' r#in"), "    'b:          r#in");
    assert_eq!(code(r#"b"x" b'"' y"#), "b    b    y");
}
