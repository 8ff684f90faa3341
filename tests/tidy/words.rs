//! What is unfinished or switched off must not be in the tree, in comments neither.
//!
//! These checks are exempt, since they have to name the words.

use crate::source::{Source, is_ident, line_at, words};
use crate::{Violation, complaints};

const FORBIDDEN: [&str; 6] = ["todo!", "unimplemented!", "dbg!", "FIXME", "XXX", "#[ignore"];

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("tests/tidy")) {
        let text = &source.text;
        for word in FORBIDDEN {
            // Whole words only: a run of more letters is a placeholder in someone's data.
            let whole = words(text, word).filter(|offset| !text[offset + word.len()..].starts_with(is_ident));
            violations.extend(
                whole.map(|offset| Violation::new(source, line_at(text, offset), format!("`{word}` must not stay"))),
            );
        }
    }
    violations
}

#[test]
fn each_word_is_reported() {
    for word in FORBIDDEN {
        let text = format!("//! x\nfn f() {{\n    {word} (later)\n}}\n");
        let expected = format!("src/a.rs:3: `{word}` must not stay");
        assert_eq!(complaints(check, &[("src/a.rs", &text)]), [expected]);
    }
    let comment = [("tests/b.rs", "// FIXME: later\n"), ("tests/tidy/x.rs", "// FIXME\n")];
    assert_eq!(complaints(check, &comment), ["tests/b.rs:1: `FIXME` must not stay"]);
    assert!(complaints(check, &[("src/c.rs", "\"XXXXXX\" my_dbg!()")]).is_empty());
}
