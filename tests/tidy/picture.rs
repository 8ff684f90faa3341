//! Module table check: the documentation of `src/lib.rs` lists every top-level module.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::{Violation, messages};

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let Some(root) = sources.iter().find(|source| source.path == "src/lib.rs") else {
        return Vec::new();
    };
    let header: String = root.text.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    let modules: BTreeSet<&str> = sources.iter().filter_map(Source::module).collect();
    modules
        .into_iter()
        .filter(|module| !header.contains(&format!("`{module}`")) && !header.contains(&format!("`{module}/`")))
        .map(|module| Violation::new(root, 1, format!("the module table lacks `{module}`")))
        .collect()
}

#[test]
fn missing_module_is_reported() {
    let files = [
        ("src/lib.rs", "//! | [`units`] | `codec/` | socket |\n\n/// `buffer`\npub mod buffer;\n"),
        ("src/units.rs", ""),
        ("src/codec/fixed.rs", ""),
        ("src/buffer.rs", ""),
        ("src/socket/mod.rs", ""),
    ];
    assert_eq!(
        messages(check, &files),
        ["src/lib.rs:1: the module table lacks `buffer`", "src/lib.rs:1: the module table lacks `socket`"]
    );
}
