//! Commands and links of README.md and docs/: every command of a `console` block works, every relative link names a file.
//!
//! In a `console` block a line after `$ ` is a command, and other lines are output, which is not compared. The commands
//! of a document run in order, by sh(1), in a directory of their own, and must exit with 0. After `; echo $?` the last
//! line of the output must be the documented status.
//!
//! - `multiconn-server` runs in the background, until the next one or the end of the document. Then SIGTERM must end it
//!   with status 0.
//! - The ports 65432 and 9464 stand for free ports, and the word `PID` for the server's process.
//! - Runs are shorter than documented, see [`SHORTER`].
//! - A command is skipped, visibly, if a program that it needs is not installed.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Program, skipped, works};
use tempfile::TempDir;

/// Parts of commands that would take too long, and what replaces them.
const SHORTER: [(&str, &str); 4] = [
    ("--duration 10s", "--duration 1s"),
    ("--warm-up 1s", "--warm-up 100ms"),
    ("--hold 5s", "--hold 200ms"),
    (" 10000 ", " 100 "),
];

/// The maximum length of README.md, in lines.
const README_LINES: usize = 150;

/// A command of a document, with the lines that follow it in its block.
#[derive(Debug)]
struct Example {
    /// Path and line, for messages.
    place: String,
    command: String,
    output: Vec<String>,
}

/// Runs the examples of one document.
struct Runner {
    directory: TempDir,
    server: Option<Program>,
    /// The server's process, which is another one after a handover.
    pid: Option<Pid>,
    /// A documented port, and the port that is used instead.
    ports: Vec<(&'static str, String)>,
}

#[test]
fn every_command_works() {
    let documents = documents();
    assert!(documents.iter().map(|(path, text)| examples(path, text).len()).sum::<usize>() > 0);
    std::thread::scope(|scope| {
        for (path, text) in &documents {
            scope.spawn(|| run_all(path, text));
        }
    });
}

#[test]
#[should_panic(expected = "a.md:2: `exit 3` ended with Some(3)")]
fn a_failing_command_is_reported() {
    run_all("a.md", "```console\n$ exit 3\n```\n");
}

#[test]
#[should_panic(expected = "another exit status")]
fn a_wrong_status_is_reported() {
    run_all("a.md", "```console\n$ false; echo $?\n0\n```\n");
}

#[test]
fn every_relative_link_names_a_file() {
    let documents = documents();
    let broken: Vec<String> = documents.iter().flat_map(|(path, text)| broken_links(path, text)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let text = "[a](README.md#x) [b](https://example.org) [c](#here)\n[d](no.md)\n[e]: docs/none.md\n";
    assert_eq!(broken_links("README.md", text), ["README.md: no.md", "README.md: docs/none.md"]);
}

#[test]
fn every_service_is_documented() {
    let help = Program::server(&["--help"]).await_exit().stdout;
    let services = help.iter().skip_while(|line| !line.contains("--service <NAME>")).skip(2);
    let names: Vec<&str> = services.map_while(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"echo"), "{names:?}");
    let page = fs::read_to_string(root().join("docs/server.md")).unwrap();
    let missing: Vec<_> = names.iter().filter(|name| !page.contains(&format!("\n| `{name}`"))).collect();
    assert!(missing.is_empty(), "docs/server.md has no row for {missing:?}");
}

#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines, {README_LINES} at most");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path and text of README.md and of each file in docs/.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        paths.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    assert!(paths.len() > 1, "docs/ is empty");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap())).collect()
}

/// The commands of the `console` blocks.
fn examples(path: &str, text: &str) -> Vec<Example> {
    let (mut examples, mut block): (Vec<Example>, Option<bool>) = (Vec::new(), None);
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_none() { Some(language == "console") } else { None };
        } else if block == Some(true) {
            match line.strip_prefix("$ ") {
                Some(command) => examples.push(Example {
                    place: format!("{path}:{}", index + 1),
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None => examples.last_mut().expect("a command before its output").output.push(line.to_owned()),
            }
        }
    }
    examples
}

fn run_all(path: &str, text: &str) {
    let mut runner = Runner { directory: TempDir::new().unwrap(), server: None, pid: None, ports: Vec::new() };
    for example in examples(path, text) {
        if let Some(program) = missing_program(&example.command) {
            skipped(&format!("{}: {}", example.place, example.command), &format!("{program} is not installed"));
        } else if example.command.starts_with("multiconn-server ") {
            runner.start_server(&example);
        } else {
            runner.run(&example);
        }
    }
    runner.stop_server();
}

/// A program of a command line that sh(1) does not find.
fn missing_program(command: &str) -> Option<&str> {
    let programs = command.split(['|', ';', '&']).filter_map(|part| part.split_whitespace().next());
    let is_known = |program: &str| program.starts_with("multiconn-") || program.contains(['=', '>']);
    let is_found = |program: &str| works(Command::new("sh").args(["-c", &format!("command -v {program}")]));
    programs.into_iter().find(|program| !is_known(program) && !is_found(program))
}

impl Runner {
    fn start_server(&mut self, example: &Example) {
        self.stop_server();
        let mut command = example.command.clone();
        for port in ["65432", "9464"] {
            command = command.replace(port, "0");
        }
        let server = self.spawn(&format!("exec {command}"));
        server.await_stdout("Listening on ");
        self.ports.clear();
        for (port, mark) in [("65432", " ("), ("9464", ", metrics)")] {
            if example.command.contains(port) {
                let line = server.await_stdout(mark);
                let free = line.split(" (").next().unwrap().rsplit(':').next().unwrap();
                self.ports.push((port, free.to_owned()));
            }
        }
        self.pid = Some(server.pid());
        self.server = Some(server);
    }

    fn stop_server(&mut self) {
        if let (Some(mut server), Some(pid)) = (self.server.take(), self.pid.take()) {
            kill_process(pid, Signal::TERM).unwrap();
            let exit = server.await_exit();
            assert_eq!(exit.code, Some(0), "{exit:#?}");
        }
    }

    fn run(&mut self, example: &Example) {
        let mut command = example.command.clone();
        for (long, short) in SHORTER {
            command = command.replace(long, short);
        }
        for (port, free) in &self.ports {
            command = command.replace(port, free);
        }
        if let Some(pid) = self.pid {
            command = command.replace("PID", &pid.as_raw_nonzero().to_string());
        }
        let exit = self.spawn(&command).await_exit();
        let place = &example.place;
        assert_eq!(exit.code, Some(0), "{place}: `{command}` ended with {:?}: {exit:#?}", exit.code);
        if command.ends_with("; echo $?") {
            assert_eq!(exit.stdout.last(), example.output.last(), "{place}: another exit status: {exit:#?}");
        }
        if command.contains("kill -USR2") {
            let line = self.server.as_ref().unwrap().await_stderr("handover complete: PID ");
            let pid = line.split_whitespace().nth(3).and_then(|pid| pid.parse().ok());
            self.pid = Some(Pid::from_raw(pid.unwrap()).unwrap());
        }
    }

    /// sh(1) with our programs first in its path, in the directory of the document.
    fn spawn(&self, command: &str) -> Program {
        let ours = PathBuf::from(Program::server_path());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(ours.parent().unwrap().to_owned()).chain(std::env::split_paths(&path));
        let mut shell = Program::clean(Command::new("sh"));
        shell.args(["-c", command]).env("PATH", std::env::join_paths(folders).unwrap());
        // A datagram may be late on a busy machine without being lost.
        shell.env("MULTICONN_CLIENT_REPLY_TIMEOUT", "10s");
        Program::spawn(shell.current_dir(self.directory.path()))
    }
}

/// Relative links that lead to no file.
fn broken_links(path: &str, text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let defined = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| Some(line.split_once("]: ")?.1));
    let is_relative = |link: &&str| !link.contains("://") && !link.starts_with('#');
    let folder = root().join(path).parent().unwrap().to_owned();
    let exists = |link: &str| folder.join(link.split('#').next().unwrap()).exists();
    inline
        .chain(defined)
        .filter(is_relative)
        .filter(|link| !exists(link))
        .map(|link| format!("{path}: {link}"))
        .collect()
}
