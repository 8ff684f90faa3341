//! Server with a misbehaving service, as a separate program: its panic hook, log and environment are per process and
//! must not be shared with other tests.
//!
//! The program is this test program, started to run only [`misbehaving_server`].

use super::support::Program;
use super::{Upper, support};
use log::kv::{self, Key, Value, VisitSource};
use multiconn::connection::CloseReason;
use multiconn::server::{Server, ServerConfig, limit_panic_reports};
use multiconn::service::{Context, Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable that makes [`misbehaving_server`] serve: a path; hanging services continue when it exists.
const RELEASE: &str = "MISBEHAVING_SERVER_RELEASE";

/// Environment variable with a text on which the logger panics: a panic of a worker outside of its services.
pub(crate) const PANIC_AT: &str = "MISBEHAVING_SERVER_PANIC_AT";

/// Command of the server, with two workers. A message with an exclamation mark hangs until `release` exists, one with a
/// question mark panics. `#` is answered with the number of the connection.
pub(crate) fn misbehaving_server_command(release: &Path) -> Command {
    let mut command = Program::clean(Command::new(std::env::current_exe().unwrap()));
    command.args(["--exact", "misbehaving_service::misbehaving_server", "--nocapture"]).env(RELEASE, release);
    command
}

/// Replies in upper case, unless it hangs or panics.
struct Misbehaving {
    release: PathBuf,
}

impl Service for Misbehaving {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if input.bytes().contains(&b'!') {
            support::await_until("the release", || self.release.exists());
        }
        if input.bytes() == b"#" {
            input.clear();
            output.write(format!("{}\n", context.id()).as_bytes());
        }
        Upper.serve(input, output, context)
    }

    fn closed(&mut self, reason: CloseReason) {
        // The test harness has begun a line.
        writeln!(std::io::stdout().lock(), "\ntold: {reason}").unwrap();
    }

    /// Called for a log with connection events.
    fn error_detail(&self) -> Option<String> {
        panic!("a panic that the test asked for");
    }
}

/// A log of what `RUST_LOG` selects, and of what servers log by default.
pub(crate) fn start_log() {
    let panic_at = std::env::var(PANIC_AT).ok();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Info).parse_default_env();
    builder.format(move |out, record| {
        let mut line = Fields(record.args().to_string());
        record.key_values().visit(&mut line).unwrap();
        let line = line.0;
        assert!(panic_at.as_ref().is_none_or(|text| !line.contains(text)), "a log that panics");
        writeln!(out, "{line}")
    });
    builder.init();
}

/// The fields of a log record, each as ` key=value`.
struct Fields(String);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        Ok(write!(self.0, " {key}={value}")?)
    }
}

/// Does nothing unless another test runs it as a program.
#[test]
fn misbehaving_server() {
    let Some(release) = std::env::var_os(RELEASE).map(PathBuf::from) else { return };
    start_log();
    limit_panic_reports();
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
    (config.workers, config.notify, config.handle_signals) = (2, true, true);
    let server = Server::bind(config, |_| Misbehaving { release: release.clone() }).unwrap();
    let mut out = std::io::stdout().lock();
    // The test harness has begun a line.
    writeln!(out, "\nListening on {} (tcp, misbehaving)", server.addresses()[0]).unwrap();
    drop(out);
    let summary = server.run().unwrap();
    writeln!(std::io::stdout().lock(), "\n{summary}").unwrap();
}
