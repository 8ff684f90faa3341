//! `multiconn-report merge`: merges results as they are read, and checks the whole.

use super::result_files::ResultStream;
use super::results::ReportOptions;
use super::{CROSSED, FAILURE, SUCCESS, output, values};
use crate::error::Error;
use crate::escape;
use crate::results::{Merger, RunResults, Threshold};
use clap::Args;
use std::path::PathBuf;

/// Inputs, checks and outputs.
#[derive(Debug, Args)]
pub(super) struct MergeOptions {
    /// Results of the runs, each file with any number of them: one per line, or one after another; - for stdin.
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Expect the N shards of one load: each once, with the same options, and measured together for 95 % of the time.
    /// Lines that hold no result are skipped, such as those of a log; a result that is lost with them is a missing shard.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true)]
    shards: Option<usize>,
    /// Exit with status 3 if EXPRESSION holds for the merged run. Examples: p99>2ms, errors>0, rate<49k. May be repeated.
    #[arg(long, value_name = "EXPRESSION")]
    fail_if: Vec<Threshold>,
    /// Write the merged run to FILE, and print its report; - for stdout, in one line and without the report.
    #[arg(long, value_name = "FILE", default_value = "-")]
    json: PathBuf,
}

/// Why nothing was merged.
pub(super) enum MergeFailure {
    /// A file cannot be read, or the runs do not belong together.
    Input(String),
    /// An output is invalid.
    Output(Error),
}

impl MergeOptions {
    /// Merges, prints and writes. Returns the exit status.
    pub(super) fn run(&self) -> Result<u8, MergeFailure> {
        let files = ReportOptions::of_merged(self.json.clone(), self.fail_if.clone()).open();
        let files = files.map_err(MergeFailure::Output)?;
        files.check_inputs(&self.files).map_err(MergeFailure::Output)?;
        let merged = self.merge().map_err(MergeFailure::Input)?;
        // The document alone goes to stdout, as before a report was printed.
        let is_silent = files.has_stdout();
        let outcome = files.report(&merged, is_silent);
        Ok(match (outcome.has_crossed, outcome.is_written) {
            (true, _) => CROSSED,
            (false, true) => SUCCESS,
            (false, false) => FAILURE,
        })
    }

    fn merge(&self) -> Result<RunResults, String> {
        let (mut merger, mut names) = (Merger::default(), Vec::new());
        for path in &self.files {
            let mut stream = ResultStream::open(path, self.shards.is_some())?;
            while let Some((name, results)) = stream.next()? {
                names.push(name);
                merger.add(&results).map_err(|error| refused(&error.with_names(|run| names[run].clone())))?;
            }
        }
        if let Some(count) = self.shards {
            let problems: Vec<_> = merger
                .check_shards(count)
                .into_iter()
                .map(|problem| match problem.run {
                    Some(run) => format!("{}: {}", names[run], escape::line(&problem.text)),
                    None => problem.text,
                })
                .collect();
            if !problems.is_empty() {
                return Err(refused(&problems.join("; ")));
            }
        }
        if let Some(warning) = merger.overlap_warning() {
            output::print_to_stderr(format_args!("warning: {warning}"));
        }
        merger.finish().map_err(|error| refused(&error.to_string()))
    }
}

fn refused(problem: &str) -> String {
    format!("cannot merge: {problem}")
}
