//! Length check: files of at most 800 lines, functions of at most 70.
//!
//! Comment lines count, too: moving code into comments does not help.

use crate::source::{Source, is_ident, item_end, line_at, words};
use crate::{Violation, messages};

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            let what = format!("{lines} lines, {FILE_LINES} at most");
            violations.push(Violation::new(source, FILE_LINES + 1, what));
        }
        for (line, name, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES {
                let what = format!("`fn {name}` has {lines} lines, {FUNCTION_LINES} at most");
                violations.push(Violation::new(source, line, what));
            }
        }
    }
    violations
}

/// First line, name and number of lines of every function, from `fn` to the closing brace.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let mut functions = Vec::new();
    for start in words(code, "fn ") {
        let item = &code[start..start + item_end(&code[start..])];
        let signature = &item["fn ".len()..];
        let name = &signature[..signature.find(|c| !is_ident(c)).unwrap_or(signature.len())];
        // A macro's `fn $name` is counted, too.
        functions.push((line_at(code, start), name, item.lines().count()));
    }
    functions
}

#[test]
fn long_file_is_reported() {
    let just_right = "//! x\n".repeat(FILE_LINES);
    let too_long = "//! x\n".repeat(FILE_LINES + 1);
    let files = [("src/a.rs", just_right.as_str()), ("tests/b.rs", &too_long)];
    assert_eq!(messages(check, &files), ["tests/b.rs:801: 801 lines, 800 at most"]);
}

#[test]
fn long_function_is_reported() {
    let function = |name: &str, statements: usize| {
        format!("    pub fn {name}(a: [u8; 2]) {{\n{}    }}\n", "        x; // }\n".repeat(statements))
    };
    let text = [
        "trait T {\n    fn declared(&self);\n    fn short() {}\n}\n",
        &function("just_right", FUNCTION_LINES - 2),
        &function("too_long", FUNCTION_LINES - 1),
    ]
    .concat();
    assert_eq!(messages(check, &[("src/a.rs", &text)]), ["src/a.rs:75: `fn too_long` has 71 lines, 70 at most"]);
}
