//! Runs the commands of one document.

use super::document::{Example, Part, parts, verdict};
use super::support::{PATIENCE, Program, await_until, handed_over_to, skipped, works};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Parts of commands that would take too long, or depend on the speed of the machine, and what replaces them.
const SHORTER: [(&str, &str); 6] = [
    ("--duration 10s", "--duration 1s"),
    ("--warm-up 1s", "--warm-up 100ms"),
    ("--hold 5s", "--hold 200ms"),
    (" 10000 ", " 100 "),
    ("sleep 5", "sleep 0.5"),
    // A busy machine may pause for longer.
    ("p99>2s", "p99>1m"),
];

/// Documented ports of other servers. Each stands for a free port.
const OTHER_PORTS: [&str; 6] = ["6379", "11211", "8443", "5353", "1883", "8080"];

/// Runs the examples of one document.
struct Runner {
    directory: TempDir,
    server: Option<Program>,
    /// The server's process, which is another one after a handover.
    pid: Option<Pid>,
    /// A documented port, and the port that is used instead.
    ports: Vec<(&'static str, String)>,
    other_ports: Vec<(&'static str, String)>,
    section: Section,
}

/// What belongs to a section of a document.
#[derive(Default)]
struct Section {
    /// Names and contents, with documented ports.
    files: Vec<(String, String)>,
    background: Vec<Background>,
    /// A background program of this section that is not installed.
    missing: Option<String>,
}

/// Another server. When dropped it is ended by SIGTERM, so that it can end its own processes.
struct Background(Program);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.0.status().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs a document. Returns the servers that are not installed, whose sections were skipped, and the number of sections
/// with a server.
pub(crate) fn run_all(path: &str, text: &str) -> (Vec<String>, usize) {
    let mut runner = Runner {
        directory: TempDir::new().unwrap(),
        server: None,
        pid: None,
        ports: Vec::new(),
        other_ports: OTHER_PORTS.map(|port| (port, free_port())).to_vec(),
        section: Section::default(),
    };
    let (mut sections, mut missing) = (0, Vec::new());
    for part in parts(path, text) {
        match part {
            Part::Section => {
                sections += usize::from(runner.section.has_background());
                missing.extend(std::mem::take(&mut runner.section).missing);
            }
            Part::File { name, content } => runner.section.files.push((name, content)),
            Part::Command(example) => runner.run(&example),
        }
    }
    sections += usize::from(runner.section.has_background());
    missing.extend(std::mem::take(&mut runner.section).missing);
    runner.stop_server();
    (missing, sections)
}

/// A free port for another server. It is below the ports that the system gives to clients: one of those may be in use
/// again before the server has started.
fn free_port() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() * 16;
    let mut ports = (0..20_000).map(|_| 10_000 + (start + NEXT.fetch_add(1, Relaxed)) % 20_000);
    let is_free = |port: &u32| {
        let address = format!("127.0.0.1:{port}");
        TcpListener::bind(&address).is_ok() && UdpSocket::bind(&address).is_ok()
    };
    ports.find(is_free).expect("a free port").to_string()
}

/// The search path, with our programs first and those of administrators last.
fn search_path() -> OsString {
    let ours = PathBuf::from(Program::server_path());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(ours.parent().unwrap().to_owned())
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    std::env::join_paths(folders).unwrap()
}

/// A program of a command line that sh(1) does not find.
fn missing_program(command: &str) -> Option<&str> {
    let programs = command.split(['|', ';', '&']).filter_map(|part| part.split_whitespace().next());
    let is_known = |program: &str| program.starts_with("multiconn-") || program.contains(['=', '>']);
    let is_found = |program: &str| {
        works(Command::new("sh").args(["-c", &format!("command -v {program}")]).env("PATH", search_path()))
    };
    programs.into_iter().find(|program| !is_known(program) && !is_found(program))
}

impl Section {
    fn has_background(&self) -> bool {
        self.missing.is_some() || !self.background.is_empty()
    }
}

impl Runner {
    fn run(&mut self, example: &Example) {
        let missing = missing_program(&example.command);
        if self.section.missing.is_some() {
            // Its server is not there.
        } else if let (Some(program), Some(_)) = (missing, example.background()) {
            self.section.missing = Some(program.to_owned());
        } else if let Some(program) = missing {
            skipped(&format!("{}: {}", example.place, example.command), &format!("{program} is not installed"));
        } else if let Some(command) = example.background() {
            self.start_background(example, command);
        } else if example.command.starts_with("multiconn-server ") && !example.command.contains("--check") {
            self.start_server(example);
        } else {
            self.run_to_end(example);
        }
    }

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

    /// Starts another server, and waits until it accepts connections on each documented port of its command or files.
    fn start_background(&mut self, example: &Example, command: &str) {
        let mut program = self.spawn(&format!("exec {}", self.with_free_ports(command)));
        let texts = || self.section.files.iter().map(|(_, content)| &**content).chain([command]);
        for (documented, port) in &self.other_ports {
            if texts().any(|text| text.contains(documented)) {
                await_until(&format!("{}: port {documented}", example.place), || {
                    if let Some(status) = program.status() {
                        panic!("{}: ended with {status}: {:#?}", example.place, program.await_exit());
                    }
                    TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
                });
            }
        }
        self.section.background.push(Background(program));
    }

    fn run_to_end(&mut self, example: &Example) {
        let mut command = example.command.clone();
        for (long, short) in SHORTER {
            command = command.replace(long, short);
        }
        let exit = self.spawn(&self.with_free_ports(&command)).await_exit_within(3 * PATIENCE);
        let place = &example.place;
        assert_eq!(exit.code, Some(0), "{place}: `{command}` ended with {:?}: {exit:#?}", exit.code);
        if command.ends_with("; echo $?") {
            assert_eq!(exit.stdout.last(), example.output.last(), "{place}: another exit status: {exit:#?}");
        }
        if let Some(documented) = example.verdict() {
            let found = exit.stdout.iter().find_map(|line| verdict(line));
            assert_eq!(found, Some(documented), "{place}: another verdict: {exit:#?}");
        }
        if command.contains("kill -USR2") {
            let line = self.server.as_ref().unwrap().await_stderr("handover complete: PID ");
            self.pid = Some(handed_over_to(&line).unwrap());
        }
    }

    /// Replaces the documented ports, and the word `PID` by the server's process.
    fn with_free_ports(&self, text: &str) -> String {
        let ports: Vec<_> = self.ports.iter().chain(&self.other_ports).enumerate().collect();
        // A free port may contain the digits of a documented one.
        let mark = |index: usize| format!("\0{}\0", "x".repeat(index + 1));
        let marked = ports.iter().fold(text.to_owned(), |text, (index, (port, _))| text.replace(port, &mark(*index)));
        let text = ports.iter().fold(marked, |text, (index, (_, free))| text.replace(&mark(*index), free));
        match self.pid {
            Some(pid) => text.replace("PID", &pid.as_raw_nonzero().to_string()),
            None => text,
        }
    }

    /// sh(1) with our programs first in its path, in the directory of the document with the files of the section.
    fn spawn(&self, command: &str) -> Program {
        for (name, content) in &self.section.files {
            fs::write(self.directory.path().join(name), self.with_free_ports(content)).unwrap();
        }
        let mut shell = Program::clean(Command::new("sh"));
        shell.args(["-c", command]).env("PATH", search_path());
        // A datagram may be late on a busy machine without being lost.
        shell.env("MULTICONN_CLIENT_REPLY_TIMEOUT", "10s");
        Program::spawn(shell.current_dir(self.directory.path()))
    }
}
