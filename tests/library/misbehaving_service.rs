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

/// The variable with a text that the log panics at: a panic of a worker outside of its services.
pub(crate) const PANIC_AT: &str = "ODD_SERVER_PANIC_AT";

/// The command of the server, with two workers. Its peers' words in exclamation marks hang until `release` exists, in
/// question marks panic.
pub(crate) fn odd(release: &Path) -> Command {
    let mut command = Program::clean(Command::new(std::env::current_exe().unwrap()));
    command.args(["--exact", "misbehaving_service::odd_server", "--nocapture"]).env(RELEASE, release);
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

    /// Asked for by a log that tells of every connection.
    fn error_detail(&self) -> Option<String> {
        panic!("a panic that the test asked for");
    }
}

/// A log of what `RUST_LOG` asks for, and of what servers say without that.
fn start_log() {
    let panic_at = std::env::var(PANIC_AT).ok();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Info).parse_default_env();
    builder.format(move |out, record| {
        let line = record.args().to_string();
        assert!(panic_at.as_ref().is_none_or(|text| !line.contains(text)), "a log that panics");
        writeln!(out, "{line}")
    });
    builder.init();
}

/// Nothing, unless another test has it run as a program.
#[test]
fn odd_server() {
    let Some(release) = std::env::var_os(RELEASE).map(PathBuf::from) else { return };
    start_log();
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
