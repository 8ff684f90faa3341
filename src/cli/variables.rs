//! Options from environment variables.
//!
//! The long name of an option is also the name of its variables. `--max-connections` is
//! `MULTICONN_SERVER_MAX_CONNECTIONS`, which only the server reads, or `MULTICONN_MAX_CONNECTIONS`. Sources in order of
//! precedence: command line, the program's variable, the common variable, the file of
//! `--config`. An option overrides conflicting options from a source of lower precedence.

use super::config_file::Replacement;
use super::values;
use crate::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Id};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Prefix of the variables that all programs read.
const COMMON: &str = "MULTICONN_";

/// Value names of options whose values may contain commas. Variables of such options have one value per line.
const FREE_TEXT: [&str; 4] = ["TEXT", "VALUE", "PATH", "FILE"];

/// Properties of a program's options that clap does not know.
#[derive(Debug)]
pub(super) struct Program {
    /// Prefix of the program's own variables.
    pub(super) prefix: &'static str,
    /// Options without a common variable, because they mean something else in another program.
    pub(super) own: &'static [&'static str],
    /// Options that override others from a source of lower precedence, although both may be typed together.
    pub(super) overrides: &'static [(&'static str, &'static [&'static str])],
    /// Options that the typed positional arguments, in their order, replace.
    pub(super) replaced: fn(&[String]) -> &'static [&'static str],
    /// Options listed by `-h`.
    pub(super) common: &'static [&'static str],
    /// Example commands for options that conflict with others.
    pub(super) examples: &'static [(&'static str, &'static str)],
}

/// The environment variables that supply an option's value.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<Variable>);

#[derive(Debug)]
struct Variable {
    name: String,
    option: Id,
    /// The option as errors name it.
    shown: String,
    value: OsString,
    /// Whether the value is a path, which errors show instead of the option.
    is_path: bool,
}

impl Variables {
    /// Collects the variables that apply beside the `typed` options. Empty variables, and flags that are off, are
    /// ignored.
    pub(super) fn of(command: &Command, typed: &ArgMatches, program: &Program) -> Self {
        let replaced = (program.replaced)(&typed_arguments(command, typed));
        let options = command.get_arguments().filter(|argument| takes_variable(argument));
        let options: Vec<&Arg> = options.filter(|option| !replaced.contains(&option.get_id().as_str())).collect();
        let is_typed = |option: &Arg| is_typed(typed, option);
        let mut given: Vec<&Arg> = options.iter().copied().filter(|option| is_typed(option)).collect();
        let mut open: Vec<&Arg> = options.iter().copied().filter(|option| !is_typed(option)).collect();
        let mut variables = Vec::new();
        for prefix in [program.prefix, COMMON] {
            let (mut set, mut unset) = (Vec::new(), Vec::new());
            for option in open {
                match variable(program, prefix, option) {
                    Some((name, value)) => set.push((option, value, name)),
                    None => unset.push(option),
                }
            }
            // Two conflicting variables of the same precedence both stay: the parser rejects them.
            let is_replaced = |option: &Arg| given.iter().any(|other| replaces(command, program, other, option));
            set.retain(|(option, value, _)| !is_off(option, value) && !is_replaced(option));
            given.extend(set.iter().map(|(option, ..)| *option));
            variables.extend(set.into_iter().map(|(option, value, name)| Variable::new(option, value, name)));
            open = unset;
        }
        Self(variables)
    }

    /// What takes the place of an argument of a file, which variables and the `typed` arguments override.
    pub(super) fn replacement(
        &self,
        command: &Command,
        typed: &ArgMatches,
        program: &Program,
        argument: &Arg,
    ) -> Replacement {
        let mut variables = [program.prefix, COMMON].into_iter().filter(|_| takes_variable(argument));
        if let Some((_, value)) = variables.find_map(|prefix| variable(program, prefix, argument)) {
            return if argument.is_positional() { Replacement::Value(value) } else { Replacement::Other };
        }
        let is_given =
            |other: &&Arg| is_typed(typed, other) || self.0.iter().any(|variable| variable.option == *other.get_id());
        let mut given = command.get_arguments().filter(is_given);
        let is_replaced = given.any(|given| replaces(command, program, given, argument));
        let id = argument.get_id().as_str();
        if is_replaced || (program.replaced)(&typed_arguments(command, typed)).contains(&id) {
            return Replacement::Other;
        }
        Replacement::Nothing
    }

    /// Makes `command` read these variables.
    pub(super) fn apply(&self, command: Command) -> Command {
        self.0.iter().fold(command, |command, variable| {
            command.mut_arg(&variable.option, |option| {
                let option = match option.get_action() {
                    ArgAction::SetTrue => option.value_parser(values::switch),
                    ArgAction::Count => option.value_parser(values::level),
                    ArgAction::Append => {
                        let delimiter = delimiter(&option);
                        option.value_delimiter(delimiter)
                    }
                    _ => option,
                };
                option.env(variable.name.clone())
            })
        })
    }

    /// Prefixes an error with the names of the variables that caused it.
    pub(super) fn name_variables(&self, error: &str) -> String {
        let is_decoration = |character: char| !character.is_alphanumeric() && character != '-';
        let words: Vec<&str> = error.split_whitespace().map(|word| word.trim_matches(is_decoration)).collect();
        let at_fault = self.0.iter().filter(|variable| {
            let is_shown = |path: &str| variable.is_path && error.contains(path);
            // clap's error about text that is not UTF-8 names no option.
            let is_value_shown = variable.value.to_str().map_or(words.contains(&"UTF-8"), is_shown);
            words.contains(&variable.shown.as_str()) || is_value_shown
        });
        let names: Vec<&str> = at_fault.map(|variable| variable.name.as_str()).collect();
        match names.as_slice() {
            [] => error.to_owned(),
            [name] => format!("environment variable {name}: {error}"),
            names => format!("environment variables {}: {error}", names.join(" and ")),
        }
    }
}

impl Variable {
    fn new(option: &Arg, value: OsString, name: String) -> Self {
        let shown = option.get_long().map_or_else(|| suffix(option), |long| format!("--{long}"));
        let is_path =
            option.get_value_names().unwrap_or_default().iter().any(|name| matches!(name.as_str(), "PATH" | "FILE"));
        Self { name, option: option.get_id().clone(), shown, value, is_path }
    }
}

/// Appends a sentence about environment variables to the long help of `command`.
pub(super) fn explain(command: Command, program: &Program) -> Command {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let prefix = program.prefix;
    command.after_long_help(format!(
        "{help}\n\nEnvironment: a variable can set each option, HOST and PORT, as {prefix}WORKERS (or for all programs \
         MULTICONN_WORKERS) sets --workers; the command line takes precedence, and \
         variables over the file of --config."
    ))
}

/// Warns of variables with the program's prefix that match no option of `command`.
pub(super) fn warn_of_unknown(command: &Command, program: &Program) {
    let known: Vec<String> = command.get_arguments().filter(|option| takes_variable(option)).map(suffix).collect();
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        let Some(rest) = name.strip_prefix(program.prefix) else { continue };
        // Kubernetes sets these for a service with the program's name.
        let is_service_link = rest.starts_with("SERVICE_") || rest.starts_with("PORT_");
        if !is_service_link && !known.iter().any(|suffix| suffix == rest) {
            let option = rest.to_lowercase().replace('_', "-");
            log::warn!("environment variable {name} is not used: {} has no option --{option}", command.get_name());
        }
    }
}

/// Whether an argument can come from a variable: HOST, PORT, and all options that may be given with others, but not the
/// arguments after PORT.
fn takes_variable(argument: &Arg) -> bool {
    match argument.get_action() {
        _ if argument.is_exclusive_set() => false,
        ArgAction::Set | ArgAction::SetTrue | ArgAction::Count => true,
        ArgAction::Append => !argument.is_positional(),
        _ => false,
    }
}

/// Whether an argument is on the command line.
fn is_typed(typed: &ArgMatches, argument: &Arg) -> bool {
    typed.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// The positional arguments on the command line.
fn typed_arguments(command: &Command, typed: &ArgMatches) -> Vec<String> {
    let positionals = command.get_positionals().filter(|argument| is_typed(typed, argument));
    let values = positionals.filter_map(|argument| typed.get_raw(argument.get_id().as_str())).flatten();
    values.map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The file of `--config` that a variable names.
pub(super) fn config_file(program: &Program) -> Option<PathBuf> {
    value(&format!("{}CONFIG", program.prefix)).map(PathBuf::from)
}

/// Name and value of the variable of an argument with this prefix, if it is set.
fn variable(program: &Program, prefix: &str, argument: &Arg) -> Option<(String, OsString)> {
    let is_read = prefix != COMMON || !program.own.contains(&argument.get_id().as_str());
    let name = is_read.then(|| format!("{prefix}{}", suffix(argument)))?;
    value(&name).map(|value| (name, value))
}

/// The name of a variable without its prefix.
fn suffix(option: &Arg) -> String {
    option.get_long().unwrap_or(option.get_id().as_str()).to_uppercase().replace('-', "_")
}

fn value(name: &str) -> Option<OsString> {
    // For a service with the program's name, Kubernetes sets its PORT to an address such as tcp://10.0.0.1:65432.
    let is_service_link = |value: &OsString| name.ends_with("_PORT") && value.to_string_lossy().contains("://");
    env::var_os(name).filter(|value| !value.is_empty() && !is_service_link(value))
}

fn is_off(option: &Arg, value: &OsString) -> bool {
    let text = value.to_string_lossy();
    match option.get_action() {
        ArgAction::SetTrue => values::switch(&text) == Ok(false),
        ArgAction::Count => values::level(&text) == Ok(0),
        _ => false,
    }
}

/// The separator between values in the variable of a repeatable option.
fn delimiter(option: &Arg) -> char {
    let names = option.get_value_names().unwrap_or_default();
    if names.iter().any(|name| FREE_TEXT.contains(&name.as_str())) { '\n' } else { ',' }
}

/// Whether `given` overrides `option`.
fn replaces(command: &Command, program: &Program, given: &Arg, option: &Arg) -> bool {
    let conflict = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|conflicting| conflicting.get_id() == other.get_id())
    };
    let (given_id, option_id) = (given.get_id().as_str(), option.get_id().as_str());
    let mut overrides = program.overrides.iter().filter(|(id, _)| *id == given_id);
    conflict(given, option) || conflict(option, given) || overrides.any(|(_, replaced)| replaced.contains(&option_id))
}

/// The options given on the command line, without those from the environment. It must be the first field of its struct:
/// parsing the other fields removes them from the matches.
#[derive(Debug, Clone)]
pub(super) struct Typed(Vec<String>);

impl Typed {
    /// The first of `options`, such as `--tls-ca`, that was given on the command line.
    pub(super) fn first_of<'a>(&self, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let id = |option: &str| option.trim_start_matches('-').replace('-', "_");
        options.into_iter().find(|option| self.0.contains(&id(option)))
    }
}

/// Rejects an option that has no effect without `feature`, which `remedy` enables.
pub(super) fn refuse_stray(option: Option<&str>, feature: &str, remedy: &str) -> Result<(), Error> {
    option.map_or(Ok(()), |name| {
        Err(Error::Usage(format!("{name} does nothing without {feature}; give {remedy} as well")))
    })
}

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_typed = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Ok(Self(matches.ids().filter(is_typed).map(|id| id.as_str().to_owned()).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Typed {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
