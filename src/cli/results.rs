//! Where the results of a run go: text for people, files for programs, and an exit status for scripts.

use super::files::Output;
use super::{CROSSED, FAILURE, INTERRUPTED, SUCCESS, output};
use crate::error::Error;
use crate::escape;
use crate::results::{
    Judgement, LoadKind, RunResults, TextReport, Threshold, Verdict, page, write_hdr_log, write_percentiles,
};
use clap::Args;
use std::fmt::{Display, Write as _};
use std::io::Write;
use std::path::PathBuf;

/// What is to be written, and what is to be looked at.
#[derive(Debug, Clone, Args)]
pub(super) struct Results {
    /// Write all results to FILE as JSON; - for stdout. multiconn-report and scripts read it.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Write the percentiles of the latency as the tools of HdrHistogram plot them; - for stdout.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    hgrm: Option<PathBuf>,
    /// Write the histogram of each second as a log that the tools of HdrHistogram read; with --rate, from due, and before
    /// them the one from send of the whole run, with the tag from_send; - for stdout.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    hdr_log: Option<PathBuf>,
    /// Write a page with charts; - for stdout.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    html: Option<PathBuf>,
    /// End with exit status 3 if EXPRESSION holds: p99>2ms, errors>0 or rate<49k, for example; may be repeated.
    #[arg(long, value_name = "EXPRESSION", help_heading = "Report")]
    fail_if: Vec<Threshold>,
}

/// The files of a run, open before it begins: a path that cannot be written must not cost a run.
pub(super) struct Files {
    outputs: Vec<(Output, Form)>,
    /// Stdout is for something else than the report.
    is_stdout_taken: bool,
    thresholds: Vec<Threshold>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Percentiles,
    HdrLog,
    Page,
}

impl Form {
    /// The option that asks for it.
    fn option(self) -> &'static str {
        match self {
            Self::Json => "--json",
            Self::Percentiles => "--hgrm",
            Self::HdrLog => "--hdr-log",
            Self::Page => "--html",
        }
    }
}

impl Results {
    /// Opens all files; what they hold is kept until the results are there. Two outputs to one file are an error.
    pub(super) fn open(&self) -> Result<Files, Error> {
        let named = [
            (self.json.as_deref(), Form::Json),
            (self.hgrm.as_deref(), Form::Percentiles),
            (self.hdr_log.as_deref(), Form::HdrLog),
            (self.html.as_deref(), Form::Page),
        ];
        let mut outputs: Vec<(Output, Form)> = Vec::new();
        for (path, form) in named.into_iter().filter_map(|(path, form)| Some((path?, form))) {
            let output = Output::open(path)?;
            if let Some((_, other)) = outputs.iter().find(|(other, _)| other.is_same(&output)) {
                let (other, option, path) = (other.option(), form.option(), escape::path(path));
                let reason = format!("{other} and {option} both write {path}; give each a file of its own");
                return Err(Error::Usage(reason));
            }
            outputs.push((output, form));
        }
        let is_stdout_taken = outputs.iter().any(|(output, _)| output.is_stdout());
        Ok(Files { outputs, is_stdout_taken, thresholds: self.fail_if.clone() })
    }
}

impl Files {
    /// Keeps stdout for the caller, unless a file goes there; whether it does not.
    pub(super) fn take_stdout(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stdout_taken, true)
    }

    /// Tells, writes and checks a run that was a success or not; the exit status. `report` is what a person reads of a run
    /// that was no load test. With `is_quiet`, no news is good news.
    pub(super) fn finish(self, report: &dyn Display, is_success: bool, record: &RunResults, is_quiet: bool) -> u8 {
        // Nothing can have gone wrong where nothing was sent, but that is not what was asked for.
        let is_success = is_success && record.has_measured();
        let judgements: Vec<_> = self.thresholds.iter().map(|threshold| threshold.validate(record)).collect();
        let is_silent = is_quiet && is_success;
        let is_told = is_silent || self.tell(report, record, &judgements);
        let has_crossed = judgements.iter().any(|judgement| judgement.verdict != Verdict::Kept);
        if !record.interrupted && (is_silent || !self.is_stdout_taken) {
            // The reason for the exit status, unless it stands there already.
            let crossed = judgements.iter().filter(|judgement| judgement.verdict != Verdict::Kept);
            crossed.for_each(|judgement| _ = output::say_aside(escape::line(judgement)));
        }
        let is_kept = self.keep(record);
        match (record.interrupted, has_crossed, is_told && is_kept && is_success) {
            (true, ..) => INTERRUPTED,
            (_, true, _) => CROSSED,
            (_, _, true) => SUCCESS,
            _ => FAILURE,
        }
    }

    /// Tells a person: of a load test all that was measured, of the tutorial's job what fits it. Then each threshold.
    fn tell(&self, report: &dyn Display, record: &RunResults, judgements: &[Judgement]) -> bool {
        let is_load = record.load.kind == LoadKind::Open || record.load.duration_s.is_some();
        let mut text = if is_load { TextReport(record).to_string() } else { report.to_string() };
        let labels = std::iter::once("thresholds").chain(std::iter::repeat(""));
        for (label, judgement) in labels.zip(judgements) {
            let _ = write!(text, "\n  {label:<12} {}", escape::line(judgement));
        }
        if self.is_stdout_taken { output::say_aside(text) } else { output::say(text) }
    }

    /// Writes all files; whether that went well.
    fn keep(self, record: &RunResults) -> bool {
        let mut is_kept = true;
        for (output, form) in self.outputs {
            is_kept &= output.write(|file| match form {
                Form::Json => file.write_all(record.to_json().as_bytes()),
                Form::Percentiles => write_percentiles(record, file),
                Form::HdrLog => write_hdr_log(record, file),
                Form::Page => file.write_all(page(record).as_bytes()),
            });
        }
        is_kept
    }
}
