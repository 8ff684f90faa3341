//! The crate's Rust files, and their code without comments, literals and tests.
//!
//! It does not judge; the checks define violations.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::lexer::{blank, blank_comments_and_strings};

/// One `.rs` file.
pub(crate) struct Source {
    /// Path relative to the crate's directory, with `/` as separator.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and literals blanked, on the same lines.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank_comments_and_strings(text) }
    }

    /// The top-level module under `src/` of this file; none for the crate's root.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let module = inside.split('/').next()?;
        let module = module.strip_suffix(".rs").unwrap_or(module);
        (!["lib", "main"].contains(&module)).then_some(module)
    }

    /// Whether the whole file consists of tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| ["tests.rs", "tests"].contains(&part))
    }

    /// The code with `#[cfg(test)]` items blanked, on the same lines.
    pub(crate) fn product_code(&self) -> String {
        let mut code = self.code.clone();
        for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
            while let Some(start) = code.find(mark) {
                let end = start + item_end(&code[start..]);
                let blanked = blank(&code[start..end]);
                code.replace_range(start..end, &blanked);
            }
        }
        code
    }
}

/// All Rust files of the crate, sorted by path.
pub(crate) fn tree() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for directory in ["benches", "examples", "src", "tests"] {
        if root.join(directory).is_dir() {
            walk(root, directory, &mut sources);
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(root: &Path, directory: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(root.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            walk(root, &path, sources);
        } else if entry.path().extension().is_some_and(|ext| ext == "rs") {
            sources.push(Source::new(&path, &fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// The line, counted from 1, of the byte at `offset`.
pub(crate) fn line_at(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

/// `code` with `ranges` blanked, on the same lines.
pub(crate) fn blank_ranges(code: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut blanked = code.to_owned();
    ranges.for_each(|range| blanked.replace_range(range.clone(), &blank(&code[range])));
    blanked
}

/// Offsets of `needle` that do not follow an identifier character.
pub(crate) fn words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(needle).map(|(offset, _)| offset).filter(|&offset| !code[..offset].ends_with(is_ident))
}

pub(crate) fn is_ident(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Length of the item at the start of `code`: up to its `;` or closing brace, or to the end of the surrounding scope.
pub(crate) fn item_end(code: &str) -> usize {
    let mut depth = 0;
    for (offset, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return offset;
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return offset + 1;
        }
    }
    code.len()
}

/// First segments after a `::`: `a` for `a::B`; `a` and `c` for `{a::B, c::{D, E}}`. Each has its offset in `rest`,
/// which starts right after the `::`.
pub(crate) fn heads(rest: &str) -> Vec<(usize, &str)> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![(0, head(rest))];
    };
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut expected = true;
    for (offset, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            _ if expected && !c.is_whitespace() => {
                heads.push((offset + 1, head(&group[offset..])));
                expected = false;
            }
            _ => {}
        }
    }
    heads
}

fn head(rest: &str) -> &str {
    let end = rest.find(|c| !is_ident(c)).unwrap_or(rest.len());
    // A character that is not a name (`*`) stands for itself.
    if end == 0 { rest.get(..1).unwrap_or("") } else { &rest[..end] }
}

#[test]
fn tests_are_not_product_code() {
    let product = |text| Source::new("src/x.rs", text).product_code();
    let module = "a\n#[cfg(test)]\n#[allow(b)]\nmod tests { c { d } }\ne";
    assert_eq!(product(module).split_whitespace().collect::<String>(), "ae");
    let declaration = "#[cfg(test)]\nmod tests;\nfn a() { b }";
    assert_eq!(product(declaration).trim(), "fn a() { b }");
    assert!(Source::new("src/x/tests.rs", "").is_test());
    assert!(Source::new("src/x/tests/y.rs", "").is_test());
    assert!(!Source::new("src/x/y.rs", "").is_test());
}

#[test]
fn heads_are_first_segments() {
    let names = |rest| heads(rest).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("a::B;"), ["a"]);
    assert_eq!(names("{a::B, c::{D, E},\n    f};"), ["a", "c", "f"]);
    assert_eq!(names("{self, *}"), ["self", "*"]);
}
