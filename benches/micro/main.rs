//! `cargo bench --bench micro`: time of single operations: buffers, codecs, timer wheel, slab, histogram.
//!
//! Internal modules are compiled into the benchmark from their files, so that they stay private in the library.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports")]

mod buffers;
mod codecs;
mod harness;
mod histograms;
mod internal;
mod slabs;
mod turns;
mod wheels;

use harness::Harness;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo bench --bench micro -- [OPTIONS] [TEXT]

  TEXT        run only benchmarks whose name contains TEXT
  --quick     smoke run: each operation once
  -h, --help  print this text
";

fn main() -> ExitCode {
    let (mut filter, mut quick) = (String::new(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo adds this one.
            "--bench" => {}
            "--quick" => quick = true,
            "-h" | "--help" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            text => text.clone_into(&mut filter),
        }
    }
    let harness = Harness::new(filter.clone(), quick);
    buffers::bench(&harness);
    codecs::bench(&harness);
    wheels::bench(&harness);
    slabs::bench(&harness);
    histograms::bench(&harness);
    turns::bench(&harness);
    if harness.has_run() {
        return ExitCode::SUCCESS;
    }
    eprintln!("micro: no benchmark's name contains {filter:?}; all names: cargo bench --bench micro -- --quick");
    ExitCode::from(2)
}
