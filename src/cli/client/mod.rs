//! `multiconn-client`: runs the client from its command line, with the embedded server if requested.

mod content;
mod embedded;
mod load;
mod messages;
mod options;
mod udp;

use super::progress::ProgressBar;
use super::variables::{self, Program};
use super::{FAILURE, INTERRUPTED, Parsed, SUCCESS, output, parse_with_variables, report_error};
use crate::client::{Client, ClientConfig, Expect, Report, catch_client_signals, environment};
use crate::connection::Limits;
use crate::error::Error;
use crate::escape;
use crate::event_loop::unix_time;
use crate::results::{RunResults, Settings, Timestamp};
use crate::server::ConnectionInfo;
use crate::service::{Echo, Search};
use crate::socket::Endpoint;
use clap::CommandFactory;
use embedded::EmbeddedServer;
use options::Options;
use std::process::ExitCode;

/// Properties of the client's options.
const PROGRAM: Program = Program {
    prefix: "MULTICONN_CLIENT_",
    // The common variables may hold the server's certificate and key, which are not the client's.
    own: &["tls_cert", "tls_key"],
    overrides: &[("host", &["target"]), ("target", &["host", "port"])],
    replaced: options::replaced_by_arguments,
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
        ("--embedded", "multiconn-client --embedded -c 3"),
        ("--unix", "multiconn-client --unix m.sock -c 3"),
    ],
};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything that takes time. If this fails, the client reports it. Signals after the run are ignored: a lost
    // terminal can send more than one, and the results must still be written.
    let _signals = catch_client_signals();
    let Parsed { mut options, configuration, variables }: Parsed<Options> = match parse_with_variables(&PROGRAM) {
        Ok(parsed) => parsed,
        Err(status) => return status.into(),
    };
    let _log = options.verbosity.start_log();
    variables::warn_of_unknown(&Options::command(), &PROGRAM);
    let started = Timestamp::after_1970(unix_time());
    let interpreted = options.interpret_words();
    let status = interpreted.and_then(|()| run_and_report(&options, &configuration, started));
    status.unwrap_or_else(|error| report_error(&error, &variables)).into()
}

/// Runs the client, prints and writes the results. Returns the exit status.
fn run_and_report(options: &Options, configuration: &Settings, started: Timestamp) -> Result<u8, Error> {
    options.datagrams.check()?;
    let (mut files, is_quiet) = (options.results.open()?, options.verbosity.is_quiet());
    let complete = |mut results: RunResults| {
        results.configuration = options.settings(configuration);
        results.started = started;
        results.environment = environment();
        results.finalize();
        results
    };
    if options.datagrams.udp_options().is_some() {
        let config = options.config(options.place.targets())?;
        let report = run_with_progress(options, config, Client::run_datagrams)?;
        return Ok(files.finish(&report, report.is_success(), &complete(RunResults::from(&report)), is_quiet));
    }
    let report = run(options)?;
    if options.content.stdin {
        return Ok(interactive_run(&report));
    }
    // With -q, a request prints only the answers, for scripts: on stderr if stdout is taken by a document. A load prints
    // none.
    let is_for_script = is_quiet && report.asked;
    let has_stdout = is_for_script && files.take_stdout();
    let is_load = report.load.rate.is_some() || report.load.duration.is_some();
    let is_printed = !is_for_script || is_load || !report.is_success() || print_results(&report, has_stdout);
    let status = files.finish(&report, report.is_success(), &complete(RunResults::from(&report)), is_quiet);
    Ok(if is_printed || status != SUCCESS { status } else { FAILURE })
}

/// Prints each answer on a line of its own, on stdout or on stderr. Returns whether that succeeded.
fn print_results(report: &Report, to_stdout: bool) -> bool {
    report.answers.iter().all(|(_, answer, _)| {
        let result = answer.result();
        if to_stdout { output::print_line(result) } else { output::print_to_stderr(escape::line(result)) }
    })
}

/// The exit status of an interactive run. Only the replies were printed; failures are logged here.
fn interactive_run(report: &Report) -> u8 {
    for failure in report.failed.keys().filter(|_| !report.interrupted) {
        output::log_error(&format!("{}: {failure}", report.targets.join(", ")));
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
    run_with_progress(options, config, Client::run)
}

/// Runs the client, with the progress view.
fn run_with_progress<R>(
    options: &Options,
    config: ClientConfig,
    run: impl FnOnce(Client) -> Result<R, Error>,
) -> Result<R, Error> {
    let view = options.view(config.connections, &config.load);
    let has_no_end = config.expect == Expect::ReadOnly && config.load.duration.is_none() && config.hold.is_none();
    let client = Client::new(config)?;
    if has_no_end {
        log::info!("sending nothing: reading until the server closes, or until Ctrl-C");
    }
    let bar = view.map(|view| ProgressBar::start(client.progress(), view));
    let report = run(client);
    drop(bar);
    report
}

/// Runs the client against a server in the same process.
fn run_embedded(options: &Options) -> Result<Report, Error> {
    // Validate the client's configuration first: otherwise the server could report an error that the user did not
    // cause.
    let validated = options.config(vec![Endpoint::tcp("127.0.0.1", 0)])?;
    let _ = Client::new(ClientConfig { handle_signals: false, ..validated })?;
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
