//! Child processes of a benchmark: servers and loads, killed when their handle is dropped.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::cpus::{CpuRole, Cpus};
use super::load::LoadParameters;

pub(crate) const ROLE_PREFIX: &str = "--role=";

const ANNOUNCEMENT: &str = "Listening on 127.0.0.1:";
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. It is killed on drop, also after an error or a panic.
pub(crate) struct Server {
    name: &'static str,
    pub(crate) port: u16,
    child: Guard,
}

impl Server {
    /// Starts a server that prints its port in its first line.
    pub(crate) fn start(name: &'static str, mut command: Command, cpus: &Cpus) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Guard(cpus.spawn(&mut command, CpuRole::Server)?);
        let (sender, receiver) = mpsc::channel();
        if let Some(stdout) = child.0.stdout.take() {
            thread::spawn(move || read_output(stdout, &sender));
        }
        match receiver.recv_timeout(START_TIMEOUT) {
            Ok(port) => Ok(Self { name, port, child }),
            Err(RecvTimeoutError::Disconnected) => Err(format!("the server {name:?} exited before it listened")),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the server {name:?} did not print '{ANNOUNCEMENT}…' within {START_TIMEOUT:?}"))
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn check_alive(&mut self) -> Outcome<()> {
        match self.child.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server {:?} died: {status}", self.name)),
            Err(error) => Err(format!("cannot get the status of {:?}: {error}", self.name)),
        }
    }
}

/// Prints the line with the server's port; all servers print the same one.
pub(crate) fn announce(port: u16) {
    println!("{ANNOUNCEMENT}{port} (tcp, echo)");
}

/// Sends the port, then keeps reading, because a full pipe would block the server.
fn read_output(stdout: ChildStdout, port: &Sender<u16>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let number = line.strip_prefix(ANNOUNCEMENT).and_then(|rest| rest.split(' ').next());
        if let Some(number) = number.and_then(|text| text.parse().ok()) {
            // The receiver takes the first port and is dropped.
            let _ = port.send(number);
        }
    }
}

/// A running load process. It is killed on drop.
pub(crate) struct Load {
    child: Guard,
    stdout: BufReader<ChildStdout>,
}

impl Load {
    pub(crate) fn start(parameters: &LoadParameters, cpus: &Cpus) -> Outcome<Self> {
        let mut command = own_command("load")?;
        command.args(parameters.to_arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Guard(cpus.spawn(&mut command, CpuRole::Load)?);
        let stdout = child.0.stdout.take().ok_or("the load has no stdout")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// Reads the next line of the load: its result, or that its connections are open.
    pub(crate) fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(0) => Err("the load ended without a result".to_owned()),
            Ok(_) => Ok(line),
            Err(error) => Err(format!("cannot read from the load: {error}")),
        }
    }

    /// Waits for the result of a measuring load, and for its exit.
    pub(crate) fn result(mut self) -> Outcome<Speed> {
        let speed = Speed::parse(&self.line()?)?;
        self.finish()?;
        Ok(speed)
    }

    /// Lets the load close its connections, and returns after the server has closed them, too. The server must be idle
    /// when the next one is measured.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        drop(self.child.0.stdin.take());
        // Wait for the end of its output; its content does not matter.
        let _ = self.stdout.read_to_end(&mut Vec::new());
        match self.child.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the load failed: {status}")),
            Err(error) => Err(format!("cannot wait for the load: {error}")),
        }
    }
}

/// Result of one server in one round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speed {
    pub(crate) per_second: f64,
    pub(crate) cpu_us_each: f64,
}

impl Speed {
    fn parse(line: &str) -> Outcome<Self> {
        let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        let [completed, elapsed_ns, cpu_ns] = numbers[..] else {
            return Err(format!("the load printed an invalid result: {line:?}"));
        };
        if completed == 0 {
            return Err("no reply arrived within the measured window".to_owned());
        }
        Ok(Self {
            per_second: completed as f64 * 1e9 / elapsed_ns as f64,
            cpu_us_each: cpu_ns as f64 / 1e3 / completed as f64,
        })
    }
}

/// A child process that is killed when the guard is dropped.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only for a child that has already been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Command for `multiconn-server` on a free loopback port.
pub(crate) fn multiconn_server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiconn-server"));
    // Clear the environment: its variables could set options.
    command.args(["--workers", "1", "127.0.0.1", "0"]).args(arguments).env_clear();
    command
}

/// Command for this executable in another role.
pub(crate) fn own_command(role: &str) -> Outcome<Command> {
    let own: PathBuf =
        env::current_exe().map_err(|error| format!("cannot find this executable to restart it: {error}"))?;
    let mut command = Command::new(own);
    command.arg(format!("{ROLE_PREFIX}{role}"));
    Ok(command)
}
