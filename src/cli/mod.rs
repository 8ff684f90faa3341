//! Command lines of the three programs: parse options into a configuration, run, then print results and return an exit
//! status. The library behaves the same without this module.

mod addresses;
mod client;
mod config_file;
mod first_process;
#[cfg(test)]
#[path = "../../tests/fuzz/command_line.rs"]
mod fuzz;
mod generate;
mod help;
mod line_queue;
mod log_format;
mod logging;
mod merge;
mod option_names;
mod output;
mod output_files;
mod progress;
mod recorded_configuration;
mod report;
mod result_files;
mod results;
mod search_line;
mod server;
mod socket;
mod tls;
mod udp;
mod values;
mod variables;

pub use crate::python_repr::AddressRepr;
pub use client::main as client_main;
pub use report::main as report_main;
pub use server::main as server_main;

use crate::error::Error;
use crate::escape;
use crate::results::Configuration;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command, ValueEnum};
use config_file::Replacement;
use std::ffi::OsString;
use std::path::Path;
use variables::{Program, Variables};

/// Success.
const SUCCESS: u8 = 0;
/// The program ran, and something failed.
const FAILURE: u8 = 1;
/// The command line is invalid.
const USAGE: u8 = 2;
/// A threshold was crossed, or could not be evaluated.
const CROSSED: u8 = 3;
/// A signal ended the run. The report so far is printed.
const INTERRUPTED: u8 = 130;

/// The version and build details, for `--version`.
const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MULTICONN_BUILD"), ")");

/// Value of an option that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Enabled.
    On,
    /// Disabled.
    Off,
}

/// The parsed options, and the environment variables that supplied some of them.
struct Parsed<P> {
    options: P,
    /// Every option and its value, as stored in result files.
    configuration: Configuration,
    variables: Variables,
}

/// Adds the options of all programs.
fn with_common_options(command: Command) -> Command {
    generate::with_option(config_file::with_option(command))
}

/// Parses the command line, with the arguments of a file. Prints the text for `--help` and `--version`; prints a one-line
/// error for an invalid command line.
fn parse<P: clap::Parser>() -> Result<P, u8> {
    let mut command = help::in_two_forms(with_common_options(P::command()), None);
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if let Ok(typed) = command.clone().ignore_errors(true).try_get_matches_from(&arguments) {
        print_generated(&command, &typed)?;
        if let Some(path) = config_file::path(&typed) {
            arguments = with_file(&path, &[], |file| {
                config_file::merge(&command, &typed, |_| Replacement::Nothing, file, arguments)
            })?;
        }
    }
    let matches = command.try_get_matches_from_mut(&arguments);
    finish(matches, &mut command, Variables::default(), &arguments, &[]).map(|parsed| parsed.options)
}

/// Parses the command line, the environment variables of `program`, and the arguments of a file.
fn parse_with_variables<P: clap::Parser>(program: &Program) -> Result<Parsed<P>, u8> {
    let command = variables::explain(with_common_options(P::command()), program);
    let mut command = help::in_two_forms(command, Some(program.common));
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Missing arguments may come from the environment or the file, so only the last parse reports errors.
    let mut lenient = command.clone().ignore_errors(true);
    let mut typed = lenient.try_get_matches_from_mut(&arguments).map_err(|error| print_help(&error))?;
    print_generated(&command, &typed)?;
    let mut variables = Variables::of(&lenient, &typed, program);
    if let Some(path) = config_file::path(&typed).or_else(|| variables::config_file(program)) {
        let replacement = |argument: &Arg| variables.replacement(&lenient, &typed, program, argument);
        arguments = with_file(&path, program.examples, |file| {
            config_file::merge(&command, &typed, replacement, file, arguments)
        })?;
        typed = lenient.try_get_matches_from_mut(&arguments).map_err(|error| print_help(&error))?;
        variables = Variables::of(&lenient, &typed, program);
    }
    command = variables.apply(command);
    let matches = command.try_get_matches_from_mut(&arguments);
    finish(matches, &mut command, variables, &arguments, program.examples)
}

/// Reads a file of arguments, and returns the command line that `merge` makes with them. Logs an error.
fn with_file(
    path: &Path,
    examples: &[(&str, &str)],
    merge: impl FnOnce(&[OsString]) -> Result<Vec<OsString>, clap::Error>,
) -> Result<Vec<OsString>, u8> {
    let merged = config_file::read(path).and_then(|file| {
        merge(&file).map_err(|error| {
            format!("{}: {}", escape::path(path), on_one_line(&error, &Variables::default(), &file, examples))
        })
    });
    merged.map_err(|text| {
        output::log_error(&text);
        USAGE
    })
}

fn finish<P: clap::Parser>(
    matches: Result<ArgMatches, clap::Error>,
    command: &mut Command,
    variables: Variables,
    arguments: &[OsString],
    examples: &[(&str, &str)],
) -> Result<Parsed<P>, u8> {
    match matches.and_then(|matches| Ok((P::from_arg_matches(&matches)?, matches))) {
        Ok((options, matches)) => {
            Ok(Parsed { options, configuration: recorded_configuration::of(command, &matches), variables })
        }
        Err(error) if !error.use_stderr() => Err(print_help(&error)),
        Err(error) => {
            output::log_error(&on_one_line(&error, &variables, arguments, examples));
            Err(USAGE)
        }
    }
}

/// Prints the manual page or completions that `--generate` asked for; the error is the exit status.
fn print_generated(command: &Command, typed: &ArgMatches) -> Result<(), u8> {
    match generate::text(command, typed) {
        Some(text) => Err(if output::write_document(&text) { SUCCESS } else { FAILURE }),
        None => Ok(()),
    }
}

/// Prints the text that `--help` or `--version` asked for.
fn print_help(asked: &clap::Error) -> u8 {
    if output::print(asked.render().to_string().trim_end()) { SUCCESS } else { FAILURE }
}

/// Formats an error about `arguments` on one line: the error and a correction, without the usage text that `--help` shows.
fn on_one_line(
    error: &clap::Error,
    variables: &Variables,
    arguments: &[OsString],
    examples: &[(&str, &str)],
) -> String {
    let mut text = error.render().to_string();
    // clap does not name the argument that is not valid UTF-8. The name of the program comes first, and may be another text.
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(argument) = arguments.iter().rfind(|argument| argument.to_str().is_none())
    {
        text = format!("{} is not valid UTF-8; give a text such as hello", escape::path(Path::new(argument)));
    }
    let first = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    let mut line = variables.name_variables(first.trim_start_matches("error: "));
    if let (Some((refused, _)), Some(ContextValue::Strings(values))) =
        (line.split_once(" [possible values: "), error.get(ContextKind::ValidValue))
    {
        line = format!("{refused}; give {}", alternatives(values));
    }
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand];
    if let Some(suggestion) = suggested.into_iter().find_map(|kind| error.get(kind)) {
        line = format!("{line}; did you mean {suggestion}?");
    }
    let mut examples = examples.iter().filter(|_| error.kind() == ErrorKind::ArgumentConflict);
    if let Some((_, example)) = examples.find(|(option, _)| line.contains(option)) {
        line = format!("{line}; give a command such as {example}");
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && (word.contains(['.', '/']) || Path::new(word).exists())
    {
        line = format!("{line}; to show a run, give show {word}");
    }
    if !line.contains("; ") {
        line.push_str("; see --help");
    }
    line
}

/// Formats a list: "on or off", "echo, any or none".
fn alternatives(values: &[String]) -> String {
    match values {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => values.concat(),
    }
}

/// Logs an error that ends the program. Returns the exit status.
fn report_error(error: &Error, variables: &Variables) -> u8 {
    output::log_error(&variables.name_variables(&option_names::in_words(error)));
    if error.is_usage() { USAGE } else { FAILURE }
}
