//! Setup of a benchmark run: options, CPUs and the descriptor limit.

use std::process::ExitCode;

use super::arguments::{self, Bench, Options, Request};
use super::cpus::Cpus;
use super::figures::grouped;
use super::procfs;

pub(crate) struct RunSetup {
    pub(crate) options: Options,
    pub(crate) cpus: Cpus,
    /// Maximum open descriptors per process.
    pub(crate) descriptors: u64,
}

impl RunSetup {
    /// Parses the command line. Returns an exit status if nothing is to be run.
    pub(crate) fn of(bench: &Bench, arguments: &[String]) -> Result<Self, ExitCode> {
        let options = match arguments::parse(bench, arguments) {
            Ok(Request::Run(options)) => options,
            Ok(Request::Help) => {
                print!("{}", bench.usage);
                return Err(ExitCode::SUCCESS);
            }
            Err(message) => {
                eprint!("{}: {message}\n\n{}", bench.name, bench.usage);
                return Err(ExitCode::from(2));
            }
        };
        let cpus = Cpus::choose().map_err(|message| {
            eprintln!("{}: {message}", bench.name);
            ExitCode::FAILURE
        })?;
        Ok(Self { options, cpus, descriptors: procfs::raise_descriptor_limit() })
    }

    /// Prints what the figures were measured on. `rounds` describes their number and length.
    pub(crate) fn describe(&self, title: &str, rounds: &str) {
        let build = if cfg!(debug_assertions) {
            "with debug assertions: the figures mean nothing"
        } else {
            "optimised, no debug assertions"
        };
        println!("{title}\n");
        println!("kernel       {}", procfs::kernel());
        println!("processor    {}", procfs::processor());
        println!("pinning      {}", self.cpus.describe());
        let descriptors = grouped(self.descriptors as f64);
        println!("descriptors  {descriptors} per process");
        println!("build        {build}");
        println!("rounds       {rounds}");
        if self.options.quick {
            println!("smoke run    connections are capped at {}", self.options.capped(usize::MAX));
        }
        println!();
    }
}
