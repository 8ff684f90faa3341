//! `multiconn-client`: the command line, the server of its own that `--embedded` brings, and the exit status.

mod content;
mod embedded;
mod load;
mod messages;
mod options;
mod udp;

use super::progress::ProgressBar;
use super::variables::{self, Program};
use super::{FAILURE, INTERRUPTED, Parsed, SUCCESS, complain, output, parse_with_variables};
use crate::client::{Client, ClientConfig, Expect, Report, catch_client_signals, environment};
use crate::connection::Limits;
use crate::error::Error;
use crate::event_loop::unix_time;
use crate::results::{RunResults, Settings, Timestamp};
use crate::server::ConnectionInfo;
use crate::service::{Echo, Search};
use crate::socket::Endpoint;
use clap::CommandFactory;
use embedded::EmbeddedServer;
use options::Options;
use std::process::ExitCode;

/// What the client reads from its environment.
const PROGRAM: Program = Program {
    prefix: "MULTICONN_CLIENT_",
    // The server's certificate and key, whose common variables may be set for it, are not those of a client.
    own: &["tls_cert", "tls_key"],
    instead: &[("host", &["target"]), ("target", &["host", "port"])],
    common: &[
        "host",
        "port",
        "words",
        "connections",
        "unix",
        "udp",
        "tls",
        "embedded",
        "message",
        "size",
        "frame",
        "expect",
        "search",
        "stdin",
        "messages",
        "pipeline",
        "duration",
        "rate",
        "hold",
        "reply_timeout",
        "workers",
        "json",
        "html",
        "fail_if",
        "verbose",
        "quiet",
    ],
    examples: &[
        ("--udp", "multiconn-client --udp 127.0.0.1 65432 10 --rate 1k --duration 10s --size 64"),
        ("--stdin", "multiconn-client 127.0.0.1 65432 --stdin"),
    ],
};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything that takes time. If it fails, the client will say why. Those that come after the run are ignored: a
    // lost terminal can send more than one, and the results are to be written.
    let _signals = catch_client_signals();
    let Parsed { mut options, configuration, variables }: Parsed<Options> = match parse_with_variables(&PROGRAM) {
        Ok(parsed) => parsed,
        Err(status) => return status.into(),
    };
    let _log = options.verbosity.start_log();
    variables::warn_of_unknown(&Options::command(), &PROGRAM);
    let started = Timestamp::after_1970(unix_time());
    let interpreted = options.interpret_words();
    let status = interpreted.and_then(|()| measure(&options, &configuration, started));
    status.unwrap_or_else(|error| complain(&error, &variables)).into()
}

/// Runs, and tells and keeps how it went; the exit status.
fn measure(options: &Options, configuration: &Settings, started: Timestamp) -> Result<u8, Error> {
    options.datagrams.check()?;
    let (mut files, is_quiet) = (options.results.open()?, options.verbosity.is_quiet());
    let complete = |mut record: RunResults| {
        record.configuration = options.settings(configuration);
        record.started = started;
        record.environment = environment();
        record.settle();
        record
    };
    if options.datagrams.is_wanted() {
        let report = udp::run(options.datagram_config()?, options)?;
        return Ok(files.finish(&report, report.is_success(), &complete(RunResults::from(&report)), is_quiet));
    }
    let report = run(options)?;
    if options.content.stdin {
        return Ok(interactive_run(&report));
    }
    // For scripts: nothing but the answers on stdout.
    let is_told = !(is_quiet && report.asked && files.take_stdout() && report.is_success()) || print_results(&report);
    let status = files.finish(&report, report.is_success(), &complete(RunResults::from(&report)), is_quiet);
    Ok(if is_told || status != SUCCESS { status } else { FAILURE })
}

/// Prints each answer alone, on a line of its own; whether that went well.
fn print_results(report: &Report) -> bool {
    report.answers.iter().all(|(answer, _)| output::say_line(answer.result()))
}

/// The exit status of a run that talked: what was printed are the replies, and nothing else.
fn interactive_run(report: &Report) -> u8 {
    for failure in report.failed.keys().filter(|_| !report.interrupted) {
        output::complain(&format!("{}: {failure}", report.targets.join(", ")));
    }
    match (report.interrupted, report.is_success()) {
        (true, _) => INTERRUPTED,
        (false, true) => SUCCESS,
        (false, false) => FAILURE,
    }
}

fn run(options: &Options) -> Result<Report, Error> {
    if options.place.embedded {
        return run_embedded(options);
    }
    run_client(options, options.config(options.place.targets())?)
}

fn run_client(options: &Options, config: ClientConfig) -> Result<Report, Error> {
    if options.content.stdin {
        return Client::interactive(config, std::io::stdin(), output::relay_target())?.run();
    }
    let view = options.view(config.connections, &config.load);
    let has_no_end = config.expect == Expect::ReadOnly && config.load.duration.is_none() && config.hold.is_none();
    let client = Client::new(config)?;
    if has_no_end {
        log::info!("sending nothing: reading until the server closes, or until Ctrl-C");
    }
    let bar = view.map(|view| ProgressBar::start(client.progress(), view));
    let report = client.run();
    drop(bar);
    report
}

/// The client's work against a server in the same process.
fn run_embedded(options: &Options) -> Result<Report, Error> {
    // First, whether it can be done at all: the server alone would complain of something nobody asked for.
    let rehearsed = options.config(vec![Endpoint::tcp("127.0.0.1", 0)])?;
    let _ = Client::new(ClientConfig { handle_signals: false, ..rehearsed })?;
    let with_tls = options.tls.is_wanted();
    let max_bytes = Limits::default().buffer_bytes;
    let server = if options.content.requests().is_empty() {
        EmbeddedServer::start(with_tls, "Echoing", max_bytes, |_| Echo)?
    } else {
        let search = move |opened: &ConnectionInfo<'_>| Search::new(max_bytes).logging(|| opened.peer.in_python());
        EmbeddedServer::start(with_tls, "Sending", Search::buffer_bytes(max_bytes), search)?
    };
    let report = run_client(options, options.config(vec![Endpoint::tcp("127.0.0.1", server.port)])?);
    server.end()?;
    report
}
