//! A server and the processes that take over from it. The program is in a directory of its own, where it can be
//! replaced. Every process is killed, by its own PID, when the guard is dropped.

use super::support::{Program, await_some, await_until, handed_over_to, works};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(crate) struct ProcessChain {
    pub(crate) first: Program,
    pub(crate) folder: TempDir,
    /// All processes that have taken over, in order.
    successors: Vec<Pid>,
}

impl ProcessChain {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::with(|command| command.args(arguments))
    }

    /// A server whose command line is completed by `complete`.
    pub(crate) fn with(complete: impl Fn(&mut Command) -> &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        install(&folder.path().join("server"));
        let command = Command::new(folder.path().join("server"));
        Self::of(folder, complete(&mut Program::clean(command)))
    }

    /// A server that `command` starts from a program in `folder`.
    pub(crate) fn of(folder: TempDir, command: &mut Command) -> Self {
        let first = Program::spawn(command);
        first.await_stdout("Listening on ");
        Self { first, folder, successors: Vec::new() }
    }

    /// The path from which the first process was started.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// Replaces the program by a shell script.
    pub(crate) fn replace_by_script(&self, path: &Path, script: &str) {
        let new = self.folder.path().join("new");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        assert!(works(Command::new("sh").args(["-c", write]).arg(&new).arg(script)), "cannot write {}", new.display());
        fs::rename(&new, path).unwrap();
    }

    /// Replaces the program by another copy of the server.
    pub(crate) fn replace_by_copy(&self, path: &Path) {
        let new = self.folder.path().join("new");
        install(&new);
        fs::rename(new, path).unwrap();
    }

    /// The process that currently takes signals.
    pub(crate) fn head(&self) -> Pid {
        self.successors.last().copied().unwrap_or_else(|| self.first.pid())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.head(), signal).expect("the process runs");
    }

    /// Starts a handover with SIGUSR2, and waits for its completion.
    pub(crate) fn handover(&mut self) -> Pid {
        self.signal(Signal::USR2);
        let count = self.successors.len();
        let what = format!("the handover; stderr so far: {:#?}", self.first.stderr());
        let child_program =
            await_some(&what, || self.first.stderr().iter().filter_map(|line| handed_over_to(line)).nth(count));
        self.successors.push(child_program);
        child_program
    }

    /// Terminates the last process, and waits for the summary of every process. Returns the total number of connections
    /// served.
    pub(crate) fn end(&self) -> u64 {
        self.signal(Signal::TERM);
        let served = || -> Vec<u64> {
            let lines = self.first.stdout();
            let counts = lines.iter().filter_map(|line| line.strip_prefix("Served ")?.split(' ').next());
            counts.map(|count| count.replace(',', "").parse().unwrap()).collect()
        };
        await_until("the end of all", || served().len() == self.successors.len() + 1);
        await_until("the end of the last", || !is_running(self.head()));
        served().iter().sum()
    }
}

impl Drop for ProcessChain {
    fn drop(&mut self) {
        for &child_program in &self.successors {
            // Its PID may belong to another process by now.
            let program = fs::read_link(format!("/proc/{child_program}/exe")).unwrap_or_default();
            if program.starts_with(self.folder.path()) {
                let _ = kill_process(child_program, Signal::KILL);
            }
        }
    }
}

/// Whether a process that need not be our child is still running.
pub(crate) fn is_running(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name in parentheses; Z is a zombie (proc_pid_stat(5)).
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The children of a process, including zombies.
pub(crate) fn children(process: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parent = |id: &i32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let own = ids.filter(|id| parent(id) == Some(process.as_raw_nonzero().get()));
    own.filter_map(Pid::from_raw).collect()
}

/// Copies the server to `path`, with another program: a file that this process has open for writing could not be
/// executed while any concurrently started child has inherited the descriptor (execve(2), `ETXTBSY`).
pub(crate) fn install(path: &Path) {
    assert!(works(Command::new("cp").arg(Program::server_path()).arg(path)), "cannot write {}", path.display());
}
