//! Options for a load of several machines.

use crate::cli::values;
use crate::client::{ClientConfig, Shard};
use crate::event_loop::unix_time;
use crate::results::Timestamp;
use crate::units::{parse_duration, parse_instant};
use clap::Args;
use std::time::Duration;

/// Variable that numbers the pods of a Kubernetes Job with `completionMode: Indexed`.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Parts of a load.
#[derive(Debug, Args)]
pub(super) struct ShardOptions {
    /// Send part I of a load that N clients send together, such as 0/8; I counts from 0. All other options are those of
    /// the whole load. auto/N takes I from JOB_COMPLETION_INDEX, which Kubernetes sets in the pods of an Indexed Job.
    #[arg(long, value_name = "I/N", value_parser = shard, allow_hyphen_values = true, conflicts_with = "stdin",
        help_heading = "Several machines")]
    shard: Option<Shard>,
    /// Begin the load at INSTANT, such as 2026-11-20T21:45:00Z (RFC 3339), or +30s from now. Connections are opened at
    /// once; if one is not open by then, the run ends with status 1. Without --rate and --duration it is when the first
    /// messages are sent.
    #[arg(long, value_name = "INSTANT", value_parser = instant, conflicts_with = "stdin", help_heading = "Several machines")]
    start_at: Option<Timestamp>,
}

impl ShardOptions {
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        config.shard = self.shard;
        config.load.start_at = self.start_at;
    }
}

/// Parses an instant of RFC 3339, or a time from now: `+30s`.
fn instant(text: &str) -> Result<Timestamp, String> {
    let refused = |problem: &str| {
        format!("{text:?} is not an instant{problem}; give one such as {}, or +30s", Timestamp::after_1970(unix_time()))
    };
    if let Some(delay) = text.strip_prefix('+') {
        let delay = parse_duration(delay).map_err(|error| refused(&format!(": {error}")))?;
        return Ok(Timestamp::after_1970(unix_time().saturating_add(delay)));
    }
    parse_instant(text).map(|unix_ms| Timestamp::after_1970(Duration::from_millis(unix_ms))).ok_or_else(|| refused(""))
}

/// Parses a shard: `3/8`, or `auto/8`.
fn shard(text: &str) -> Result<Shard, String> {
    shard_in(text, std::env::var_os(INDEX_VARIABLE).map(|index| index.to_string_lossy().into_owned()).as_deref())
}

/// Parses a shard, where `index` is the value of [`INDEX_VARIABLE`].
fn shard_in(text: &str, index: Option<&str>) -> Result<Shard, String> {
    let refused = || format!("{text:?} is not a shard; give one such as 0/8, or auto/8 in a Kubernetes Job");
    let (own, count) = text.split_once('/').ok_or_else(refused)?;
    let count = number(count).ok_or_else(refused)?;
    if own != "auto" {
        return Ok(Shard { index: number(own).ok_or_else(refused)?, count });
    }
    let example = format!("give the number, such as 0/{count}");
    let index = index.ok_or_else(|| {
        format!("{text:?} needs the environment variable {INDEX_VARIABLE}, which is not set; {example}")
    })?;
    let index = number(index).ok_or_else(|| {
        format!("{text:?} needs a number in the environment variable {INDEX_VARIABLE}, which is {index:?}; {example}")
    })?;
    Ok(Shard { index, count })
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|_| values::is_number(text))
}

#[cfg(test)]
mod tests {
    use super::{Shard, shard_in};

    #[test]
    fn shards_are_numbered_by_hand_or_by_the_job() {
        for (text, index, shard) in [
            ("0/1", None, Shard { index: 0, count: 1 }),
            ("7/8", Some("3"), Shard { index: 7, count: 8 }),
            ("auto/8", Some("3"), Shard { index: 3, count: 8 }),
        ] {
            assert_eq!(shard_in(text, index), Ok(shard), "{text}");
        }
    }

    #[test]
    fn errors_quote_the_input_and_an_example() {
        for bad in ["", "3", "/", "3/", "/8", "-1/8", "+1/8", "1/8/2", "1/ 8", "1/99999999999999999999", "first/8"] {
            let error = shard_in(bad, Some("0")).expect_err(bad);
            assert!(error.contains(&format!("{bad:?}")) && error.contains("0/8"), "{error}");
        }
        let error = shard_in("auto/8", None).expect_err("no index");
        assert!(error.contains("JOB_COMPLETION_INDEX, which is not set") && error.contains("0/8"), "{error}");
        let error = shard_in("auto/8", Some("x")).expect_err("no number");
        assert!(error.contains("JOB_COMPLETION_INDEX, which is \"x\""), "{error}");
    }
}
