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
//! The servers share one CPU and take turns, the load ([`load`]) has another one. A figure here is a
//! ratio within one round, and the median of these over the rounds: what the machine does in the
//! meantime hits all three alike. Linux only, loopback only.
//!
//! The executable starts itself again, with a hidden `--role`, for every part but `ours`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on stdout and complains on stderr")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds here stay far below 2^53")]

mod arguments;
mod bare;
mod cases;
mod child;
mod cpus;
mod load;
mod procfs;
mod report;
mod rounds;
mod tokio_echo;
mod trusting;

use std::env;
use std::process::ExitCode;

use arguments::{Options, Request};
use cases::{Case, Target};
use cpus::Cpus;

/// Failures are sentences for the reader: nothing in a benchmark recovers from one.
type Outcome<T> = Result<T, String>;

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

/// Runs the cases asked for. A missed target is a result; only a run that broke is a failure.
fn compare(arguments: &[String]) -> ExitCode {
    let options = match arguments::parse(arguments) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Help) => {
            print!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("floor: {message}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let cpus = match Cpus::choose() {
        Ok(cpus) => cpus,
        Err(message) => {
            eprintln!("floor: {message}");
            return ExitCode::FAILURE;
        }
    };
    let descriptors = procfs::raise_descriptor_limit();
    report::environment(&options, &cpus, descriptors);

    let mut tally = report::Tally::default();
    for case in cases::ALL.iter().filter(|case| options.selects(case.name)) {
        if case.descriptors_needed(&options) > descriptors {
            tally.skipped(case, descriptors);
        } else if let Err(message) = run_case(case, &options, &cpus, &mut tally) {
            tally.failed(case, &message);
        }
    }
    tally.finish()
}

fn run_case(case: &Case, options: &Options, cpus: &Cpus, tally: &mut report::Tally) -> Outcome<()> {
    match case.target {
        Target::Speed { .. } => {
            let rounds = rounds::measure_speed(case, options, cpus)?;
            report::speed(case, &rounds, options, tally);
        }
        Target::Memory { .. } => {
            let bytes_each = rounds::measure_memory(case, options, cpus)?;
            report::memory(case, bytes_each, options, tally);
        }
    }
    Ok(())
}
