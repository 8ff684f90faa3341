//! The configuration as stored in result files: every option with its value, given or default.

use super::values::switch;
use crate::results::Configuration;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

/// Arguments that do not affect a run, or are stored by their meaning.
const NO_SETTINGS: [&str; 6] = ["help", "version", "config", "host", "port", "words"];

/// All options of `command` that have a value, in the order of its help.
pub(super) fn of(command: &Command, matches: &ArgMatches) -> Configuration {
    let mut settings = Configuration::default();
    for argument in command.get_arguments().filter(|argument| !NO_SETTINGS.contains(&argument.get_id().as_str())) {
        if let Ok(Some(values)) = matches.try_get_raw(argument.get_id().as_str()) {
            let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
            if let Some(value) = in_json(argument, values) {
                settings.set(&name(argument), value);
            }
        }
    }
    settings
}

fn name(argument: &Arg) -> String {
    argument.get_long().map_or_else(|| argument.get_id().as_str().replace('_', "-"), str::to_owned)
}

/// Converts a value to JSON: repeatable options are lists of strings; whole numbers and flags have their own types.
fn in_json(argument: &Arg, mut values: Vec<String>) -> Option<Value> {
    if matches!(argument.get_action(), ArgAction::Append) {
        return Some(values.into());
    }
    let value = values.pop()?;
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        // The environment may say 1 or yes.
        return switch(&value).ok().map(Value::from);
    }
    let number = value.parse::<u64>().ok().map(Value::from);
    Some(number.or_else(|| value.parse::<bool>().ok().map(Value::from)).unwrap_or_else(|| value.into()))
}
