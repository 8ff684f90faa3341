//! Counts of met and missed targets, and the exit status.

use std::process::ExitCode;

#[derive(Default)]
pub(crate) struct Verdicts {
    /// A smoke run is too short for verdicts.
    pub(crate) is_quick: bool,
    met: usize,
    missed: usize,
    skipped: usize,
    failed: usize,
}

impl Verdicts {
    pub(crate) fn new(is_quick: bool) -> Self {
        Self { is_quick, ..Self::default() }
    }

    pub(crate) fn skipped(&mut self, case: &str, why: &str) {
        self.skipped += 1;
        println!("{case}\n  skipped: {why}\n");
    }

    pub(crate) fn failed(&mut self, case: &str, message: &str) {
        self.failed += 1;
        println!("{case}\n  failed: {message}\n");
    }

    pub(crate) fn judge(&mut self, met: bool) -> &'static str {
        if self.is_quick {
            "not judged"
        } else if met {
            self.met += 1;
            "ok"
        } else {
            self.missed += 1;
            "MISSED"
        }
    }

    /// Prints the counts. A missed target is a result; only a case that could not be measured is a failure.
    pub(crate) fn finish(&self) -> ExitCode {
        println!(
            "targets: {} met, {} missed; cases: {} skipped, {} failed",
            self.met, self.missed, self.skipped, self.failed
        );
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
