//! The picture in `src/lib.rs` shows every room that exists, so that it is always true.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::{Violation, complaints};

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let Some(root) = sources.iter().find(|source| source.path == "src/lib.rs") else {
        return Vec::new();
    };
    let header: String = root.text.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    let rooms: BTreeSet<&str> = sources.iter().filter_map(Source::room).collect();
    rooms
        .into_iter()
        .filter(|room| !header.contains(&format!("`{room}`")) && !header.contains(&format!("`{room}/`")))
        .map(|room| Violation::new(root, 1, format!("the picture lacks `{room}`")))
        .collect()
}

#[test]
fn a_room_the_picture_lacks_is_reported() {
    let files = [
        ("src/lib.rs", "//! | [`units`] | `codec/` | socket |\n\n/// `buffer`\npub mod buffer;\n"),
        ("src/units.rs", ""),
        ("src/codec/fixed.rs", ""),
        ("src/buffer.rs", ""),
        ("src/socket/mod.rs", ""),
    ];
    assert_eq!(
        complaints(check, &files),
        ["src/lib.rs:1: the picture lacks `buffer`", "src/lib.rs:1: the picture lacks `socket`"]
    );
}
