//! The units in a booted systemd. `systemd/boot` makes the container, and `systemd/check` runs in it.

use super::support::{skipped, works};
use super::{Program, has, repository, run};
use std::fs;
use std::process::{Command, Output};

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
    // A boot that ends before its check begins says nothing about the units.
    let boot = (0..3).map(|_| Boot::new()).find(|boot| !boot.log.is_empty());
    let Boot { log, console } = boot.expect("the check begins in one of three boots");
    assert!(log.ends_with("all checks passed\n"), "{log}\n{console}");
}

/// A boot of systemd that has ended.
struct Boot {
    /// What the check wrote.
    log: String,
    console: String,
}

impl Boot {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let programs = Program::server_path().strip_suffix("/multiconn-server").unwrap();
        let command = Command::new(repository("tests/deployment/systemd/boot"));
        let Output { stdout, stderr, .. } = run(Program::clean(command).arg(programs).arg(&log));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { log: text(&fs::read(&log).unwrap_or_default()), console: text(&stdout) + &text(&stderr) }
    }
}
