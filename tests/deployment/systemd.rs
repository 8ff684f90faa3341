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
    let programs = Program::server_path().strip_suffix("/multiconn-server").unwrap();
    // A boot that ends before its check begins can be the fault of this machine.
    let mut boot = Boot::new(programs);
    for _ in 1..3 {
        if boot.log.is_empty() {
            boot = Boot::new(programs);
        }
    }
    if boot.log.is_empty() {
        let Boot { log, console } = Boot::new("");
        if log != ALL_PASSED {
            let why = console.lines().rfind(|line| !line.is_empty()).unwrap_or("no message");
            return skipped("the service under systemd", &format!("systemd does not boot in a container: {why}"));
        }
    }
    let Boot { log, console } = boot;
    assert!(log.ends_with(ALL_PASSED), "{log}\n{console}");
}

/// What a check writes last.
const ALL_PASSED: &str = "all checks passed\n";

/// A boot of systemd that has ended.
struct Boot {
    /// What the check wrote.
    log: String,
    console: String,
}

impl Boot {
    /// Installs the programs of a folder and checks them; without a folder, checks only that systemd boots.
    fn new(programs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let command = Command::new(repository("tests/deployment/systemd/boot"));
        let Output { stdout, stderr, .. } = run(Program::clean(command).arg(programs).arg(&log));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { log: text(&fs::read(&log).unwrap_or_default()), console: text(&stdout) + &text(&stderr) }
    }
}
