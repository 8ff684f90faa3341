//! A child process under test: one of our programs, or a peer in Python. It is killed, by its own PID, when dropped.

use super::transcript::Transcript;
use super::wait::{PATIENCE, await_some, await_some_within, await_until};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Once};
use std::time::Duration;

const SERVER: &str = env!("CARGO_BIN_EXE_multiconn-server");
const CLIENT: &str = env!("CARGO_BIN_EXE_multiconn-client");
const REPORT: &str = env!("CARGO_BIN_EXE_multiconn-report");

/// A running child, with its output collected line by line.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    name: String,
    stdout: Transcript,
    stderr: Transcript,
}

/// The exit status and the output of a child.
#[derive(Debug)]
pub(crate) struct Exit {
    /// The exit status; none when a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Exit {
    /// Expects that the output contains no terminal control sequences.
    #[track_caller]
    pub(crate) fn expect_safe_text(&self) {
        for line in self.stdout.iter().chain(&self.stderr) {
            assert!(!line.chars().any(multiconn::is_unsafe), "{line:?}");
        }
    }
}

impl Program {
    /// `multiconn-server` with these arguments.
    pub(crate) fn server(arguments: &[&str]) -> Self {
        Self::spawn(Self::server_command().args(arguments))
    }

    /// `multiconn-client` with these arguments.
    pub(crate) fn client(arguments: &[&str]) -> Self {
        Self::spawn(Self::client_command().args(arguments))
    }

    /// `multiconn-report` with these arguments.
    pub(crate) fn report(arguments: &[&str]) -> Self {
        Self::spawn(Self::report_command().args(arguments))
    }

    /// A script of `tests/peers/`, unbuffered. Ask [`has_python`](super::has_python) first.
    pub(crate) fn python(script: &str, arguments: &[&str]) -> Self {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "peers", script].iter().collect();
        Self::spawn(Command::new("python3").arg("-u").arg(path).args(arguments))
    }

    /// The command of the server, for tests that add environment variables.
    pub(crate) fn server_command() -> Command {
        Self::clean(Command::new(SERVER))
    }

    /// The command of the client, for tests that add environment variables.
    pub(crate) fn client_command() -> Command {
        Self::clean(Command::new(CLIENT))
    }

    /// The command of the report program.
    pub(crate) fn report_command() -> Command {
        Self::clean(Command::new(REPORT))
    }

    /// The command of the server, run by a wrapper that ends in `exec`, such as setpriv.
    pub(crate) fn server_under(wrapper: &[&str]) -> Command {
        Self::under(wrapper, SERVER)
    }

    /// The command of the client, run by a wrapper that ends in `exec`.
    pub(crate) fn client_under(wrapper: &[&str]) -> Command {
        Self::under(wrapper, CLIENT)
    }

    /// The command of the report program, run by a wrapper that ends in `exec`.
    pub(crate) fn report_under(wrapper: &[&str]) -> Command {
        Self::under(wrapper, REPORT)
    }

    /// The command of the server with a hard limit of `descriptors`, which it cannot raise.
    pub(crate) fn server_with_descriptors(descriptors: u32) -> Command {
        Self::server_under(&["sh", "-c", &few_descriptors(descriptors)])
    }

    /// The command of the client with a hard limit of `descriptors`, which it cannot raise.
    pub(crate) fn client_with_descriptors(descriptors: u32) -> Command {
        Self::client_under(&["sh", "-c", &few_descriptors(descriptors)])
    }

    fn under(wrapper: &[&str], program: &str) -> Command {
        let mut command = Self::clean(Command::new(wrapper[0]));
        command.args(&wrapper[1..]).arg(program);
        command
    }

    /// The path of the server.
    pub(crate) fn server_path() -> &'static str {
        SERVER
    }

    /// Removes environment variables that would affect the programs. Enables backtraces, so that an unexpected one
    /// shows.
    pub(crate) fn clean(mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.to_string_lossy().starts_with("MULTICONN_") {
                command.env_remove(name);
            }
        }
        command.env("RUST_BACKTRACE", "1");
        // A name server that does not answer must not exhaust the patience of a test (resolv.conf(5)).
        command.env("RES_OPTIONS", "timeout:2 attempts:1");
        command
    }

    /// Starts one of our programs with a log of connection events, without payloads.
    pub(crate) fn spawn_logging(command: &mut Command) -> Self {
        Self::spawn(command.env("RUST_LOG", "multiconn=debug"))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_reading(command, Stdio::null()).0
    }

    /// Starts a child that reads `stdin`. If that is a pipe, its other end is returned as well.
    pub(crate) fn spawn_reading(command: &mut Command, stdin: impl Into<Stdio>) -> (Self, Option<ChildStdin>) {
        handle_ignored_signals();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Transcript::of(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Transcript::of(child.stderr.take().expect("stderr is a pipe"));
        let stdin = child.stdin.take();
        (Self { child, name, stdout, stderr }, stdin)
    }

    /// Waits for a line on stdout that contains `part`, and returns it.
    #[track_caller]
    pub(crate) fn await_stdout(&self, part: &str) -> String {
        self.await_stdout_within(PATIENCE, part)
    }

    /// Waits for such a line of a program that computes for long.
    #[track_caller]
    pub(crate) fn await_stdout_within(&self, limit: Duration, part: &str) -> String {
        match self.stdout.await_line(limit, |line| line.contains(part)) {
            Ok(line) => line,
            Err(why) => panic!("no {part:?} on stdout of {}: {why}; stderr: {:#?}", self.name, self.stderr.lines()),
        }
    }

    /// Waits for a line on stderr that contains `part`, and returns it.
    #[track_caller]
    pub(crate) fn await_stderr(&self, part: &str) -> String {
        match self.stderr.await_line(PATIENCE, |line| line.contains(part)) {
            Ok(line) => line,
            Err(why) => panic!("no {part:?} on stderr of {}: {why}; stdout: {:#?}", self.name, self.stdout.lines()),
        }
    }

    /// The first TCP address that our server listens on; waits for it.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address_of(" (tcp, ")
    }

    /// The first address that our server prints with `part`, such as " (udp, "; waits for it.
    #[track_caller]
    pub(crate) fn address_of(&self, part: &str) -> SocketAddr {
        listening_address(&self.await_stdout(part))
    }

    /// The address in `Listening on ('127.0.0.1', 65432)`, which a tutorial program prints.
    #[track_caller]
    pub(crate) fn python_address(&self) -> SocketAddr {
        let line = self.await_stdout("Listening on (");
        let port = line.rsplit(", ").next().expect("a pair").trim_end_matches(')');
        (std::net::Ipv4Addr::LOCALHOST, port.parse().expect("a port")).into()
    }

    /// The lines on stdout so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// The lines on stderr so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lines()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends `signal` to the child.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child has not been waited for");
    }

    /// Stops the child with SIGSTOP, and waits until all its threads have stopped, where procfs reports that.
    #[track_caller]
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        await_until("the child to stop", || {
            let Ok(mut tasks) = std::fs::read_dir(&tasks) else { return true };
            tasks.all(|task| {
                let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat"))).unwrap_or_default();
                // The state follows the name in parentheses (proc_pid_stat(5)).
                stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('T'))
            })
        });
    }

    /// Continues a paused child.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the exit of the child.
    #[track_caller]
    pub(crate) fn await_exit(&mut self) -> Exit {
        self.await_exit_within(PATIENCE)
    }

    /// Waits for the exit of a program that computes for long.
    #[track_caller]
    pub(crate) fn await_exit_within(&mut self, limit: Duration) -> Exit {
        let what = format!("the end of {}; stderr so far: {:#?}", self.name, self.stderr.lines());
        let status = await_some_within(limit, &what, || self.child.try_wait().expect("the child is ours"));
        Exit { code: status.code(), stdout: self.stdout.finish(), stderr: self.stderr.finish() }
    }

    /// The exit status of the child, once it has exited. Its output may continue: a new process of a handover shares
    /// it.
    pub(crate) fn status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Sends SIGTERM, as a service manager does, and waits for the exit.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> Exit {
        self.signal(Signal::TERM);
        self.await_exit()
    }

    /// The resident memory of the child (VmRSS), in bytes; none on a system without procfs.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// How many descriptors the child has open; none on a system without procfs.
    pub(crate) fn open_descriptors(&self) -> Option<usize> {
        Some(std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?.count())
    }

    /// The CPU time of the child, user and system, in clock ticks; none on a system without procfs.
    pub(crate) fn cpu_ticks(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name in parentheses may contain anything; utime and stime are the 12th and 13th field after it
        // (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11);
        Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
    }
}

/// The address in `Listening on 127.0.0.1:65432 (tcp, …`, which our server prints.
#[track_caller]
pub(crate) fn listening_address(line: &str) -> SocketAddr {
    let address = line.strip_prefix("Listening on ").and_then(|rest| rest.split(' ').next());
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("not an address: {line:?}"))
}

/// An sh(1) script that runs its arguments with this descriptor limit.
fn few_descriptors(limit: u32) -> String {
    format!("ulimit -n {limit} && exec \"$0\" \"$@\"")
}

impl Drop for Program {
    fn drop(&mut self) {
        // Std does not kill a child that was waited for: its PID may belong to another process by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resets inherited ignored signals. Shells start background jobs with SIGINT ignored, nohup(1) ignores SIGHUP, and the
/// programs respect that. A handler in this process restores the default action in its children (execve(2)).
fn handle_ignored_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
        let ignored = u64::from_str_radix(mask.trim(), 16).unwrap_or_default();
        for signal in [SIGHUP, SIGINT].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 1) {
            signal_hook::flag::register(signal, Arc::default()).expect("a handler for an ignored signal");
        }
    });
}
