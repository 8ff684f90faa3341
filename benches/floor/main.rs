//! `cargo bench --bench floor`: how near is `multiconn-server` to the floor?
//!
//! Nearly all of an echo server's time is the kernel's TCP, so its messages per second say little
//! on their own. This benchmark puts the real program between two others, under the same load, in
//! the same run:
//!
//! - `bare`: an epoll loop that does nothing but echo, the least a server can do ([`bare`]);
//! - `ours`: `multiconn-server --workers 1`, as it is built and as users run it;
//! - `tokio`: the echo server of every async tutorial ([`tokio_echo`]).
//!
//! Over TLS it is ours against tokio with the same rustls.
//!
//! The servers share one CPU and take turns, the load ([`common::load`]) has another one. A figure here is a
//! ratio within one round, and the median of these over the rounds: what the machine does in the
//! meantime hits all three alike. Linux only, loopback only.
//!
//! The executable starts itself again, with a hidden `--role`, for every part but `ours`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on stdout and complains on stderr")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds here stay far below 2^53")]

mod bare;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod kind;
mod report;
mod rounds;
mod tokio_echo;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use cases::{Case, Target};
use common::arguments::Bench;
use common::run_setup::Setting;
use common::verdicts::Tally;
use common::{Outcome, child, load};

const USAGE: &str = "\
Usage: cargo bench --bench floor -- [OPTIONS]

  --rounds N      alternations of the three servers (default 5)
  --seconds S     measuring time of one server in one round (default 1)
  --case TEXT     only the cases whose name contains TEXT
  --quick         a smoke run: 1 round of 0.1 s, at most 200 connections, nothing judged
  -h, --help      this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let role = arguments.first().and_then(|first| first.strip_prefix(child::ROLE_PREFIX));
    let outcome = match role {
        Some("bare") => bare::serve(),
        Some("tokio") => tokio_echo::serve(false),
        Some("tokio-tls") => tokio_echo::serve(true),
        Some("load") => load::run(&arguments[1..]),
        Some(unknown) => Err(format!("there is no role {unknown:?}")),
        None => return compare(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("floor, {}: {message}", role.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases asked for.
fn compare(arguments: &[String]) -> ExitCode {
    let bench = Bench {
        name: "floor",
        usage: USAGE,
        rounds: 5,
        window: Duration::from_secs(1),
        quick_window: Duration::from_millis(100),
        case_names: cases::ALL.iter().map(|case| case.name).collect(),
    };
    let setting = match Setting::of(&bench, arguments) {
        Ok(setting) => setting,
        Err(status) => return status,
    };
    let (options, descriptors) = (&setting.options, setting.descriptors);
    let (rounds, window, warm_up) = (options.rounds, options.window, options.warm_up());
    setting.describe(
        "The floor: a bare epoll loop, multiconn-server and tokio under the same load",
        &format!("{rounds} of {window:?} per server after {warm_up:?} of warm-up; ratios are medians over rounds"),
    );

    let mut tally = Tally::new(options.quick);
    for case in cases::ALL.iter().filter(|case| options.selects(case.name)) {
        if case.descriptors_needed(options) > descriptors {
            tally.skipped(case.name, &format!("{descriptors} descriptors per process are too few"));
        } else if let Err(message) = run_case(case, &setting, &mut tally) {
            tally.failed(case.name, &message);
        }
    }
    tally.finish()
}

fn run_case(case: &Case, Setting { options, cpus, .. }: &Setting, tally: &mut Tally) -> Outcome<()> {
    match case.target {
        Target::Speed { .. } => {
            let rounds = rounds::measure_speed(case, options, cpus)?;
            report::speed(case, &rounds, tally);
        }
        Target::Memory { .. } => {
            let bytes_each = rounds::measure_memory(case, options, cpus)?;
            report::memory(case, bytes_each, tally);
        }
    }
    Ok(())
}
