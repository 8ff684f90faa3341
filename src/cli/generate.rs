//! Manual pages and shell completions, generated from the command lines.

use clap::builder::EnumValueParser;
use clap::{Arg, ArgMatches, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};

/// Identifier of the option.
const OPTION: &str = "generate";

/// What the option prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Document {
    Man,
    CompletionsBash,
    CompletionsZsh,
    CompletionsFish,
}

/// Adds `--generate` to a program.
pub(super) fn with_option(command: Command) -> Command {
    let option = Arg::new(OPTION).long(OPTION).value_name("WHAT").exclusive(true).help_heading(None);
    let option = option.value_parser(EnumValueParser::<Document>::new()).hide_possible_values(true);
    command.arg(option.help(
        "Print a manual page or shell completions, and exit: man, completions-bash, completions-zsh or completions-fish",
    ))
}

/// What `--generate` asks for, if it was given.
pub(super) fn text(command: &Command, typed: &ArgMatches) -> Option<String> {
    typed.get_one::<Document>(OPTION).map(|document| match document {
        Document::Man => manual(command),
        Document::CompletionsBash => completions(command, Shell::Bash),
        Document::CompletionsZsh => completions(command, Shell::Zsh),
        Document::CompletionsFish => completions(command, Shell::Fish),
    })
}

fn completions(command: &Command, shell: Shell) -> String {
    let (name, mut script) = (command.get_name(), Vec::new());
    clap_complete::generate(shell, &mut command.clone(), name, &mut script);
    // In bash, clap_complete 4.6 separates words of the program's name in two ways, and finds no option of a subcommand:
    // https://github.com/clap-rs/clap/issues/6421
    String::from_utf8_lossy(&script).replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// The manual page: usage, subcommands, options, and a section for each part of the text at the end of `--help`.
fn manual(command: &Command) -> String {
    let page = Man::new(with_usage(command)).date(" ");
    let mut out = rendered(|out| page.render_title(out));
    out += &rendered(|out| page.render_name_section(out));
    out += &rendered(|out| page.render_synopsis_section(out));
    out += &rendered(|out| page.render_description_section(out));
    for subcommand in command.get_subcommands() {
        out += &subcommand_section(command, subcommand);
    }
    // The headings of groups of options are one level below.
    let options = rendered(|out| page.render_options_section(out));
    out += &options.replace("\n.SH ", "\n.SS ").replace(".SS OPTIONS", ".SH OPTIONS");
    let end = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    out + &end.split("\n\n").map(end_section).collect::<String>()
}

/// Usage, description and options of a subcommand in one section.
fn subcommand_section(command: &Command, subcommand: &Command) -> String {
    let name = format!("{} {}", command.get_name(), subcommand.get_name());
    let page = Man::new(with_usage(&subcommand.clone().bin_name(name)));
    let parts = [Man::render_synopsis_section, Man::render_description_section, Man::render_options_section];
    let mut out = format!(".SH {}\n", subcommand.get_name().to_uppercase());
    for text in parts.map(|part| rendered(|out| part(&page, out))) {
        let lines = text.lines().map(|line| if line.starts_with(".SH ") { ".PP" } else { line });
        out.extend(lines.flat_map(|line| [line, "\n"]));
    }
    out
}

fn rendered(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = render(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// One line of usage in place of all options.
fn with_usage(command: &Command) -> Command {
    let usage = command.clone().render_usage().to_string();
    command.clone().override_usage(usage.trim_start_matches("Usage: ").to_owned())
}

/// The section for `Heading:` with a list, `Heading: text`, or text.
fn end_section(part: &str) -> String {
    let mut roff = Roff::new();
    let (heading, text) = match part.split_once(':') {
        Some((heading, text)) if text.starts_with('\n') || !heading.contains(' ') => (heading, text),
        _ => ("Notes", part),
    };
    roff.control("SH", [heading.to_uppercase().as_str()]);
    for line in text.lines().map(str::trim_end) {
        match line.strip_prefix("  ").filter(|entry| !entry.starts_with(' ')) {
            Some(entry) => {
                let (term, meaning) = entry.split_once("  ").unwrap_or((entry, ""));
                roff.control("TP", []).text([bold(term)]);
                if !meaning.is_empty() {
                    roff.text([roman(meaning.trim_start())]);
                }
            }
            None if line.is_empty() => {}
            None => _ = roff.text([roman(line.trim_start())]),
        }
    }
    roff.render()
}
