//! Command lines and files of arguments: parsed or refused with a sentence, and both mean the same.

use super::{client, config_file, server, values, with_common_options};
use crate::fuzz::{Memory, Target};
use crate::socket::{Endpoint, canonical_range};
use clap::{ArgMatches, Command};
use config_file::Replacement;
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The parsers of clap and the options, and what a file of arguments takes.
const MEMORY: Memory = Memory { fixed: 8 * 1024 * 1024, per_byte: 1024 };

/// More arguments only repeat what a few can do.
const MAX_INPUT_BYTES: usize = 1024;

thread_local! {
    static SERVER: RefCell<Command> = RefCell::new(built(server::command()));
    static CLIENT: RefCell<Command> = RefCell::new(built(client::command()));
}

fn built(command: Command) -> Command {
    let mut command = with_common_options(command);
    command.build();
    command
}

#[test]
fn config_file() {
    Target { name: "config_file", memory: MEMORY, check: check_file }.fuzz();
}

#[test]
fn command_line() {
    Target { name: "command_line", memory: MEMORY, check: check_line }.fuzz();
}

#[test]
fn address_ranges() {
    Target { name: "address_ranges", memory: MEMORY, check: check_range }.fuzz();
}

#[test]
fn endpoints() {
    Target { name: "endpoints", memory: MEMORY, check: check_endpoint }.fuzz();
}

/// Arguments, one per line.
fn check_line(input: &[u8]) {
    let arguments: Vec<OsString> = input[..input.len().min(MAX_INPUT_BYTES)]
        .split(|byte| *byte == b'\n')
        .map(|argument| OsStr::from_bytes(argument).to_owned())
        .collect();
    for (command, configure) in [(&SERVER, server::configure as Configure), (&CLIENT, client::configure)] {
        match command.with_borrow_mut(|command| parse(command, &arguments)) {
            Ok(matches) => {
                let configured = configure(&matches);
                let error = configured.err().map(|error| error.to_string()).unwrap_or_default();
                assert!(error.len() < 4096 + 10 * input.len(), "{error}");
            }
            Err(error) => assert!(!error.is_empty()),
        }
    }
}

type Configure = fn(&ArgMatches) -> Result<(), crate::error::Error>;

/// A command that is built can parse any number of lines.
fn parse(command: &mut Command, arguments: &[OsString]) -> Result<ArgMatches, String> {
    let line = std::iter::once(OsString::from("program")).chain(arguments.iter().cloned());
    command.try_get_matches_from_mut(line).map_err(|error| error.to_string())
}

/// A file means what the same arguments mean on the command line.
fn check_file(input: &[u8]) {
    let input = &input[..input.len().min(MAX_INPUT_BYTES)];
    let Ok(arguments) = config_file::arguments("server.conf", input) else { return };
    SERVER.with_borrow_mut(|command| check_arguments(command, &arguments));
}

fn check_arguments(command: &mut Command, arguments: &[OsString]) {
    let typed = parse(command, &[]).expect("all arguments are optional");
    let line = vec![OsString::from("program")];
    let Ok(merged) = config_file::merge(command, &typed, |_| Replacement::Nothing, arguments, line) else { return };
    let from_file = parse(command, &merged[1..]);
    let from_line = parse(command, arguments);
    match (from_file, from_line) {
        (Ok(from_file), Ok(from_line)) => {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let values = |matches: &ArgMatches| -> Vec<OsString> {
                    let values = matches.try_get_raw(id).ok().flatten();
                    values.into_iter().flatten().map(OsStr::to_owned).collect()
                };
                assert_eq!(values(&from_file), values(&from_line), "{id}");
            }
        }
        (Err(_), Err(_)) => {}
        (from_file, from_line) => panic!("{:?} in a file, {:?} typed", from_file.err(), from_line.err()),
    }
}

fn check_range(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match values::range(text) {
        Ok(range) => {
            assert_eq!(values::range(&range.to_string()), Ok(range), "{text:?}");
            assert_eq!(canonical_range(range), Some(range), "{text:?}");
            assert!(range.contains(&range.addr()) && range.prefix_len() <= range.max_prefix_len());
            let is_mapped = matches!(range.addr(), std::net::IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
            assert!(!is_mapped, "{range} contains no peer");
        }
        Err(error) => assert!(error.len() < 1024 + 10 * text.len(), "{error}"),
    }
}

fn check_endpoint(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let _ = (values::port(text), values::count(text), values::size(text));
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            let shown = endpoint.to_string();
            if let Endpoint::Tcp { .. } = &endpoint {
                let again = shown.parse().map(|again: Endpoint| again.to_string()).ok();
                assert_eq!(again.as_ref(), Some(&shown), "{text:?}");
            }
        }
        Err(error) => assert!(error.to_string().len() < 1024 + 10 * text.len(), "{error}"),
    }
}
