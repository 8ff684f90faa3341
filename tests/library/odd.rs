//! A server whose service does what no service should, as a program of its own: its panic hook, its log and its environment
//! are those of a whole process, which the tests must not share.
//!
//! The program is this test program, told to run [`odd_server`] alone.

use super::support::Program;
use super::{Upper, support};
use multiconn::server::{Server, ServerConfig, limit_panic_reports};
use multiconn::service::{Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The variable that makes [`odd_server`] serve: a path that does not exist, until those who hang shall go on.
const RELEASE: &str = "ODD_SERVER_RELEASE";

/// The command of the server, with two workers. Its peers' words in exclamation marks hang until `release` exists, in
/// question marks panic.
pub(crate) fn odd(release: &Path) -> Command {
    let mut command = Program::clean(Command::new(std::env::current_exe().unwrap()));
    command.args(["--exact", "odd::odd_server", "--nocapture"]).env(RELEASE, release);
    command
}

/// Answers in upper case, unless it hangs or panics.
struct Odd {
    release: PathBuf,
}

impl Service for Odd {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        if input.bytes().contains(&b'!') {
            support::await_until("the release", || self.release.exists());
        }
        Upper.serve(input, output, now)
    }
}

/// Nothing, unless another test has it run as a program.
#[test]
fn odd_server() {
    let Some(release) = std::env::var_os(RELEASE).map(PathBuf::from) else { return };
    env_logger::Builder::new().filter_level(log::LevelFilter::Info).init();
    limit_panic_reports();
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    (config.workers, config.notify, config.handle_signals) = (2, true, true);
    let server = Server::bind(config, |_| Odd { release: release.clone() }).unwrap();
    let mut out = std::io::stdout().lock();
    // The harness has begun a line of its own.
    writeln!(out, "\nListening on {} (tcp, odd)", server.addresses()[0]).unwrap();
    drop(out);
    let summary = server.run().unwrap();
    writeln!(std::io::stdout().lock(), "\n{summary}").unwrap();
}
