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
    // A boot that ends before its check begins says nothing about the units.
    let log = (0..3).map(|_| boot()).find(|log| !log.is_empty());
    let log = log.expect("the check began in none of three boots");
    assert!(log.ends_with("all checks passed\n"), "{log}");
}

/// Boots systemd; returns what the check wrote, and prints the console if it did not pass.
fn boot() -> String {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let programs = Program::server_path().strip_suffix("/multiconn-server").unwrap();
    let output = run(Program::clean(Command::new(repository("tests/deployment/systemd/boot"))).arg(programs).arg(&log));
    let log = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    if !log.ends_with("all checks passed\n") {
        let [console, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        println!("{console}\n{error}");
    }
    log
}
