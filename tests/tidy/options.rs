//! Option check: only the command lines name command-line options. The library names its own settings.

use crate::source::Source;
use crate::{Violation, messages};

/// Directories of the command lines.
const PROGRAMS: [&str; 2] = ["src/cli/", "src/bin/"];

const TEST_MODULE: &str = "#[cfg(test)]\nmod tests {";

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let library = sources.iter().filter(|source| source.path.starts_with("src/") && !source.is_test());
    let library = library.filter(|source| !PROGRAMS.iter().any(|directory| source.path.starts_with(directory)));
    library.flat_map(named_options).collect()
}

/// Outside of comments, `--` before a name occurs in literals only.
fn named_options(source: &Source) -> impl Iterator<Item = Violation> {
    let product = source.text.split(TEST_MODULE).next().unwrap_or_default();
    let lines = product.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .filter(|(_, line)| names_option(line))
        .map(|(index, _)| Violation::new(source, index + 1, "names a command-line option, which belongs in src/cli"))
}

fn names_option(line: &str) -> bool {
    line.match_indices("--").any(|(offset, dashes)| {
        let is_start = !line[..offset].ends_with(['-', '!']);
        is_start && line[offset + dashes.len()..].starts_with(|next: char| next.is_ascii_lowercase() || next == '{')
    })
}

#[test]
fn options_in_the_library_are_reported() {
    let text = "//! See --help.\nfn f() {\n    // --help\n    g(\"see --help\");\n    g(\"<!--a--> -----BEGIN a -- b\");\n    \
                g(\"--{name}\");\n}\n#[cfg(test)]\nmod tests {\n    \"--help\";\n}\n";
    let files = [("src/a.rs", text), ("src/cli/b.rs", text), ("src/a/tests.rs", text), ("tests/c.rs", text)];
    let expected = [4, 6].map(|line| format!("src/a.rs:{line}: names a command-line option, which belongs in src/cli"));
    assert_eq!(messages(check, &files), expected);
}
