//! Terminal output of a load while it lasts.

use super::server;
use super::support::Program;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::Stdio;

/// Client output on a terminal of the kind `term`, for a load of five seconds.
fn shown(term: &str) -> String {
    let server = server();
    let mut terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = std::ffi::OsString::from_vec(ptsname(&terminal, Vec::new()).unwrap().into_bytes());
    let stderr = File::options().read(true).write(true).open(PathBuf::from(path)).unwrap();
    let address = server.address().to_string();
    let mut command = Program::client_command();
    command.args([&address, "--rate", "100", "--duration", "5s"]).env("TERM", term);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    // The last other descriptor of the terminal.
    drop(command);
    let mut text = Vec::new();
    let read = terminal.read_to_end(&mut text);
    // On Linux, reading then fails because the other end is closed.
    assert!(read.is_ok() || read.is_err_and(|error| error.kind() != ErrorKind::Interrupted));
    assert!(child.wait().unwrap().success());
    String::from_utf8(text).unwrap()
}

#[test]
fn a_dumb_terminal_gets_a_line_per_second() {
    let text = shown("dumb");
    let seconds = text.lines().filter(|line| line.contains(" s: ") && line.contains("p99")).count();
    assert!(seconds >= 2 && !text.contains(['\u{1b}', '[']), "{text}");
    let text = shown("xterm");
    assert!(text.contains(" s: ") && text.contains('\u{1b}'), "a bar under the lines: {text}");
}
