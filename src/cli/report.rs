//! `multiconn-report`: reads what `multiconn-client --json` wrote. It needs neither a server nor a client.

use super::files::Output;
use super::variables::Variables;
use super::{CROSSED, FAILURE, LONG_VERSION, SUCCESS, complain, output, parse};
use crate::error::{Error, in_words};
use crate::escape;
use crate::results::{
    Comparison, MAX_FILE_BYTES, ResultsError, RunResults, TextReport, compare, merge, page, recognize, time_apart,
};
use crate::units::format_size;
use clap::{Parser, Subcommand};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Shows, compares and merges the runs that multiconn-client --json wrote.
#[derive(Debug, Parser)]
#[command(name = "multiconn-report", version, long_version = LONG_VERSION, max_term_width = 100, arg_required_else_help = false)]
#[command(after_long_help = "Exit status:\n  0    all went well\n  1    a file could not be read or written\n  \
                        2    the command line was wrong\n  \
                        3    with --fail-if-worse, something got worse by more than the noise, or cannot be judged\n\n\
                        A FILE is a regular file or a pipe of at most 512 MiB, which is about two days of a load; - is stdin.")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print the summary of a run.
    Show {
        /// A file that multiconn-client --json wrote; - for stdin.
        file: PathBuf,
    },
    /// Compare two runs: what differs, and whether by more than the noise between their seconds.
    Compare {
        /// The run to compare with; - for stdin, in place of one of the files.
        before: PathBuf,
        /// The run that is judged.
        after: PathBuf,
        /// End with exit status 3 when something got worse. Worse is more than the noise; runs that do not show it fail, too: one
        /// has no reply, was interrupted, is not valid, lost every connection, or has fewer than 8 intervals or 1,000 replies.
        #[arg(long)]
        fail_if_worse: bool,
        /// With --fail-if-worse, let runs pass that cannot be judged.
        #[arg(long, requires = "fail_if_worse")]
        allow_inconclusive: bool,
    },
    /// Make one run of several that clients made at the same time. Nothing is lost: histograms are added. A run that is there
    /// twice, and runs that differ in the kind of load or the transport, are refused.
    Merge {
        /// The files of the runs; - for stdin, in place of one of them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where to write the merged run; - for stdout.
        #[arg(long, value_name = "FILE", default_value = "-")]
        json: PathBuf,
    },
    /// Make a page with charts of a run.
    Html {
        /// A file that multiconn-client --json wrote; - for stdin.
        file: PathBuf,
        /// Where to write the page; - for stdout.
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
}

impl Task {
    /// Whether no two runs are read from stdin.
    fn check(&self) -> Result<(), Complaint> {
        let files: &[&Path] = match self {
            Self::Compare { before, after, .. } => &[before, after],
            Self::Merge { files, .. } => &files.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
            Self::Show { .. } | Self::Html { .. } => return Ok(()),
        };
        if files.iter().filter(|file| is_stdin(file)).count() > 1 {
            let text = "stdin holds one run, and - is given twice; give a file such as run.json for the others";
            return Err(Complaint::Error(Error::Usage(text.to_owned())));
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
        Err(Complaint::Read(text)) => {
            output::complain(&text);
            FAILURE
        }
        Err(Complaint::Error(error)) => complain(&error, &Variables::default()),
    };
    status.into()
}

enum Complaint {
    /// A file is not to be read; in words, with its name.
    Read(String),
    /// The command line is wrong, or a file is not to be written.
    Error(Error),
}

fn work(task: &Task) -> Result<u8, Complaint> {
    task.check()?;
    let is_told = match task {
        Task::Show { file } => output::say(TextReport(&read(file)?)),
        Task::Compare { before, after, fail_if_worse, allow_inconclusive } => {
            let comparison = compare(&read(before)?, &read(after)?);
            let is_told = output::say(&comparison);
            if *fail_if_worse && has_failed(&comparison, *allow_inconclusive) {
                return Ok(CROSSED);
            }
            is_told
        }
        Task::Merge { files, json } => {
            let records = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
            let name = |number: usize| escape::path(&files[number]).to_string();
            let merged = merge(&records)
                .map_err(|error| Complaint::Read(format!("cannot merge: {}", error.with_names(name))))?;
            if let Some(warning) = time_apart(&records) {
                output::say_aside(format_args!("warning: {warning}"));
            }
            write(json, &merged.to_json())?
        }
        Task::Html { file, output } => write(output, &page(&read(file)?))?,
    };
    Ok(if is_told { SUCCESS } else { FAILURE })
}

/// Whether something got worse, or might have; the reason for which it cannot be judged goes to stderr.
fn has_failed(comparison: &Comparison, allow_inconclusive: bool) -> bool {
    for reason in &comparison.inconclusive {
        output::say_aside(escape::line(format_args!("cannot judge: {reason}")));
    }
    comparison.is_worse() || !allow_inconclusive && !comparison.inconclusive.is_empty()
}

fn read(path: &Path) -> Result<RunResults, Complaint> {
    let name = if is_stdin(path) { "stdin".to_owned() } else { escape::path(path).to_string() };
    let complain = |reason: &str| Complaint::Read(format!("cannot read {name}: {reason}"));
    let bytes = read_bytes(path).map_err(|reason| complain(&reason))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let kind = recognize(error.as_bytes()).unwrap_or("a binary file, not text");
        complain(&ResultsError::OtherKind(kind).to_string())
    })?;
    RunResults::from_json(&text).map_err(|error| complain(&error.to_string()))
}

/// The bytes of a file or a pipe, of at most [`MAX_FILE_BYTES`].
fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let too_large = || format!("it is larger than the {} that a result may have", format_size(MAX_FILE_BYTES));
    let io = |error: std::io::Error| in_words(&error);
    let file = open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    // On stdin a socket or a terminal is meant, too.
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

/// Writes to a file or to stdout; whether that went well.
fn write(path: &Path, text: &str) -> Result<bool, Complaint> {
    Ok(Output::open(path).map_err(Complaint::Error)?.write(|file| file.write_all(text.as_bytes())))
}
