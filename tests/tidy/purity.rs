//! Purity check: the pure modules use no socket, clock, thread, file or environment, so that a whole connection can be
//! replayed with a simulated clock and socket.
//!
//! `std::io` (for its traits and error kinds) and `std::time::{Duration, Instant}` (time as an argument) are allowed.
//! Tests may use anything.

use crate::source::{Source, heads, line_at, words};
use crate::{Violation, messages};

const PURE_MODULES: [&str; 5] = ["buffer", "codec", "service", "connection", "results"];

const FORBIDDEN_STD: [&str; 6] = ["net", "os", "thread", "fs", "process", "env"];

const FORBIDDEN_TEXTS: [&str; 6] = ["Instant::now", "SystemTime", "mio::", "socket2::", "rustix::", "signal_hook"];

/// What pure modules may name of `socket`: data and the trait of streams, not sockets.
const SOCKET_DATA: [&str; 7] =
    ["Address", "ByteStream", "Endpoint", "ProxyVersion", "SocketOptions", "TlsConnector", "TlsFacts"];

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let pure = sources
        .iter()
        .filter(|source| !source.is_test() && source.module().is_some_and(|module| PURE_MODULES.contains(&module)));
    pure.flat_map(impurities).collect()
}

/// The wall clock can be changed at any time, so it is read for each use, in one file.
pub(crate) fn check_wall_clock(sources: &[Source]) -> Vec<Violation> {
    let product = sources.iter().filter(|source| {
        source.path.starts_with("src/") && source.path != "src/event_loop/wall_clock.rs" && !source.is_test()
    });
    let violations = |source: &Source| {
        let code = source.product_code();
        let found = words(&code, "SystemTime").map(|offset| line_at(&code, offset));
        let violation = |line| Violation::new(source, line, "the wall clock is `event_loop::unix_time`");
        found.map(violation).collect::<Vec<_>>()
    };
    product.flat_map(violations).collect()
}

fn impurities(source: &Source) -> Vec<Violation> {
    let code = source.product_code();
    let mut found = Vec::new();
    for text in FORBIDDEN_TEXTS {
        found.extend(words(&code, text).map(|offset| (offset, text.to_owned())));
    }
    for start in words(&code, "std::").map(|offset| offset + "std::".len()) {
        for (offset, name) in heads(&code[start..]) {
            if FORBIDDEN_STD.contains(&name) {
                found.push((start + offset, format!("std::{name}")));
            }
        }
    }
    for start in words(&code, "crate::socket::").map(|offset| offset + "crate::socket::".len()) {
        for (offset, name) in heads(&code[start..]) {
            if !SOCKET_DATA.contains(&name) {
                found.push((start + offset, format!("socket::{name}")));
            }
        }
    }
    found.sort();
    let violation = |(offset, text)| {
        let what = format!("`{text}` does not belong in a pure module");
        Violation::new(source, line_at(&code, offset), what)
    };
    found.into_iter().map(violation).collect()
}

#[test]
fn impurity_is_reported() {
    let bad = "\
//! No std::net here.
use std::time::{Duration, Instant};
use std::{io, net::{IpAddr, TcpStream}, thread};
#[cfg(test)]
mod tests;
fn f(now: Instant) {
    let later = Instant::now();
    let text = \"std::fs\";
    mio::Poll::new(std::env::args());
}
#[cfg(test)]
mod more_tests {
    use std::fs;
}
";
    let sockets = "use crate::socket::{Address, Stream};\nfn f() -> crate::socket::TlsConnector {}\n";
    let files = [
        ("src/codec/fixed.rs", bad),
        ("src/codec/tests.rs", bad),
        ("src/socket.rs", bad),
        ("src/client/runner.rs", bad),
        ("src/service/context.rs", sockets),
    ];
    assert_eq!(
        messages(check, &files),
        [
            "src/codec/fixed.rs:3: `std::net` does not belong in a pure module",
            "src/codec/fixed.rs:3: `std::thread` does not belong in a pure module",
            "src/codec/fixed.rs:7: `Instant::now` does not belong in a pure module",
            "src/codec/fixed.rs:9: `mio::` does not belong in a pure module",
            "src/codec/fixed.rs:9: `std::env` does not belong in a pure module",
            "src/service/context.rs:1: `socket::Stream` does not belong in a pure module",
        ]
    );
}

#[test]
fn each_forbidden_name_is_reported() {
    let std = FORBIDDEN_STD.map(|name| format!("std::{name}"));
    for text in std.iter().map(String::as_str).chain(FORBIDDEN_TEXTS) {
        let code = format!("fn f() {{ {text} }}");
        for module in PURE_MODULES {
            let path = format!("src/{module}/mod.rs");
            assert_eq!(messages(check, &[(&path, &code)]).len(), 1, "{text} in {module}");
        }
    }
}

#[test]
fn other_wall_clocks_are_reported() {
    let text = "fn f() { SystemTime::now(); }";
    let files = [("src/event_loop/wall_clock.rs", text), ("src/server/mod.rs", text), ("tests/server/x.rs", text)];
    assert_eq!(messages(check_wall_clock, &files), ["src/server/mod.rs:1: the wall clock is `event_loop::unix_time`"]);
}
