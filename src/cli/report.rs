//! `multiconn-report`: shows, compares and merges result files of `multiconn-client --json`.

use super::output_files::OutputFile;
use super::variables::Variables;
use super::{CROSSED, FAILURE, LONG_VERSION, SUCCESS, output, parse, report_error};
use crate::error::{Error, in_words};
use crate::escape;
use crate::results::{
    Comparison, MAX_FILE_BYTES, ResultsError, RunResults, TextReport, compare, html_report, merge, overlap_warning,
    recognize,
};
use crate::units::format_size;
use clap::{Parser, Subcommand};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show, compare and merge results written by multiconn-client --json.
#[derive(Debug, Parser)]
#[command(name = "multiconn-report", version, long_version = LONG_VERSION, max_term_width = 100, arg_required_else_help = false)]
#[command(after_long_help = "Exit status:\n  0    success\n  1    a file could not be read or written\n  \
                        2    invalid command line\n  \
                        3    with --fail-if-worse: something got worse by more than the noise, or the runs are inconclusive\n\n\
                        A FILE is a regular file or a pipe of at most 512 MiB, about two days of a load; - is stdin.")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print the summary of a run.
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
    },
    /// Merge runs that several clients made at the same time. Histograms are added, so percentiles stay exact.
    /// Duplicate runs, and runs with different kinds of load or transports, are refused.
    Merge {
        /// Results of the runs; - for stdin, for one of the files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Write the merged run to FILE; - for stdout, in one line.
        #[arg(long, value_name = "FILE", default_value = "-")]
        json: PathBuf,
    },
    /// Write an HTML page with charts of a run.
    Html {
        /// Results written by multiconn-client --json; - for stdin.
        file: PathBuf,
        /// Write the page to FILE; - for stdout.
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
}

impl Task {
    /// Checks that at most one file is stdin.
    fn check(&self) -> Result<(), ReportError> {
        let files: &[&Path] = match self {
            Self::Compare { before, after, .. } => &[before, after],
            Self::Merge { files, .. } => &files.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
            Self::Show { .. } | Self::Html { .. } => return Ok(()),
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
        Task::Show { file } => output::print(TextReport(&read(file)?)),
        Task::Compare { before, after, fail_if_worse, allow_inconclusive } => {
            let comparison = compare(&read(before)?, &read(after)?);
            let is_printed = output::print(&comparison);
            if *fail_if_worse && has_failed(&comparison, *allow_inconclusive) {
                return Ok(CROSSED);
            }
            is_printed
        }
        Task::Merge { files, json } => {
            let output = open_output(json, files)?;
            let runs = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
            let name = |number: usize| escape::path(&files[number]).to_string();
            let merged =
                merge(&runs).map_err(|error| ReportError::Read(format!("cannot merge: {}", error.with_names(name))))?;
            if let Some(warning) = overlap_warning(&runs) {
                output::print_to_stderr(format_args!("warning: {warning}"));
            }
            let json = if output.is_stdout() { merged.to_json_line() } else { merged.to_json() };
            output.write(|out| out.write_all(json.as_bytes()))
        }
        Task::Html { file, output } => {
            let output = open_output(output, std::slice::from_ref(file))?;
            let page = html_report(&read(file)?);
            output.write(|out| out.write_all(page.as_bytes()))
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
    let name = if is_stdin(path) { "stdin".to_owned() } else { escape::path(path).to_string() };
    let unreadable = |reason: &str| ReportError::Read(format!("cannot read {name}: {reason}"));
    let bytes = read_bytes(path).map_err(|reason| unreadable(&reason))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let kind = recognize(error.as_bytes()).unwrap_or("a binary file, not text");
        unreadable(&ResultsError::OtherKind(kind).to_string())
    })?;
    RunResults::from_json(&text).map_err(|error| unreadable(&error.to_string()))
}

/// Reads a file or a pipe of at most [`MAX_FILE_BYTES`].
fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let too_large = || format!("it is larger than the {} that a result may have", format_size(MAX_FILE_BYTES));
    let io = |error: std::io::Error| in_words(&error);
    let file = open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    // Stdin may also be a socket or a terminal.
    if !is_stdin(path) && !metadata.is_file() && !metadata.file_type().is_fifo() {
        return Err("it is neither a file nor a pipe; give a file that multiconn-client --json wrote".to_owned());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn open(path: &Path) -> std::io::Result<File> {
    if is_stdin(path) { std::io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(path) }
}

/// Opens an output. An output that would replace one of the `inputs` is refused.
fn open_output(path: &Path, inputs: &[PathBuf]) -> Result<OutputFile, ReportError> {
    let output = OutputFile::open(path).map_err(ReportError::Error)?;
    let metadata = |input: &PathBuf| {
        // Stdin has no path. A named pipe is not opened: closing it again would end its writer.
        if is_stdin(input) { open(input)?.metadata() } else { input.metadata() }
    };
    if inputs.iter().any(|input| metadata(input).is_ok_and(|input| output.replaces(&input))) {
        let path = escape::path(path);
        let text = format!("{path} is read and would be overwritten; give another file for the output");
        return Err(ReportError::Error(Error::Usage(text)));
    }
    Ok(output)
}
