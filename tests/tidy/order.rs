//! The import order of the rooms: each may refer only to what stands above it in the picture.
//!
//! Test code keeps the order too: a room that needs a later one to be tested is tested under
//! `tests/`. The crate's root is no detour: what a room wants from another it takes by its name.

use std::collections::BTreeSet;

use crate::source::{Source, heads, line_at, words};
use crate::{Violation, complaints};

/// Rooms that stand side by side and do not know each other.
struct Group {
    rooms: &'static [&'static str],
    /// How many of the groups, counted from the first, these rooms may refer to.
    sees: usize,
}

const GROUPS: [Group; 12] = [
    // Numbers as text, which errors and the log need, too.
    group(&["units"], 0),
    // Words.
    group(&["python_repr", "escape", "counter", "error", "guard"], 1),
    // Pure: no socket, no clock, no thread.
    group(&["buffer"], 2),
    group(&["codec"], 3),
    group(&["service"], 4),
    group(&["connection"], 5),
    // Touches the system, and knows nothing of the pure middle.
    group(&["socket", "event_loop"], 2),
    // Joins them.
    group(&["pump"], 7),
    // What a run left behind: pure, too, and read without a server or a loop.
    group(&["results"], 2),
    // Programs.
    group(&["server", "client"], 9),
    // Faces.
    group(&["cli"], 10),
    group(&[PROGRAMS], 11),
];

/// May use everything, and its `crate::` is not the library but the program itself.
const PROGRAMS: &str = "bin";

const fn group(rooms: &'static [&'static str], sees: usize) -> Group {
    Group { rooms, sees }
}

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut unknown = BTreeSet::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        let Some(rank) = rank(room) else {
            if unknown.insert(room) {
                let what = format!("room `{room}` is in no group: add it to the picture");
                violations.push(Violation::new(source, 1, what));
            }
            continue;
        };
        if room == PROGRAMS {
            continue;
        }
        for (offset, name) in root_names(source) {
            if let Some(what) = objection(room, rank, name) {
                violations.push(Violation::new(source, line_at(&source.code, offset), what));
            }
        }
    }
    violations
}

fn rank(room: &str) -> Option<usize> {
    GROUPS.iter().position(|group| group.rooms.contains(&room))
}

fn objection(room: &str, own_rank: usize, name: &str) -> Option<String> {
    match rank(name) {
        _ if name == room => None,
        Some(rank) if rank < GROUPS[own_rank].sees => None,
        Some(_) => Some(format!("`{room}` must not know `{name}`")),
        None => Some(format!("`{name}` is taken from the crate's root: name its room instead")),
    }
}

/// Every name that is looked up in the crate's root, with its offset in the code.
fn root_names(source: &Source) -> Vec<(usize, &str)> {
    let code = source.code.as_str();
    let absolute = words(code, "crate::").map(|offset| offset + "crate::".len());
    let mut names = Vec::new();
    for start in absolute.chain(supers_at_root(source)) {
        for (offset, name) in heads(&code[start..]) {
            let is_macro = code[start + offset + name.len()..].starts_with('!');
            if !is_macro {
                names.push((start + offset, name));
            }
        }
    }
    names
}

/// Where a chain of `super::` has climbed to the crate's root: the offsets right after it.
fn supers_at_root(source: &Source) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut inline_modules: Vec<String> = Vec::new();
    let mut line_start = 0;
    for line in source.code.split_inclusive('\n') {
        let indent = &line[..line.len() - line.trim_start().len()];
        if inline_modules.last().is_some_and(|last| line.trim_end() == format!("{last}}}")) {
            inline_modules.pop();
        }
        let depth = file_depth(&source.path) + inline_modules.len();
        for offset in words(line, "super::").filter(|&at| !line[..at].ends_with("super::")) {
            let chain = &line[offset..];
            let rest = chain.trim_start_matches("super::");
            if (chain.len() - rest.len()) / "super::".len() >= depth {
                starts.push(line_start + line.len() - rest.len());
            }
        }
        let is_module = words(line, "mod ").next().is_some();
        if is_module && line.trim_end().ends_with('{') {
            inline_modules.push(indent.to_owned());
        }
        line_start += line.len();
    }
    starts
}

/// How deep a file's module lies: 1 for `src/buffer.rs` and `src/buffer/mod.rs`.
fn file_depth(path: &str) -> usize {
    let parts = path.trim_end_matches("/mod.rs").matches('/').count();
    parts.max(1)
}

#[test]
fn a_wrong_import_is_reported() {
    let files = [
        ("src/buffer.rs", "use crate::units::Size;\nuse crate::{\n    error,\n    codec::{Frame, Kind},\n};\n"),
        ("src/socket/tcp.rs", "fn f() -> crate::buffer::Buffer {}\n"),
        ("src/server/mod.rs", "// crate::client is far away\n/// [`crate::client`]\nuse crate::client::Runner;\n"),
        ("src/client.rs", "use crate::{client::X, pump, server};\n"),
        ("src/cli/mod.rs", "use crate::{server, client};\nfn f() { super::bin::run(); }\n"),
        ("src/lib.rs", "use crate::bin;\n"),
        ("src/error.rs", "use crate::Shortcut;\nuse super::*;\nconst A: u8 = crate::number!();\n"),
    ];
    assert_eq!(
        complaints(check, &files),
        [
            "src/buffer.rs:4: `buffer` must not know `codec`",
            "src/socket/tcp.rs:1: `socket` must not know `buffer`",
            "src/server/mod.rs:3: `server` must not know `client`",
            "src/client.rs:1: `client` must not know `server`",
            "src/cli/mod.rs:2: `cli` must not know `bin`",
            "src/error.rs:1: `Shortcut` is taken from the crate's root: name its room instead",
            "src/error.rs:2: `*` is taken from the crate's root: name its room instead",
        ]
    );
}

#[test]
fn super_is_followed_to_the_root() {
    let files = [
        ("src/codec/mod.rs", "use super::pump;\nmod tests {\n    use super::*;\n    use super::super::pump;\n}\n"),
        ("src/codec/fixed.rs", "use super::pump;\nuse super::super::{buffer, socket};\n"),
    ];
    assert_eq!(
        complaints(check, &files),
        [
            "src/codec/mod.rs:1: `codec` must not know `pump`",
            "src/codec/mod.rs:4: `codec` must not know `pump`",
            "src/codec/fixed.rs:2: `codec` must not know `socket`",
        ]
    );
}

#[test]
fn an_unknown_room_is_reported_once() {
    let files = [("src/utils/a.rs", ""), ("src/utils/b.rs", ""), ("src/lib.rs", "")];
    let expected = "src/utils/a.rs:1: room `utils` is in no group: add it to the picture";
    assert_eq!(complaints(check, &files), [expected]);
}
