//! The faces of the programs: what the user typed becomes a configuration, and what happened becomes text and an exit
//! status. Nothing is decided here that a library user would miss.

mod client;
mod datagrams;
mod files;
mod line_queue;
mod logging;
mod output;
mod progress;
mod report;
mod results;
mod server;
mod settings;
mod tls;
mod values;

pub use client::main as client_main;
pub use report::main as report_main;
pub use server::main as server_main;

use crate::record::Settings;
use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// All went as asked.
const SUCCESS: u8 = 0;
/// It ran, and something failed.
const FAILURE: u8 = 1;
/// The command line was wrong.
const USAGE: u8 = 2;
/// A threshold was crossed.
const CROSSED: u8 = 3;
/// A signal ended the run; the report so far was printed.
const INTERRUPTED: u8 = 130;

/// An option that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// Parses the command line; on `--help` and `--version` prints those, on a mistake one sentence that names it.
fn parse<P: clap::Parser>() -> Result<P, u8> {
    parse_and_keep(&[]).map(|(options, _)| options)
}

/// The same, with every option and its value as a record keeps them. `examples` has a good command for options that rule
/// others out.
fn parse_and_keep<P: clap::Parser>(examples: &[(&str, &str)]) -> Result<(P, Settings), u8> {
    let mut command = P::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let error = match matches.and_then(|matches| Ok((P::from_arg_matches(&matches)?, matches))) {
        Ok((options, matches)) => return Ok((options, settings::of(&command, &matches))),
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Err(if output::say(error.render()) { SUCCESS } else { FAILURE });
    }
    output::complain(&in_one_line(P::command(), &error, examples));
    Err(USAGE)
}

/// What was wrong and what would be right, without the usage text, which `--help` shows.
fn in_one_line(command: clap::Command, error: &clap::Error, examples: &[(&str, &str)]) -> String {
    let text = error.render().to_string();
    let first = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    let mut line = first.trim_start_matches("error: ").to_owned();
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand];
    if let Some(suggestion) = suggested.into_iter().find_map(|kind| error.get(kind)) {
        line = format!("{line}; did you mean {suggestion}?");
    }
    let mut examples = examples.iter().filter(|_| error.kind() == ErrorKind::ArgumentConflict);
    if let Some((_, example)) = examples.find(|(option, _)| line.contains(option)) {
        line = format!("{line}; give a command such as {example}");
    }
    if let Some(variable) = variable_at_fault(command, error) {
        line = format!("environment variable {variable}: {line}");
    }
    if !line.contains("; ") && !line.contains("possible values") {
        line.push_str("; see --help");
    }
    line
}

/// The environment variable that a refused value came from, if it did not come from the command line.
fn variable_at_fault(mut command: clap::Command, error: &clap::Error) -> Option<String> {
    let (Some(ContextValue::String(shown)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    // Before it is built, an argument cannot be shown.
    command.build();
    let argument = command.get_arguments().find(|argument| argument.to_string() == *shown)?;
    let variable = argument.get_env()?;
    let option = format!("--{}", argument.get_long()?);
    let is_typed = std::env::args_os().any(|word| word.to_string_lossy().split('=').next() == Some(&option));
    let is_at_fault = !is_typed && std::env::var_os(variable)?.to_string_lossy() == *value;
    is_at_fault.then(|| variable.to_string_lossy().into_owned())
}

/// The exit status of an error that ended the program.
fn status_of(error: &crate::error::Error) -> u8 {
    if error.is_usage() { USAGE } else { FAILURE }
}
