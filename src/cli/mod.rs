//! The faces of the programs: what the user typed becomes a configuration, and what happened becomes text and an exit
//! status. Nothing is decided here that a library user would miss.

mod client;
mod logging;
mod output;
mod progress;
mod server;
mod values;

pub use client::main as client_main;
pub use server::main as server_main;

use clap::ValueEnum;
use clap::error::{ContextKind, ErrorKind};

/// All went as asked.
const SUCCESS: u8 = 0;
/// It ran, and something failed.
const FAILURE: u8 = 1;
/// The command line was wrong.
const USAGE: u8 = 2;
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
    let error = match P::try_parse() {
        Ok(options) => return Ok(options),
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        output::say(error.render());
        return Err(SUCCESS);
    }
    output::complain(&in_one_line(&error));
    Err(USAGE)
}

/// What was wrong and what would be right, without the usage text, which `--help` shows.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    let mut line = first.trim_start_matches("error: ").to_owned();
    if let Some(suggestion) = error.get(ContextKind::SuggestedArg).or(error.get(ContextKind::SuggestedValue)) {
        line = format!("{line}; did you mean {suggestion}?");
    }
    if !line.contains("; ") && !line.contains("possible values") {
        line.push_str("; see --help");
    }
    line
}

/// The exit status of an error that ended the program.
fn status_of(error: &crate::error::Error) -> u8 {
    if error.is_usage() { USAGE } else { FAILURE }
}
