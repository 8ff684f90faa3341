//! Output of a run's results: a report for people, files for programs, and the exit status.

use super::output_files::OutputFile;
use super::{CROSSED, FAILURE, INTERRUPTED, SUCCESS, option_names, output};
use crate::error::Error;
use crate::escape;
use crate::results::{RunResults, Threshold, ThresholdResult, Verdict, html_report, write_hdr_log, write_percentiles};
use clap::Args;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Output files and thresholds.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ReportOptions {
    /// Write all results to FILE as JSON; - for stdout, in one line. multiconn-report reads it.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Write the latency percentiles in HdrHistogram's .hgrm format; - for stdout.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    hgrm: Option<PathBuf>,
    /// Write a latency histogram per second in HdrHistogram's log format; - for stdout. With --rate these are response
    /// times. Before them, with their names as tags: service_time, ceiling, floor, client_delay of the whole run.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    hdr_log: Option<PathBuf>,
    /// Write an HTML page with charts; - for stdout.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    html: Option<PathBuf>,
    /// Exit with status 3 if EXPRESSION holds. Examples: p99>2ms, errors>0, rate<49k. May be repeated.
    #[arg(long, value_name = "EXPRESSION", help_heading = "Report")]
    fail_if: Vec<Threshold>,
}

/// The output files of a run. They are opened before it begins, so that an unwritable path does not waste a run.
pub(super) struct Files {
    outputs: Vec<(OutputFile, Form)>,
    /// Whether stdout is used for something other than the report.
    is_stdout_taken: bool,
    thresholds: Vec<Threshold>,
}

/// What came of printing, writing and checking.
pub(super) struct Outcome {
    /// Whether the report and all files were written.
    pub(super) is_written: bool,
    /// Whether a threshold was crossed, or could not be evaluated.
    pub(super) has_crossed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Percentiles,
    HdrLog,
    Page,
}

impl Form {
    /// The option that requests this output.
    fn option(self) -> &'static str {
        match self {
            Self::Json => "--json",
            Self::Percentiles => "--hgrm",
            Self::HdrLog => "--hdr-log",
            Self::Page => "--html",
        }
    }
}

impl ReportOptions {
    /// Options of a merged run: the file of its results, and its thresholds.
    pub(super) fn of_merged(json: PathBuf, fail_if: Vec<Threshold>) -> Self {
        Self { json: Some(json), fail_if, ..Self::default() }
    }

    /// Opens all output files. Existing files stay unchanged until the results are written. Two outputs to one file are
    /// an error.
    pub(super) fn open(&self) -> Result<Files, Error> {
        let named = [
            (self.json.as_deref(), Form::Json),
            (self.hgrm.as_deref(), Form::Percentiles),
            (self.hdr_log.as_deref(), Form::HdrLog),
            (self.html.as_deref(), Form::Page),
        ];
        let mut files = Files { outputs: Vec::new(), is_stdout_taken: false, thresholds: self.fail_if.clone() };
        for (path, form) in named.into_iter().filter_map(|(path, form)| Some((path?, form))) {
            let output = files.open_also(path, form.option())?;
            files.outputs.push((output, form));
        }
        Ok(files)
    }
}

impl Files {
    /// Opens an output of `option` beside the others, which is not written with them.
    pub(super) fn open_also(&mut self, path: &Path, option: &str) -> Result<OutputFile, Error> {
        let output = OutputFile::open(path)?;
        if let Some((_, other)) = self.outputs.iter().find(|(other, _)| other.is_same(&output)) {
            let (other, path) = (other.option(), escape::path(path));
            let reason = format!("{other} and {option} both write {path}; give each a file of its own");
            return Err(Error::Usage(reason));
        }
        self.is_stdout_taken |= output.is_stdout();
        Ok(output)
    }

    /// Reserves stdout for the caller. Returns false if a file goes there.
    pub(super) fn take_stdout(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stdout_taken, true)
    }

    /// Whether a file goes to stdout.
    pub(super) fn has_stdout(&self) -> bool {
        self.is_stdout_taken
    }

    /// Refuses outputs that would replace one of the `inputs`.
    pub(super) fn check_inputs(&self, inputs: &[PathBuf]) -> Result<(), Error> {
        self.outputs.iter().try_for_each(|(output, _)| output.check_inputs(inputs))
    }

    /// Prints, writes and checks the results of a run. Returns the exit status. With `is_quiet`, a successful run prints
    /// nothing.
    pub(super) fn finish(self, results: &RunResults, is_quiet: bool) -> u8 {
        let is_found = results.find_max.as_ref().is_none_or(|found| found.confirmed);
        let is_success = results.is_success() && is_found;
        let is_silent = is_quiet && is_success;
        if let Some(stop) = results.stop.as_ref().filter(|_| is_silent || !self.is_stdout_taken) {
            // The reason for the exit status, unless the report shows it.
            output::print_to_stderr(escape::line(format_args!("✗ {stop}")));
        }
        let outcome = self.report(results, is_silent);
        match (results.interrupted, outcome.has_crossed || results.stop.is_some(), outcome.is_written && is_success) {
            (true, ..) => INTERRUPTED,
            (_, true, _) => CROSSED,
            (_, _, true) => SUCCESS,
            _ => FAILURE,
        }
    }

    /// Prints the results unless `is_silent`, writes the files and checks the thresholds.
    pub(super) fn report(self, results: &RunResults, is_silent: bool) -> Outcome {
        let threshold_results: Vec<_> = self.thresholds.iter().map(|threshold| threshold.evaluate(results)).collect();
        let is_printed = is_silent || self.print_report(results, &threshold_results);
        let has_crossed = threshold_results.iter().any(|result| result.verdict != Verdict::Passed);
        if !results.interrupted && (is_silent || !self.is_stdout_taken) {
            // Print the reason for the exit status, unless the report shows it.
            let crossed = threshold_results.iter().filter(|result| result.verdict != Verdict::Passed);
            crossed.for_each(|result| _ = output::print_to_stderr(escape::line(result)));
        }
        let is_written = self.write_files(results);
        Outcome { is_written: is_printed && is_written, has_crossed }
    }

    /// Prints the report, options that avoid its failures, then each threshold.
    fn print_report(&self, results: &RunResults, threshold_results: &[ThresholdResult]) -> bool {
        let mut text = results.to_string();
        let advice: BTreeSet<_> = results.errors.keys().filter_map(|cause| option_names::advice(cause)).collect();
        let advice = advice.into_iter().map(str::to_owned).chain(option_names::remedies(results));
        for advice in advice {
            let _ = write!(text, "\n  {:<12} {advice}", "options");
        }
        let labels = std::iter::once("thresholds").chain(std::iter::repeat(""));
        for (label, result) in labels.zip(threshold_results) {
            let _ = write!(text, "\n  {label:<12} {}", escape::line(result));
        }
        if self.is_stdout_taken { output::print_to_stderr(text) } else { output::print_report(text) }
    }

    /// Writes all files. Returns whether that succeeded.
    fn write_files(self, results: &RunResults) -> bool {
        let mut is_written = true;
        for (output, form) in self.outputs {
            let is_stdout = output.is_stdout();
            is_written &= output.write(|file| match form {
                Form::Json if is_stdout => file.write_all(results.to_json_line().as_bytes()),
                Form::Json => file.write_all(results.to_json().as_bytes()),
                Form::Percentiles => write_percentiles(results, file),
                Form::HdrLog => write_hdr_log(results, file),
                Form::Page => file.write_all(html_report(results).as_bytes()),
            });
        }
        is_written
    }
}
