//! `cargo bench --bench floor`: compares `multiconn-server` with a minimal epoll loop and with tokio.
//!
//! An echo server spends nearly all of its time in the kernel's TCP, so its messages per second say little on their
//! own. This benchmark runs the real program next to two others, under the same load and in the same run:
//!
//! - `bare`: an epoll loop that only echoes, the minimum a server can do ([`bare`]);
//! - `ours`: `multiconn-server --workers 1`, the release program;
//! - `tokio`: the usual async echo server, one task per connection ([`tokio_echo`]).
//!
//! Over TLS, ours is compared with tokio on the same rustls, and over UDP with a bare loop of recvmmsg and sendmmsg
//! ([`bare_udp`]).
//!
//! The servers share one CPU and take turns; the load ([`common::load`]) runs on another CPU. A figure is a ratio
//! within one round, and the median of these ratios over the rounds, so that other activity on the machine affects all
//! three alike. Linux only, loopback only.
//!
//! The executable restarts itself with a hidden `--role` for every part except `ours`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on stdout and complains on stderr")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds here stay far below 2^53")]

mod bare;
mod bare_udp;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod kind;
mod report;
mod rounds;
mod tokio_echo;
mod udp;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use cases::{Case, Target};
use common::arguments::Bench;
use common::run_setup::RunSetup;
use common::verdicts::Verdicts;
use common::{Outcome, child, load};

const USAGE: &str = "\
Usage: cargo bench --bench floor -- [OPTIONS]

  --rounds N      rounds of the three servers in turn (default 5)
  --seconds S     measured time per server and round (default 1)
  --case TEXT     run only cases whose name contains TEXT
  --quick         smoke run: 1 round of 0.1 s, at most 200 connections, no verdicts
  -h, --help      print this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let role = arguments.first().and_then(|first| first.strip_prefix(child::ROLE_PREFIX));
    let outcome = match role {
        Some("bare") => bare::serve(),
        Some("bare-udp") => bare_udp::serve(),
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

/// Runs the selected cases.
fn compare(arguments: &[String]) -> ExitCode {
    let bench = Bench {
        name: "floor",
        usage: USAGE,
        rounds: 5,
        window: Duration::from_secs(1),
        quick_window: Duration::from_millis(100),
        case_names: cases::ALL.iter().map(|case| case.name).chain(udp::ALL.iter().map(|case| case.name)).collect(),
    };
    let setup = match RunSetup::of(&bench, arguments) {
        Ok(setup) => setup,
        Err(status) => return status,
    };
    let (options, descriptors) = (&setup.options, setup.descriptors);
    let (rounds, window, warm_up) = (options.rounds, options.window, options.warm_up());
    setup.describe(
        "The floor: a bare epoll loop, multiconn-server and tokio under the same load",
        &format!("{rounds} of {window:?} per server after {warm_up:?} of warm-up; ratios are medians over rounds"),
    );

    let mut verdicts = Verdicts::new(options.quick);
    for case in cases::ALL.iter().filter(|case| options.selects(case.name)) {
        if case.descriptors_needed(options) > descriptors {
            verdicts.skipped(case.name, &format!("{descriptors} descriptors per process are too few"));
        } else if let Err(message) = run_case(case, &setup, &mut verdicts) {
            verdicts.failed(case.name, &message);
        }
    }
    for case in udp::ALL.iter().filter(|case| options.selects(case.name)) {
        if let Err(message) = udp::run(case, options, &setup.cpus, &mut verdicts) {
            verdicts.failed(case.name, &message);
        }
    }
    verdicts.finish()
}

fn run_case(case: &Case, RunSetup { options, cpus, .. }: &RunSetup, verdicts: &mut Verdicts) -> Outcome<()> {
    match case.target {
        Target::Speed { .. } => {
            let rounds = rounds::measure_speed(case, options, cpus)?;
            report::speed(case, &rounds, verdicts);
        }
        Target::Memory { .. } => {
            let bytes_each = rounds::measure_memory(case, options, cpus)?;
            report::memory(case, bytes_each, verdicts);
        }
    }
    Ok(())
}
