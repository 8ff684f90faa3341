//! Forbidden words: markers of unfinished or disabled code, also in comments.
//!
//! These checks are exempt because they contain the words.

use crate::source::{Source, is_ident, line_at, words};
use crate::{Violation, messages};

const FORBIDDEN: [&str; 6] = ["todo!", "unimplemented!", "dbg!", "FIXME", "XXX", "#[ignore"];

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("tests/tidy")) {
        let text = &source.text;
        for word in FORBIDDEN {
            // Whole words only: a longer run of letters is a placeholder in data.
            let whole = words(text, word).filter(|offset| !text[offset + word.len()..].starts_with(is_ident));
            violations.extend(
                whole.map(|offset| Violation::new(source, line_at(text, offset), format!("`{word}` must not stay"))),
            );
        }
    }
    violations
}

#[test]
fn each_forbidden_word_is_reported() {
    for word in FORBIDDEN {
        let text = format!("//! x\nfn f() {{\n    {word} (later)\n}}\n");
        let expected = format!("src/a.rs:3: `{word}` must not stay");
        assert_eq!(messages(check, &[("src/a.rs", &text)]), [expected]);
    }
    let comment = [("tests/b.rs", "// FIXME: later\n"), ("tests/tidy/x.rs", "// FIXME\n")];
    assert_eq!(messages(check, &comment), ["tests/b.rs:1: `FIXME` must not stay"]);
    assert!(messages(check, &[("src/c.rs", "\"XXXXXX\" my_dbg!()")]).is_empty());
}
