//! `cargo bench --bench truth`: are the numbers of `multiconn-client` true?
//!
//! What a load client says of a server can only be believed as far as it was seen to be right where the answer was known
//! beforehand. Here it is: a server that answers late by a known time, one that stands still for a measured time, one that
//! lies, a recorder that sees from outside when messages come ([`recorder`]), and a load that neither measures nor checks.
//!
//! The programs are the real ones, as they are built and as users run them: the server, or what stands for it, on the first
//! CPU, the client on the second. What is read is the record that the client keeps (`--json`). Linux only, loopback only.
//!
//! The executable starts itself again, with a hidden `--role`, for the bare load.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on stdout and complains on stderr")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds here stay far below 2^53")]

mod arrival_server;
mod capacity;
mod cases;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod context;
mod corruption;
mod cost;
mod latency;
mod pacing;
mod statistics;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use common::arguments;
use common::child::ROLE_PREFIX;
use common::load;
use common::run_setup::Setting;
use common::verdicts::Tally;
use context::Bench;

const USAGE: &str = "\
Usage: cargo bench --bench truth -- [OPTIONS]

  --rounds N      how often a case is repeated whose figure is a median (default 5)
  --seconds S     the length of a run (default 10)
  --case TEXT     only the cases whose name contains TEXT
  --quick         a smoke run: 1 round of 0.3 s, at most 200 connections, nothing judged
  -h, --help      this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let role = arguments.first().and_then(|first| first.strip_prefix(ROLE_PREFIX));
    let outcome = match role {
        Some("load") => load::run(&arguments[1..]),
        Some(unknown) => Err(format!("there is no role {unknown:?}")),
        None => return prove(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("truth, {}: {message}", role.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases asked for.
fn prove(arguments: &[String]) -> ExitCode {
    let program = arguments::Bench {
        name: "truth",
        usage: USAGE,
        rounds: 5,
        window: Duration::from_secs(10),
        quick_window: Duration::from_millis(300),
        case_names: cases::ALL.iter().map(|case| case.name).collect(),
    };
    let setting = match Setting::of(&program, arguments) {
        Ok(setting) => setting,
        Err(status) => return status,
    };
    let (rounds, window) = (setting.options.rounds, setting.options.window);
    setting.describe(
        "The truth: what multiconn-client says, where the answer is known",
        &format!("{rounds} of {window:?}; figures with a range are medians over rounds"),
    );
    let mut bench = Bench { tally: Tally::new(setting.options.quick), setting };
    for case in cases::ALL {
        if !bench.setting.options.selects(case.name) {
            continue;
        }
        println!("{}", case.name);
        match (case.run)(&mut bench) {
            Ok(()) => println!(),
            Err(message) => bench.tally.failed(case.name, &message),
        }
    }
    bench.tally.finish()
}
