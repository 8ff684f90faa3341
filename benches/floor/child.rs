//! The programs under test as child processes, which end with the value that holds them.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::cpus::{Cpus, Place};
use crate::load::Order;

pub(crate) const ROLE_PREFIX: &str = "--role=";

const ANNOUNCEMENT: &str = "Listening on 127.0.0.1:";
const START_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Ours,
    Tokio,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::Ours, Self::Tokio];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::Tokio => "tokio",
        }
    }

    fn command(self, tls: bool) -> Outcome<Command> {
        match self {
            Self::Bare => own_command("bare"),
            Self::Tokio => own_command(if tls { "tokio-tls" } else { "tokio" }),
            Self::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_multiconn-server"));
                // Its options can be given by environment variables too: none must slip in.
                command.args(["--workers", "1", "127.0.0.1", "0"]).env_clear();
                if tls {
                    command.arg("--tls-self-signed");
                }
                Ok(command)
            }
        }
    }
}

/// A running server, ended on drop: also on an error, also on a panic.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    child: Guard,
}

impl Server {
    pub(crate) fn start(kind: Kind, tls: bool, cpus: &Cpus) -> Outcome<Self> {
        let mut command = kind.command(tls)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Guard(cpus.spawn(&mut command, Place::Server)?);
        let (sender, receiver) = mpsc::channel();
        if let Some(stdout) = child.0.stdout.take() {
            thread::spawn(move || read_output(stdout, &sender));
        }
        match receiver.recv_timeout(START_TIMEOUT) {
            Ok(port) => Ok(Self { kind, port, child }),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the server {:?} ended before it listened", kind.name()))
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the server {:?} did not print '{ANNOUNCEMENT}…' within {START_TIMEOUT:?}", kind.name()))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn check_alive(&mut self) -> Outcome<()> {
        match self.child.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server {:?} died: {status}", self.kind.name())),
            Err(error) => Err(format!("cannot ask after {:?}: {error}", self.kind.name())),
        }
    }
}

/// The line by which a server tells its port; all three print the same.
pub(crate) fn announce(port: u16) {
    println!("{ANNOUNCEMENT}{port} (tcp, echo)");
}

/// Tells the port, then keeps reading: a full pipe would stop the server.
fn read_output(stdout: ChildStdout, port: &Sender<u16>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let number = line.strip_prefix(ANNOUNCEMENT).and_then(|rest| rest.split(' ').next());
        if let Some(number) = number.and_then(|text| text.parse().ok()) {
            // The receiver takes the first one and leaves.
            let _ = port.send(number);
        }
    }
}

/// A load in progress, ended on drop.
pub(crate) struct Load {
    child: Guard,
    stdout: BufReader<ChildStdout>,
}

impl Load {
    pub(crate) fn start(order: &Order, cpus: &Cpus) -> Outcome<Self> {
        let mut command = own_command("load")?;
        command.args(order.to_arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Guard(cpus.spawn(&mut command, Place::Load)?);
        let stdout = child.0.stdout.take().ok_or("the load has no stdout")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// The next line the load prints: its result, or that its connections are open.
    pub(crate) fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(0) => Err("the load ended without a result".to_owned()),
            Ok(_) => Ok(line),
            Err(error) => Err(format!("cannot read from the load: {error}")),
        }
    }

    /// Lets the load close its connections, and returns when the server has closed them too: it
    /// must not be at work when the next one is measured.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        drop(self.child.0.stdin.take());
        // Its end, whatever stands before it.
        let _ = self.stdout.read_to_end(&mut Vec::new());
        match self.child.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the load failed: {status}")),
            Err(error) => Err(format!("cannot wait for the load: {error}")),
        }
    }
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only for a child that has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own_command(role: &str) -> Outcome<Command> {
    let own: PathBuf =
        env::current_exe().map_err(|error| format!("cannot find this executable to start it again: {error}"))?;
    let mut command = Command::new(own);
    command.arg(format!("{ROLE_PREFIX}{role}"));
    Ok(command)
}
