//! `scripts/install`: the installed programs run, and all files that belong to them are there.

use super::support::Program;
use super::{PROGRAMS, expect_success, has, repository, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 3] = ["multiconn-server.service", "multiconn-server.socket", "multiconn-client@.service"];

/// Installs the programs under test below `/usr` in a folder.
fn install(folder: &Path) {
    let built = Path::new(Program::server_path()).parent().unwrap();
    let mut command = Program::clean(Command::new(repository("scripts/install")));
    expect_success(command.arg(built).env("DESTDIR", folder).env("PREFIX", "/usr"));
}

/// The files below a folder, as paths relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(current) = folders.pop() {
        for path in fs::read_dir(current).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_folder_without_the_programs_is_named() {
    let (built, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Program::clean(Command::new(repository("scripts/install")));
    let output = run(command.arg(built.path()).env("DESTDIR", folder.path()));
    let expected = format!("there is no program {}/multiconn-server; give a folder", built.path().display());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && stderr.starts_with(&expected), "{stderr}");
    assert_eq!(files(folder.path()), [] as [PathBuf; 0], "nothing is installed");
}

#[test]
fn everything_is_in_place_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path());
    let usr = folder.path().join("usr");
    let arguments = folder.path().join("etc/multiconn-server.conf");
    assert_eq!(arguments.exists(), cfg!(target_os = "linux"));
    let found = files(&usr);
    let mut expected = Vec::new();
    for (name, _) in PROGRAMS {
        expected.extend([
            format!("bin/{name}"),
            format!("share/man/man1/{name}.1"),
            format!("share/bash-completion/completions/{name}"),
            format!("share/zsh/site-functions/_{name}"),
            format!("share/fish/vendor_completions.d/{name}.fish"),
        ]);
        if cfg!(target_os = "linux") && has("objcopy", "separate debug information") {
            expected.push(format!("bin/.debug/{name}.debug"));
        }
    }
    if cfg!(target_os = "linux") {
        expected.extend(UNITS.map(|unit| format!("lib/systemd/system/{unit}")));
    }
    let mut expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
    expected.sort();
    assert_eq!(found, expected);
    for (name, _) in PROGRAMS {
        let program = usr.join("bin").join(name);
        let version = expect_success(Program::clean(Command::new(&program)).arg("--version"));
        assert!(version.starts_with(name), "{version}");
        let built = Path::new(Program::server_path()).with_file_name(name);
        assert!(fs::metadata(&program).unwrap().len() * 2 < fs::metadata(built).unwrap().len(), "{name} is stripped");
    }
    let report =
        expect_success(Program::clean(Command::new(usr.join("bin/multiconn-client"))).args(["--embedded", "-c", "3"]));
    assert!(report.contains("3 connections to "), "{report}");
    // Once more, over the installed files. The arguments are kept.
    if !arguments.exists() {
        return;
    }
    fs::write(&arguments, "127.0.0.1\n").unwrap();
    install(folder.path());
    assert_eq!(files(&usr), expected);
    assert_eq!(fs::read_to_string(arguments).unwrap(), "127.0.0.1\n");
}

/// gdb finds the lines of a stripped program.
#[test]
fn debug_information_is_found() {
    if !cfg!(target_os = "linux")
        || !has("objcopy", "separate debug information")
        || !has("gdb", "reading debug information")
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    install(folder.path());
    let mut gdb = Command::new("gdb");
    gdb.args(["--batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "info line multiconn-server.rs:4"]);
    let lines = expect_success(gdb.arg(folder.path().join("usr/bin/multiconn-server")));
    assert!(lines.contains("src/bin/multiconn-server.rs"), "{lines}");
}
