//! The two forms of help: `-h` has one line per common option, `--help` everything.

use clap::builder::PossibleValue;
use clap::{Arg, Command};

/// Where the first line of a help text ends.
const ENDS: [&str; 4] = [". ", "; ", ": ", " ("];

/// `command` with help in two forms. The short one has the `common` options only, if those are named.
pub(super) fn in_two_forms(command: Command, common: Option<&[&str]>) -> Command {
    let arrange = |argument: Arg| {
        let is_common = common.is_none_or(|common| common.contains(&argument.get_id().as_str()));
        shorten(argument).hide_short_help(!is_common)
    };
    let subcommand = |command: Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        in_two_forms(command.about(first_line(&about)).long_about(about), None)
    };
    command.mut_args(arrange).mut_subcommands(subcommand)
}

/// The help text becomes the long one, and its first line the short one.
fn shorten(argument: Arg) -> Arg {
    let text = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    let described = values.iter().filter_map(describe).collect::<String>();
    // In the short form a list of values takes lines of its own.
    let argument = if described.is_empty() { argument } else { argument.hide_possible_values(true) };
    argument.help(first_line(&text)).long_help(format!("{text}{described}"))
}

fn describe(value: &PossibleValue) -> Option<String> {
    let (name, text) = (value.get_name(), value.get_help().filter(|_| !value.is_hide_set())?);
    Some(format!("\n  {name:<10} {text}"))
}

fn first_line(text: &str) -> String {
    let end = ENDS.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].to_owned()
}
