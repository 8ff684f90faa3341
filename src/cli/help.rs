//! Help texts in two forms: `-h` shows one line per common option, `--help` shows everything.

use clap::builder::PossibleValue;
use clap::{Arg, Command};

/// Marks that end the first line of a help text.
const ENDS: [&str; 4] = [". ", "; ", ": ", " ("];

/// Returns `command` with short and long help. The short help lists only the `common` options, or all options if
/// `common` is none.
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

/// Makes the help text the long help, and its first line the short help.
fn shorten(argument: Arg) -> Arg {
    let text = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    let described = values.iter().filter_map(describe).collect::<String>();
    // In the short help, a list of values would take lines of its own.
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
