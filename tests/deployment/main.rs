//! The programs where users run them: observed by Prometheus, in containers, in clusters and under a service manager.
//!
//! The files of `scripts/` are checked by the tools that read them. Where a tool is not installed, its test is skipped,
//! with a line.

#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod cluster;
mod config_file;
#[cfg(target_os = "linux")]
mod container;
#[cfg(target_os = "linux")]
mod first_process;
mod generated;
mod install;
mod kubernetes;
mod prometheus;
#[cfg(target_os = "linux")]
mod shard_unit;
#[path = "../support/mod.rs"]
mod support;
mod systemd;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use support::{Program, skipped, works};

/// Makes the command of a program.
type MakeCommand = fn() -> Command;

/// The programs and their names.
const PROGRAMS: [(&str, MakeCommand); 3] = [
    ("multiconn-server", Program::server_command),
    ("multiconn-client", Program::client_command),
    ("multiconn-report", Program::report_command),
];

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether `tool` is installed; if not, reports that `what` is skipped.
fn has(tool: &str, what: &str) -> bool {
    let found = works(Command::new(tool).arg("--version"));
    if !found {
        skipped(what, &format!("there is no {tool} here"));
    }
    found
}

/// Runs a tool to its end, and returns its output.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let name = format!("{command:?}");
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a tool, and expects that it succeeds.
#[track_caller]
fn expect_success(command: &mut Command) -> String {
    let output = run(command);
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}
