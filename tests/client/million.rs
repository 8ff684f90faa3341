//! `scripts/million`: several servers and clients hold one load together.

use super::support::{PATIENCE, Program, has_python, skipped};
use std::path::Path;
use std::process::Command;

/// Four pairs of processes, as they would be needed for more connections than one process has descriptors.
#[test]
fn several_processes_hold_the_connections_of_one_load() {
    if !cfg!(target_os = "linux") {
        return skipped("scripts/million", "it needs Linux");
    }
    if !has_python("scripts/million") {
        return;
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_multiconn-server")).parent().unwrap();
    let mut command = Program::clean(Command::new("scripts/million"));
    command.args(["1000", "--per-process", "250", "--bin"]).arg(programs);
    let exit = Program::spawn(&mut command).await_exit_within(PATIENCE * 2);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    for expected in [
        ": every reply was correct",
        "2,000 due, 2,000 sent, 2,000 answered and verified",
        "open at the same time: 1,000 at the first message, 1,000 after the last",
        "  multiconn-server  ",
        "  kernel, all slab caches  ",
    ] {
        assert!(exit.stdout.iter().any(|line| line.contains(expected)), "{expected:?} is missing in {exit:#?}");
    }
}
