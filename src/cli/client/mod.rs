//! `multiconn-client`: runs the client from its command line, with the embedded server if requested.

mod embedded;
mod live;
mod load;
mod message_content;
mod message_options;
mod options;
mod search_options;
mod shards;
mod udp;

use super::option_names::advice;
use super::progress::ProgressBar;
use super::search_line::SearchLine;
use super::variables::{self, Program};
use super::{FAILURE, INTERRUPTED, Parsed, SUCCESS, output, parse_with_variables, report_error, with_common_options};
use crate::client::{Client, ClientConfig, Expect, catch_client_signals};
use crate::connection::Limits;
use crate::error::{Error, cause_in_words};
use crate::escape;
use crate::results::{Configuration, RunResults, SearchReply};
use crate::service::{Echo, Search};
use crate::socket::Endpoint;
use clap::CommandFactory;
use embedded::EmbeddedServer;
use live::LiveOutputs;
use options::Options;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

/// Properties of the client's options.
const PROGRAM: Program = Program {
    prefix: "MULTICONN_CLIENT_",
    // The common variables may hold the server's certificate, key and address of admin pages, which are not the
    // client's.
    own: &["config", "tls_cert", "tls_key", "metrics"],
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
        "find_max",
        "reply_timeout",
        "workers",
        "json",
        "html",
        "fail_if",
        "config",
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

/// The command line, for tests of the names of options.
#[cfg(test)]
pub(super) fn command() -> clap::Command {
    Options::command()
}

/// Makes the configuration of a parsed command line, for fuzzers.
#[cfg(test)]
pub(super) fn configure(matches: &clap::ArgMatches) -> Result<(), Error> {
    use clap::FromArgMatches;
    let mut options = Options::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    options.interpret_positionals()?;
    options.datagrams.check()?;
    let config = options.config(options.target.targets())?;
    options.search()?.map_or(Ok(()), |search| search.check(&config))
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything that takes time. If this fails, the client reports it. Signals after the run are ignored: a lost
    // terminal can send more than one, and the results must still be written. The guard is never dropped: a signal while
    // the process exits must not change the exit status.
    let _signals = ManuallyDrop::new(catch_client_signals());
    super::first_process::reap_orphans();
    let Parsed { mut options, configuration, variables }: Parsed<Options> = match parse_with_variables(&PROGRAM) {
        Ok(parsed) => parsed,
        Err(status) => return status.into(),
    };
    let _log = options.log.start_log();
    variables::warn_of_unknown(&with_common_options(Options::command()), &PROGRAM);
    let interpreted = options.interpret_positionals();
    let status = interpreted.and_then(|()| run_and_report(&options, &configuration));
    status.unwrap_or_else(|error| report_error(&error, &variables)).into()
}

/// Runs the client, prints and writes the results. Returns the exit status.
fn run_and_report(options: &Options, configuration: &Configuration) -> Result<u8, Error> {
    options.datagrams.check()?;
    let (mut files, is_quiet) = (options.report.open()?, options.log.is_quiet());
    let mut live = options.live.open(&mut files)?;
    let mut results = run(options, &mut live)?;
    let is_live_written = live.finish();
    results.configuration = options.settings(configuration);
    // What helps a late client depends on its options.
    results.finalize();
    if options.content.stdin {
        return Ok(interactive_run(&results));
    }
    // With -q, a request prints only the replies, for scripts: on stderr if stdout is taken by a document. A load prints
    // none.
    let is_for_script = is_quiet && !options.content.requests().is_empty();
    let has_stdout = is_for_script && files.take_stdout();
    let is_printed =
        !is_for_script || results.is_load() || !results.is_success() || print_answers(&results, has_stdout);
    let status = files.finish(&results, is_quiet);
    Ok(if (is_printed && is_live_written) || status != SUCCESS { status } else { FAILURE })
}

/// Prints each reply on a line of its own, on stdout or on stderr. Returns whether that succeeded.
fn print_answers(results: &RunResults, to_stdout: bool) -> bool {
    results.search_replies.iter().all(|SearchReply { text, .. }| {
        if to_stdout { output::print_line(text) } else { output::print_to_stderr(escape::line(text)) }
    })
}

/// The exit status of an interactive run. Only the replies were printed; failures are logged here.
fn interactive_run(results: &RunResults) -> u8 {
    for cause in results.errors.keys().filter(|_| !results.interrupted) {
        let advice = advice(cause).map_or_else(String::new, |advice| format!(" ({advice})"));
        output::log_error(&format!("{}: {}{advice}", results.targets.join(", "), cause_in_words(cause)));
    }
    match (results.interrupted, results.is_success()) {
        (true, _) => INTERRUPTED,
        (false, true) => SUCCESS,
        (false, false) => FAILURE,
    }
}

fn run(options: &Options, outputs: &mut LiveOutputs) -> Result<RunResults, Error> {
    if options.target.embedded {
        return run_embedded(options, outputs);
    }
    run_client(options, options.config(options.target.targets())?, outputs)
}

fn run_client(options: &Options, config: ClientConfig, outputs: &mut LiveOutputs) -> Result<RunResults, Error> {
    if options.content.stdin {
        return Client::interactive(config, std::io::stdin(), output::relay_target())?.run();
    }
    let view = options.view(config.own_connections(), &config.load);
    if let Some(search) = options.search()? {
        let line = view.map(|view| SearchLine::new(view.bar));
        return search.run(&config, |progress| line.iter().for_each(|line| line.show(progress)));
    }
    let has_no_end = config.expect == Expect::ReadOnly && config.load.duration.is_none() && config.hold.is_none();
    let mut client = Client::new(config)?;
    if has_no_end {
        log::info!("sending nothing: reading until the server closes, or until Ctrl-C");
    }
    outputs.attach(&mut client)?;
    let bar = view.map(|view| ProgressBar::start(&mut client, view));
    let results = client.run();
    drop(bar);
    results
}

/// Runs the client against a server in the same process.
fn run_embedded(options: &Options, outputs: &mut LiveOutputs) -> Result<RunResults, Error> {
    // Validate the client's configuration first: otherwise the server could report an error that the user did not
    // cause.
    let validated = options.config(vec![Endpoint::tcp("127.0.0.1", 0)])?;
    match options.search()? {
        Some(search) => search.check(&validated)?,
        None => drop(Client::new(ClientConfig { handle_signals: false, ..validated })?),
    }
    let with_tls = options.tls.is_wanted();
    let max_bytes = Limits::default().buffer_bytes;
    let server = if options.content.requests().is_empty() {
        EmbeddedServer::start(with_tls, "Echoing", max_bytes, |_| Box::new(Echo))?
    } else {
        EmbeddedServer::start(with_tls, "Sending", Search::buffer_bytes(max_bytes), move |opened| {
            Box::new(Search::new(max_bytes).logging(|| opened.peer().in_python()))
        })?
    };
    let results = run_client(options, options.config(vec![Endpoint::tcp("127.0.0.1", server.port)])?, outputs);
    server.end()?;
    results
}
