//! `multiconn-report`: shows, compares and merges result files of `multiconn-client --json`.

use super::first_process;
use super::merge::{MergeFailure, MergeOptions};
use super::output_files::OutputFile;
use super::result_files::{self, is_stdin};
use super::variables::Variables;
use super::{CROSSED, FAILURE, LONG_VERSION, SUCCESS, output, parse, report_error};
use crate::error::Error;
use crate::escape;
use crate::results::{
    Comparison, RunResults, TextReport, compare, html_comparison, html_report, intervals_csv, percentile_plot,
};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show, compare and merge results written by multiconn-client --json.
#[derive(Debug, Parser)]
#[command(name = "multiconn-report", version, long_version = LONG_VERSION, max_term_width = 100, arg_required_else_help = false)]
#[command(after_long_help = "Exit status:\n  0    success\n  1    a file could not be read or written\n  \
                        2    invalid command line\n  \
                        3    with --fail-if-worse: something got worse by more than the noise, or the runs are inconclusive;\n       \
                        with --fail-if: a threshold was crossed, or could not be evaluated\n\n\
                        A FILE is a regular file or a pipe; - is stdin. A run has at most 512 MiB, about two days of a load.")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print the summary of a run, with its percentile curve.
    Show {
        /// Results written by multiconn-client --json; - for stdin.
        file: PathBuf,
    },
    /// Compare two runs, and separate differences from the noise between their intervals.
    Compare {
        /// Results of the first run; - for stdin, for one of the files.
        before: PathBuf,
        /// Results of the second run.
        after: PathBuf,
        /// Exit with status 3 when something got worse. Worse means by more than the noise. Inconclusive runs fail,
        /// too: one has no reply, was interrupted, is not valid, lost every connection, or has fewer than 8
        /// intervals or 1,000 replies; or AFTER lost connections or messages, and BEFORE none.
        #[arg(long)]
        fail_if_worse: bool,
        /// With --fail-if-worse, accept inconclusive runs.
        #[arg(long, requires = "fail_if_worse")]
        allow_inconclusive: bool,
        /// Write an HTML page with both runs in each chart to FILE; - for stdout, in place of the table.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Merge runs that several clients made at the same time. Histograms are added, so percentiles stay exact.
    /// Duplicate runs, and runs with different kinds of load or transports, are refused.
    Merge(MergeOptions),
    /// Write an HTML page with charts of a run.
    Html {
        /// Results written by multiconn-client --json; - for stdin.
        file: PathBuf,
        /// Write the page to FILE; - for stdout.
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
    /// Write the intervals of a run as comma-separated values.
    Csv {
        /// Results written by multiconn-client --json; - for stdin.
        file: PathBuf,
        /// Write to FILE; - for stdout.
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
}

impl Task {
    /// Checks that at most one file is stdin.
    fn check(&self) -> Result<(), ReportError> {
        let files: &[&Path] = match self {
            Self::Compare { before, after, .. } => &[before, after],
            Self::Merge(options) => &options.files.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
            Self::Show { .. } | Self::Html { .. } | Self::Csv { .. } => return Ok(()),
        };
        if files.iter().filter(|file| is_stdin(file)).count() > 1 {
            let text = "stdin holds one run, and - is given twice; give a file such as run.json for the others";
            return Err(ReportError::Error(Error::Usage(text.to_owned())));
        }
        Ok(())
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    first_process::end_on_signals();
    first_process::reap_orphans();
    let options: Options = match parse() {
        Ok(options) => options,
        Err(status) => return status.into(),
    };
    let status = match work(&options.task) {
        Ok(status) => status,
        Err(ReportError::Read(text)) => {
            output::log_error(&text);
            FAILURE
        }
        Err(ReportError::Error(error)) => report_error(&error, &Variables::default()),
    };
    status.into()
}

enum ReportError {
    /// A file cannot be read; the message includes its name.
    Read(String),
    /// The command line is invalid, or a file cannot be written.
    Error(Error),
}

fn work(task: &Task) -> Result<u8, ReportError> {
    task.check()?;
    let is_printed = match task {
        Task::Show { file } => {
            let results = read(file)?;
            let plot = percentile_plot(&results).map(|plot| format!("\n{plot}")).unwrap_or_default();
            output::print(format_args!("{}{plot}", TextReport(&results)))
        }
        Task::Compare { before, after, fail_if_worse, allow_inconclusive, html } => {
            let inputs = [before.clone(), after.clone()];
            let page = html.as_deref().map(|path| open(path, &inputs)).transpose()?;
            let (before, after) = (read(before)?, read(after)?);
            let comparison = compare(&before, &after);
            // The document alone goes to stdout.
            let mut is_written = page.as_ref().is_some_and(OutputFile::is_stdout) || output::print(&comparison);
            if let Some(page) = page {
                is_written &= page.write(|out| out.write_all(html_comparison(&before, &after).as_bytes()));
            }
            if *fail_if_worse && has_failed(&comparison, *allow_inconclusive) {
                return Ok(CROSSED);
            }
            is_written
        }
        Task::Merge(options) => {
            return options.run().map_err(|failure| match failure {
                MergeFailure::Input(text) => ReportError::Read(text),
                MergeFailure::Output(error) => ReportError::Error(error),
            });
        }
        Task::Html { file, output } => {
            let output = open(output, std::slice::from_ref(file))?;
            let page = html_report(&read(file)?);
            output.write(|out| out.write_all(page.as_bytes()))
        }
        Task::Csv { file, output } => {
            let output = open(output, std::slice::from_ref(file))?;
            let lines = intervals_csv(&read(file)?);
            output.write(|out| out.write_all(lines.as_bytes()))
        }
    };
    Ok(if is_printed { SUCCESS } else { FAILURE })
}

/// Whether something got worse, or the runs are inconclusive. Reasons why go to stderr.
fn has_failed(comparison: &Comparison, allow_inconclusive: bool) -> bool {
    for reason in &comparison.inconclusive {
        output::print_to_stderr(escape::line(format_args!("inconclusive: {reason}")));
    }
    comparison.is_worse() || !allow_inconclusive && !comparison.inconclusive.is_empty()
}

fn read(path: &Path) -> Result<RunResults, ReportError> {
    result_files::read(path).map_err(ReportError::Read)
}

/// Opens an output, which must not be one of the inputs.
fn open(path: &Path, inputs: &[PathBuf]) -> Result<OutputFile, ReportError> {
    let output = OutputFile::open(path).map_err(ReportError::Error)?;
    output.check_inputs(inputs).map_err(ReportError::Error)?;
    Ok(output)
}
