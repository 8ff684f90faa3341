//! `--config FILE`: arguments from a file, one per line.
//!
//! They are put before those of the command line. Arguments that the command line or the environment replaces are left
//! out, so that options conflict only within one source.

use crate::error::in_words;
use crate::escape;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Identifier of the option.
const OPTION: &str = "config";

/// Maximum size of a file. A larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// Adds `--config` to a program.
pub(super) fn with_option(command: Command) -> Command {
    let option = Arg::new(OPTION).long(OPTION).value_name("FILE").value_parser(value_parser!(PathBuf));
    command.arg(option.global(true).help_heading(None).help(
        "Read arguments from FILE, one per line; a line that begins with # is a comment. The command line and \
         environment variables take precedence; values of a repeatable option are added to those of the command line",
    ))
}

/// The file that the command line names.
pub(super) fn path(typed: &ArgMatches) -> Option<PathBuf> {
    typed.get_one(OPTION).cloned()
}

/// Reads the arguments in a file.
///
/// # Errors
///
/// A sentence: the file cannot be read, or a line holds two arguments.
pub(super) fn read(path: &Path) -> Result<Vec<OsString>, String> {
    let name = escape::path(path);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        format!("cannot read {name}: {}; give a file such as multiconn.conf (--config)", in_words(&error))
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{name} is larger than 1 MiB; give a file of arguments, one per line (--config)"));
    }
    arguments(&name.to_string(), &bytes)
}

/// The arguments in the content of the file `name`.
pub(super) fn arguments(name: &str, bytes: &[u8]) -> Result<Vec<OsString>, String> {
    // Some editors of Windows begin a file with a byte order mark.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1_u64..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    let arguments = lines.map(|(line, number)| match two_arguments(line) {
        None if line == b"--" => Err(format!(
            "{name}, line {number}: \"--\" is for the command line, and not for a file; give one argument per line"
        )),
        Some((option, value)) => Err(format!(
            "{name}, line {number}: {option:?} and its value are two arguments; give {option}={value} or a line for each"
        )),
        None => Ok(OsString::from_vec(line.to_vec())),
    });
    arguments.collect()
}

/// The option and the value of a line such as `--workers 2`.
fn two_arguments(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.starts_with('-'))?;
    let (option, value) = line.split_once(char::is_whitespace)?;
    (!option.contains('=')).then(|| (option.to_owned(), value.trim().to_owned()))
}

/// Returns the command line with the arguments of the file before its own. `typed` is what the command line means.
/// `replacement` tells what takes the place of an argument of the file, besides the same argument of the command line.
///
/// # Errors
///
/// What is wrong with the arguments of the file.
pub(super) fn merge(
    command: &Command,
    typed: &ArgMatches,
    replacement: impl Fn(&Arg) -> Replacement,
    file: &[OsString],
    mut line: Vec<OsString>,
) -> Result<Vec<OsString>, clap::Error> {
    // Options of a subcommand are put behind its name.
    let (command, typed, start) = match typed.subcommand() {
        Some((name, typed)) => match command.find_subcommand(name) {
            Some(command) => (command, typed, 1 + position(&line, name)),
            None => return Ok(line),
        },
        None if command.has_subcommands() => return Ok(line),
        None => (command, typed, 1),
    };
    let is_typed = |argument: &Arg| is_given(typed, argument);
    let has_positionals = command.get_positionals().any(is_typed);
    let replacement = |argument: &Arg| match argument.get_action() {
        _ if argument.is_positional() && has_positionals => Replacement::Other,
        ArgAction::Append => replacement(argument),
        _ if is_typed(argument) => Replacement::Other,
        _ => replacement(argument),
    };
    let arguments = remaining(command, &parse(command, file)?, replacement);
    line.splice(start..start, arguments);
    Ok(line)
}

/// What takes the place of an argument of the file.
#[derive(Debug)]
pub(super) enum Replacement {
    /// It stays.
    Nothing,
    /// It is left out.
    Other,
    /// A positional argument has this value instead, so that those behind it keep their places.
    Value(OsString),
}

/// The position of a subcommand's name. Before it there is only this option.
fn position(line: &[OsString], name: &str) -> usize {
    let is_value = |index: usize| line[index - 1] == "--config";
    (1..line.len()).find(|&index| line[index] == name && !is_value(index)).unwrap_or(0)
}

/// Whether an argument was given, and is not a default.
fn is_given(matches: &ArgMatches, argument: &Arg) -> bool {
    let id = argument.get_id().as_str();
    matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// What the arguments of the file mean to `command`. They need not be complete.
fn parse(command: &Command, file: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut command = command.clone().no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
    let found = match command.try_get_matches_from_mut(file) {
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            command.clone().ignore_errors(true).try_get_matches_from(file)?
        }
        result => result?,
    };
    let is_alone = |argument: &&Arg| argument.is_exclusive_set() || argument.get_id() == OPTION;
    match command.get_arguments().filter(is_alone).find(|argument| is_given(&found, argument)) {
        Some(argument) => {
            let text = format!("--{} is for the command line, and not for a file", argument.get_id());
            Err(command.clone().error(ErrorKind::UnknownArgument, text))
        }
        None => Ok(found),
    }
}

/// The arguments of the file that nothing replaces, options first.
fn remaining(command: &Command, found: &ArgMatches, replacement: impl Fn(&Arg) -> Replacement) -> Vec<OsString> {
    let (mut options, mut positionals) = (Vec::new(), Vec::new());
    for argument in command.get_arguments().filter(|argument| is_given(found, argument)) {
        let id = argument.get_id().as_str();
        let values = found.get_raw(id).into_iter().flatten();
        match (replacement(argument), argument.get_long()) {
            (Replacement::Nothing, None) => positionals.extend(values.map(OsStr::to_owned)),
            (Replacement::Value(value), None) => positionals.push(value),
            (Replacement::Nothing, Some(long)) => match argument.get_action() {
                ArgAction::SetTrue => options.push(format!("--{long}").into()),
                ArgAction::Count => (0..found.get_count(id)).for_each(|_| options.push(format!("--{long}").into())),
                _ => options.extend(values.map(|value| with_value(long, value))),
            },
            (Replacement::Other | Replacement::Value(_), _) => {}
        }
    }
    options.extend(positionals);
    options
}

fn with_value(long: &str, value: &OsStr) -> OsString {
    let mut argument = format!("--{long}=").into_bytes();
    argument.extend_from_slice(value.as_bytes());
    OsString::from_vec(argument)
}
