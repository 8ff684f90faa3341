//! The units in a booted systemd. `systemd/boot` makes the container, and `systemd/check` runs in it.

use super::support::{skipped, works};
use super::{Program, has, repository, run};
use std::fs;
use std::process::Command;

/// Whether this process may mount file systems in a namespace of its own.
fn can_mount() -> bool {
    works(Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]))
}

#[test]
fn the_service_works_under_systemd() {
    if !has("systemd-nspawn", "the service under systemd") {
        return;
    }
    if !can_mount() {
        return skipped("the service under systemd", "this process cannot mount file systems");
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let programs = Program::server_path().strip_suffix("/multiconn-server").unwrap();
    let output = run(Program::clean(Command::new(repository("tests/deployment/systemd/boot"))).arg(programs).arg(&log));
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    assert!(text.ends_with("all checks passed\n"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
