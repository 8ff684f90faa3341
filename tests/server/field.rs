//! `scripts/bench-field`: the servers that it compares with ours echo what they receive, also to a slow reader.

use super::support::{PATIENCE, Program, has_python, skipped};
use std::process::Command;

/// Those that are built within a second.
const SERVERS: [&str; 5] = ["libuv", "libevent", "node", "selectors", "uvloop"];

#[test]
fn the_servers_of_the_comparison_echo() {
    if !cfg!(target_os = "linux") {
        return skipped("scripts/bench-field", "it needs Linux");
    }
    if !has_python("scripts/bench-field") {
        return;
    }
    let mut command = Program::clean(Command::new("scripts/bench-field"));
    let exit = Program::spawn(command.arg("--check").args(SERVERS)).await_exit_within(6 * PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    // That of Python is always there.
    assert!(exit.stderr.iter().any(|line| line.starts_with("verified: ") && line.contains("selectors")), "{exit:#?}");
    for line in exit.stderr.iter().filter_map(|line| line.strip_prefix("  skipped: ")) {
        skipped("scripts/bench-field", line);
    }
}
