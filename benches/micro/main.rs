//! `cargo bench --bench micro`: time of single operations: buffers, codecs, timer wheel, slab, histogram.
//!
//! Internal modules are compiled into the benchmark from their files, so that they stay private in the library.

#![allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]

mod buffers;
mod codecs;
mod harness;
mod histograms;
mod internal;
mod slabs;
mod turns;
// A check of all targets compiles benchmarks as tests, and would look for those of the wheel in another directory.
#[cfg(not(test))]
mod wheels;

use harness::Harness;

const USAGE: &str = "\
Usage: cargo bench --bench micro -- [OPTIONS] [TEXT]

  TEXT        run only benchmarks whose name contains TEXT
  --quick     smoke run: each operation once
  -h, --help  print this text
";

fn main() {
    let (mut filter, mut quick) = (String::new(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo adds this one.
            "--bench" => {}
            "--quick" => quick = true,
            "-h" | "--help" => return print!("{USAGE}"),
            text => text.clone_into(&mut filter),
        }
    }
    let harness = Harness::new(filter, quick);
    buffers::bench(&harness);
    codecs::bench(&harness);
    #[cfg(not(test))]
    wheels::bench(&harness);
    slabs::bench(&harness);
    histograms::bench(&harness);
    turns::bench(&harness);
}
