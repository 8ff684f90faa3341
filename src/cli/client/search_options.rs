//! Options of the search for the highest rate.

use crate::client::RateSearch;
use crate::error::Error;
use crate::results::Objective;
use crate::units::{RateRange, parse_duration};
use clap::Args;
use std::time::Duration;

/// Search options.
#[derive(Debug, Args)]
#[allow(clippy::struct_field_names, reason = "the names of the options")]
pub(super) struct SearchOptions {
    /// Find the highest rate at which EXPRESSION holds, such as p99<1ms: of all messages due, at most 1 % take 1 ms or
    /// longer or are not answered. May be repeated; all have to hold. Each rate is a run with new connections; the last
    /// run, of --duration (default: 30s), confirms the result and is the report. --rate FROM..TO sets the bounds.
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["stdin", "messages", "hold", "shard", "start_at", "stop_if", "interval_json", "metrics"], help_heading = "Search")]
    find_max: Vec<Objective>,
    /// Distance between the rate that holds and one that does not.
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = percent, requires = "find_max", help_heading = "Search")]
    find_width: f64,
    /// Maximum duration of the search, with the run that confirms its result.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration, requires = "find_max", help_heading = "Search")]
    find_budget: Duration,
}

impl SearchOptions {
    /// Whether a search is requested.
    pub(super) fn is_wanted(&self) -> bool {
        !self.find_max.is_empty()
    }

    /// The search, within `bounds`; none if none is requested.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a single rate.
    pub(super) fn search(&self, bounds: Option<RateRange>) -> Result<Option<RateSearch>, Error> {
        if !self.is_wanted() {
            return Ok(None);
        }
        if let Some(RateRange { from, to: None }) = bounds {
            let text = format!(
                "--find-max searches between two rates, and --rate {from} is one; give such as --rate 10k..200k"
            );
            return Err(Error::Usage(text));
        }
        let mut search = RateSearch::new(self.find_max.clone());
        search.from = bounds.map(|bounds| bounds.from);
        search.to = bounds.and_then(|bounds| bounds.to);
        search.width = self.find_width;
        search.budget = self.find_budget;
        Ok(Some(search))
    }
}

/// Parses a percentage, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    let share = number.map(|percent| percent / 100.0).filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| format!("{text:?} is not a percentage from 0.5% to 50%; give one such as 2%"))
}
