//! Import circles: files of a module do not import each other, directly or through others.
//!
//! A file imports the module that its path names, whether in a `use` or where it is needed. Re-exports (`pub use`) and
//! `mod` import nothing: a module may show the items of files that import from it.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, blank_ranges, heads, item_end, words};
use crate::{Violation, messages};

/// Top-level modules that still have circles. The simulated kernel is one state in several files.
const NOT_CHECKED: [&str; 3] = ["client", "results", "simulated_kernel"];

/// The segments of a module's path, such as `server`, `udp`.
type Module = Vec<String>;

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let checked = |source: &&Source| {
        !source.is_test()
            && source.path.starts_with("src/")
            && source.module().is_some_and(|name| !NOT_CHECKED.contains(&name))
    };
    let files: BTreeMap<Module, &Source> =
        sources.iter().filter(checked).map(|source| (module_of(&source.path), source)).collect();
    let imports: BTreeMap<&Module, BTreeSet<&Module>> =
        files.iter().map(|(module, source)| (module, imports(module, source, &files))).collect();
    let mut violations = Vec::new();
    for (module, source) in &files {
        if let Some(circle) = shortest_circle(module, &imports) {
            let is_first = circle.iter().all(|other| *other >= module);
            if is_first {
                let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
                let what = format!("imports in a circle: {} -> {}", names.join(" -> "), names[0]);
                violations.push(Violation::new(source, 1, what));
            }
        }
    }
    violations
}

fn module_of(path: &str) -> Module {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The modules with a file of their own that `source` imports from.
fn imports<'a>(module: &Module, source: &Source, files: &'a BTreeMap<Module, &Source>) -> BTreeSet<&'a Module> {
    let code = without_reexports(&source.product_code());
    let mut found = BTreeSet::new();
    for start in words(&code, "crate::").filter(|&start| !code[..start].ends_with("in ")) {
        resolve(&[], &code[start + "crate::".len()..], files, &mut found);
    }
    for start in words(&code, "super::").filter(|&start| !code[..start].ends_with("super::")) {
        let rest = code[start..].trim_start_matches("super::");
        let depth = (code.len() - start - rest.len()) / "super::".len();
        resolve(&module[..module.len().saturating_sub(depth)], rest, files, &mut found);
    }
    let children = files.keys().filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
    for child in children {
        let path = format!("{}::", child[module.len()]);
        for start in words(&code, &path).filter(|&start| !code[..start].ends_with("::")) {
            resolve(child, &code[start + path.len()..], files, &mut found);
        }
    }
    found.retain(|other| *other != module);
    found
}

/// Adds the modules that the paths in `rest` lead to, which begin in the module `base`.
fn resolve<'a>(base: &[String], rest: &str, files: &'a BTreeMap<Module, &Source>, found: &mut BTreeSet<&'a Module>) {
    for (offset, name) in heads(rest) {
        let inner = [base, &[name.to_owned()]].concat();
        match rest[offset + name.len()..].strip_prefix("::") {
            Some(rest) if files.contains_key(&inner) => resolve(&inner, rest, files, found),
            _ => {
                let target = files.get_key_value(&inner).or_else(|| files.get_key_value(base));
                found.extend(target.map(|(module, _)| module));
            }
        }
    }
}

/// `code` with `pub use` items blanked.
fn without_reexports(code: &str) -> String {
    let is_public = |start: usize| {
        let line = &code[code[..start].rfind('\n').map_or(0, |end| end + 1)..start];
        line.trim_start().starts_with("pub")
    };
    let ranges = words(code, "use ").filter(|&start| is_public(start));
    blank_ranges(code, ranges.map(|start| start..start + item_end(&code[start..])))
}

/// The shortest circle through `module`, which comes first.
fn shortest_circle<'a>(
    module: &'a Module,
    imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> Option<Vec<&'a Module>> {
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![module]];
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for &next in &imports[path[path.len() - 1]] {
                if next == module {
                    return Some(path);
                }
                if seen.insert(next) {
                    longer.push([&path[..], &[next]].concat());
                }
            }
        }
        paths = longer;
    }
    None
}

#[test]
fn circles_are_reported_once() {
    let files = [
        ("src/server/mod.rs", "mod a;\nmod b;\npub use a::{A};\nuse b::B;\n"),
        ("src/server/a.rs", "use super::b::{B, c::C};\n"),
        ("src/server/b/mod.rs", "use c::C;\n"),
        ("src/server/b/c.rs", "fn f() -> crate::server::a::A { todo() }\n"),
        ("src/socket/mod.rs", "mod x;\nuse x::X;\nstruct Y;\n"),
        ("src/socket/x.rs", "pub(in crate::socket) struct X;\nuse super::Y;\n"),
        ("src/event_loop/mod.rs", "mod p;\npub(crate) use p::P;\n"),
        ("src/event_loop/p.rs", "use super::{q::Q};\n#[cfg(test)]\nmod tests { use super::super::q::Q; }\n"),
        ("src/event_loop/q.rs", "#[cfg(test)]\nmod tests { use crate::event_loop::p::P; }\n"),
        ("src/client/mod.rs", "mod x;\nuse x::X;\n"),
        ("src/client/x.rs", "use super::Y;\n"),
    ];
    assert_eq!(
        messages(check, &files),
        [
            "src/server/a.rs:1: imports in a circle: server::a -> server::b::c -> server::a",
            "src/socket/mod.rs:1: imports in a circle: socket -> socket::x -> socket",
        ]
    );
}
