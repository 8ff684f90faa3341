//! `cargo bench --bench truth`: checks the figures of `multiconn-client` against known values.
//!
//! A load client's figures are credible only as far as they were correct where the answer was known. The cases here
//! have known answers: a server with a fixed reply delay, one that is stopped for a measured time, one that corrupts a
//! bit, one that timestamps arrivals and knows its own service times ([`arrival_server`]), and a load that neither
//! measures nor verifies. Some disturb the client, and check that its figures remain those of the server.
//!
//! The programs are the release programs: the server, or its substitute, on the first CPU, the client on the second.
//! The figures come from the client's results (`--json`). Linux only, loopback only.
//!
//! The executable restarts itself with a hidden `--role` for the bare load, and for programs that
//! use all the CPU time they get.

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
mod disturbance;
mod first_run;
mod highest_rate;
mod known_service;
mod latency;
mod pacing;
mod statistics;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use common::arguments;
use common::child::ROLE_PREFIX;
use common::load;
use common::run_setup::RunSetup;
use common::verdicts::Verdicts;
use context::Bench;

const USAGE: &str = "\
Usage: cargo bench --bench truth -- [OPTIONS]

  --rounds N      repetitions of cases whose figure is a median (default 5)
  --seconds S     length of a run (default 10)
  --case TEXT     run only cases whose name contains TEXT
  --quick         smoke run: 1 round of 0.3 s, at most 200 connections, no verdicts
  -h, --help      print this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let role = arguments.first().and_then(|first| first.strip_prefix(ROLE_PREFIX));
    let outcome = match role {
        Some("load") => load::run(&arguments[1..]),
        Some("busy") => {
            disturbance::run_busy_program();
            Ok(())
        }
        Some(unknown) => Err(format!("there is no role {unknown:?}")),
        None => return run_cases(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("truth, {}: {message}", role.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Runs the selected cases.
fn run_cases(arguments: &[String]) -> ExitCode {
    let program = arguments::Bench {
        name: "truth",
        usage: USAGE,
        rounds: 5,
        window: Duration::from_secs(10),
        quick_window: Duration::from_millis(300),
        case_names: cases::ALL.iter().map(|case| case.name).collect(),
    };
    let setup = match RunSetup::of(&program, arguments) {
        Ok(setup) => setup,
        Err(status) => return status,
    };
    let (rounds, window) = (setup.options.rounds, setup.options.window);
    setup.describe(
        "The truth: figures of multiconn-client where the answer is known",
        &format!("{rounds} of {window:?}; figures with a range are medians over rounds"),
    );
    let mut bench = Bench { verdicts: Verdicts::new(setup.options.quick), setup };
    for case in cases::ALL {
        if !bench.setup.options.selects(case.name) {
            continue;
        }
        println!("{}", case.name);
        match (case.run)(&mut bench) {
            Ok(()) => println!(),
            Err(message) => bench.verdicts.failed(case.name, &message),
        }
    }
    bench.verdicts.finish()
}
