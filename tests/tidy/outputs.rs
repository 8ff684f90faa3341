//! Output check: only one file writes to stdout and stderr, and it escapes external text.

use crate::source::{Source, line_at, words};
use crate::{Violation, messages};

const WRITER: &str = "src/cli/output.rs";

const STREAMS: [&str; 6] = ["stdout(", "stderr(", "print!", "println!", "eprint!", "eprintln!"];

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let product = sources.iter().filter(|source| source.path.starts_with("src/") && !source.is_test());
    product.filter(|source| source.path != WRITER).flat_map(writes).collect()
}

fn writes(source: &Source) -> Vec<Violation> {
    let code = source.product_code();
    let mut found: Vec<_> = STREAMS.into_iter().flat_map(|text| words(&code, text).map(move |at| (at, text))).collect();
    found.sort_unstable();
    let violation =
        |(at, text): (usize, &str)| Violation::new(source, line_at(&code, at), format!("`{text}` belongs in {WRITER}"));
    found.into_iter().map(violation).collect()
}

#[test]
fn other_writers_are_reported() {
    let bad = "//! println! is not meant.\nfn f() {\n    std::io::stdout().lock();\n    eprintln!(\"print!\");\n}\n\
               #[cfg(test)]\nmod tests {\n    println!();\n}\n";
    let files = [("src/cli/output.rs", bad), ("src/server/a.rs", bad), ("src/a/tests.rs", bad), ("examples/b.rs", bad)];
    let expected = [
        "src/server/a.rs:3: `stdout(` belongs in src/cli/output.rs",
        "src/server/a.rs:4: `eprintln!` belongs in src/cli/output.rs",
    ];
    assert_eq!(messages(check, &files), expected);
    for text in STREAMS {
        let code = format!("fn f() {{ {text} }}");
        assert_eq!(messages(check, &[("src/a.rs", &code)]).len(), 1, "{text}");
    }
}
