//! The crate's Rust files, and where in them the code is: without comments, literals, tests.
//!
//! It must never judge: what is a violation is for the checks to say.

use std::fs;
use std::path::Path;

use crate::lexer::{blank, blank_comments_and_strings};

/// One `.rs` file.
pub(crate) struct Source {
    /// Relative to the crate's directory, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and literals blanked; the same lines.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank_comments_and_strings(text) }
    }

    /// The top-level module under `src/` this file belongs to; none for the crate's root.
    pub(crate) fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split('/').next()?;
        let room = room.strip_suffix(".rs").unwrap_or(room);
        (!["lib", "main"].contains(&room)).then_some(room)
    }

    /// Whether the whole file is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| ["tests.rs", "tests"].contains(&part))
    }

    /// The code with the items under `#[cfg(test)]` blanked; the same lines.
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

/// Every Rust file of the crate, in the order of the paths.
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

/// The line, counted from 1, that the byte at `offset` is on.
pub(crate) fn line_at(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

/// Where `needle` occurs without an identifier's character right before it.
pub(crate) fn words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(needle).map(|(offset, _)| offset).filter(|&offset| !code[..offset].ends_with(is_ident))
}

pub(crate) fn is_ident(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The length of the item that `code` starts with: to the `;` or the closing brace that ends it,
/// or to where the scope around it ends.
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

/// The names a path goes on with: `a::B` goes on with `a`, `{a::B, c::{D, E}}` with `a` and `c`.
/// Each with its offset in `rest`, which starts right after a `::`.
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
    // What is no name (`*`) stands for itself.
    if end == 0 { rest.get(..1).unwrap_or("") } else { &rest[..end] }
}

#[test]
fn tests_are_not_product() {
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
fn paths_go_on_with_their_heads() {
    let names = |rest| heads(rest).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("a::B;"), ["a"]);
    assert_eq!(names("{a::B, c::{D, E},\n    f};"), ["a", "c", "f"]);
    assert_eq!(names("{self, *}"), ["self", "*"]);
}
