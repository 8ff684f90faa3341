//! Import order: each top-level module may refer only to those of earlier groups.
//!
//! Test code follows the same order: a module whose tests need a later one is tested under `tests/`. Only `testing` is
//! open to the tests of every module. Imports through the crate's root are rejected: a module names the module it
//! imports from.

use std::collections::BTreeSet;

use crate::source::{Source, heads, line_at, words};
use crate::{Violation, messages};

/// Modules of equal rank, which do not refer to each other.
struct Group {
    modules: &'static [&'static str],
    /// Number of groups, counted from the first, that these modules may refer to.
    visible_groups: usize,
}

const GROUPS: [Group; 14] = [
    // Number formatting, which errors and the log need, too. Synchronization.
    group(&["units", "sync"], 0),
    // Text, and what takes the place of the system in simulations.
    group(
        &[
            "python_repr",
            "escape",
            "counter",
            "error",
            "log_targets",
            "panic_guard",
            "moment",
            "random",
            "simulated_kernel",
        ],
        1,
    ),
    // Pure: no socket, clock or thread.
    group(&["buffer"], 2),
    group(&["codec"], 3),
    // Sockets, independent of the pure modules.
    group(&["socket"], 2),
    // Pure as well. Of `socket` they name data types only, which the purity check lists.
    group(&["service"], 5),
    group(&["connection"], 6),
    // The loop, independent of all of these.
    group(&["event_loop"], 2),
    // Joins them.
    group(&["pump"], 8),
    // Results of a run: pure, too, and independent of server and event loop.
    group(&["results"], 2),
    // Server and client.
    group(&["server", "client"], 10),
    // Command lines.
    group(&["cli"], 11),
    // Tests in memory: drives connections through the pump, and is imported by test code only.
    group(&[TEST_KIT], 9),
    group(&[PROGRAMS], 13),
];

/// May be used by the tests of every module.
const TEST_KIT: &str = "testing";

/// May use everything. Its `crate::` is the program, not the library.
const PROGRAMS: &str = "bin";

const fn group(modules: &'static [&'static str], visible_groups: usize) -> Group {
    Group { modules, visible_groups }
}

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut unknown = BTreeSet::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        let Some(rank) = rank(module) else {
            if unknown.insert(module) {
                let what = format!("module `{module}` is in no group");
                violations.push(Violation::new(source, 1, what));
            }
            continue;
        };
        if module == PROGRAMS {
            continue;
        }
        let product_code = source.product_code();
        for (offset, name) in root_names(source) {
            let is_test_code = source.is_test() || !product_code[offset..].starts_with(name);
            if name == TEST_KIT && is_test_code {
                continue;
            }
            if let Some(what) = violation(module, rank, name) {
                violations.push(Violation::new(source, line_at(&source.code, offset), what));
            }
        }
    }
    violations
}

fn rank(module: &str) -> Option<usize> {
    GROUPS.iter().position(|group| group.modules.contains(&module))
}

fn violation(module: &str, own_rank: usize, name: &str) -> Option<String> {
    match rank(name) {
        _ if name == module => None,
        Some(rank) if rank < GROUPS[own_rank].visible_groups => None,
        Some(_) => Some(format!("`{module}` must not refer to `{name}`")),
        None => Some(format!("`{name}` is imported from the crate's root; name its module")),
    }
}

/// Every name looked up in the crate's root, with its offset in the code.
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

/// Offsets right after chains of `super::` that reach the crate's root.
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

/// Depth of a file's module: 1 for `src/buffer.rs` and `src/buffer/mod.rs`.
fn file_depth(path: &str) -> usize {
    let parts = path.trim_end_matches("/mod.rs").matches('/').count();
    parts.max(1)
}

#[test]
fn wrong_import_is_reported() {
    let files = [
        ("src/buffer.rs", "use crate::units::Size;\nuse crate::{\n    error,\n    codec::{Frame, Kind},\n};\n"),
        ("src/socket/tcp.rs", "fn f() -> crate::buffer::Buffer {}\n"),
        ("src/server/mod.rs", "// crate::client is far away\n/// [`crate::client`]\nuse crate::client::Runner;\n"),
        ("src/client.rs", "use crate::{client::X, pump, server};\n"),
        ("src/cli/mod.rs", "use crate::{server, client};\nfn f() { super::bin::run(); }\n"),
        ("src/lib.rs", "use crate::bin;\n"),
        ("src/service/http.rs", "use crate::testing::A;\n#[cfg(test)]\nmod tests {\n    use crate::testing::B;\n}\n"),
        ("src/service/http/tests.rs", "use crate::testing::A;\nuse crate::pump::P;\n"),
        ("src/error.rs", "use crate::Shortcut;\nuse super::*;\nconst A: u8 = crate::number!();\n"),
    ];
    assert_eq!(
        messages(check, &files),
        [
            "src/buffer.rs:4: `buffer` must not refer to `codec`",
            "src/socket/tcp.rs:1: `socket` must not refer to `buffer`",
            "src/server/mod.rs:3: `server` must not refer to `client`",
            "src/client.rs:1: `client` must not refer to `server`",
            "src/cli/mod.rs:2: `cli` must not refer to `bin`",
            "src/service/http.rs:1: `service` must not refer to `testing`",
            "src/service/http/tests.rs:2: `service` must not refer to `pump`",
            "src/error.rs:1: `Shortcut` is imported from the crate's root; name its module",
            "src/error.rs:2: `*` is imported from the crate's root; name its module",
        ]
    );
}

#[test]
fn super_chains_are_followed_to_the_root() {
    let files = [
        ("src/codec/mod.rs", "use super::pump;\nmod tests {\n    use super::*;\n    use super::super::pump;\n}\n"),
        ("src/codec/fixed.rs", "use super::pump;\nuse super::super::{buffer, socket};\n"),
    ];
    assert_eq!(
        messages(check, &files),
        [
            "src/codec/mod.rs:1: `codec` must not refer to `pump`",
            "src/codec/mod.rs:4: `codec` must not refer to `pump`",
            "src/codec/fixed.rs:2: `codec` must not refer to `socket`",
        ]
    );
}

#[test]
fn unknown_module_is_reported_once() {
    let files = [("src/utils/a.rs", ""), ("src/utils/b.rs", ""), ("src/lib.rs", "")];
    let expected = "src/utils/a.rs:1: module `utils` is in no group";
    assert_eq!(messages(check, &files), [expected]);
}
