//! Outcome of a client run: its exit status, and its report parsed into numbers.

use super::TUTORIAL_BYTES;
use super::support::{Exit, Program};
use std::collections::BTreeMap;

/// Exit status and report of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    /// The first line of the report.
    pub(crate) verdict: String,
    pub(crate) requested: u64,
    pub(crate) opened: u64,
    pub(crate) most_open: u64,
    pub(crate) failed: u64,
    /// Duration and rate of opening the connections.
    pub(crate) opening: Option<String>,
    pub(crate) causes: BTreeMap<String, u64>,
    /// Messages sent, and messages answered correctly.
    pub(crate) messages: (u64, u64),
    /// Bytes sent, and bytes of correct replies.
    pub(crate) bytes: (u64, u64),
    /// Whether an echo was expected; other replies can be longer than the messages.
    pub(crate) echoed: bool,
    pub(crate) mismatch_count: u64,
    pub(crate) mismatches: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Outcome {
    /// Waits for `program` and parses its report.
    #[track_caller]
    pub(crate) fn of(mut program: Program) -> Self {
        Self::read(program.await_exit())
    }

    /// Parses the report of a run that has ended.
    #[track_caller]
    pub(crate) fn read(exit: Exit) -> Self {
        let at = |label: &str| {
            let labelled = |line: &String| line.strip_prefix(label).map(str::trim).map(str::to_owned);
            exit.stdout.iter().find_map(labelled).unwrap_or_else(|| panic!("no line {label:?} in {exit:#?}"))
        };
        let connections = numbers(&at("  connections "));
        let (messages, bytes) = (numbers(&at("  messages ")), numbers(&at("  bytes ")));
        for label in ["  time ", "  latency ", "    connect "] {
            assert!(!at(label).is_empty());
        }
        // Where the end of a reply is unknown, none is counted.
        let is_unframed = exit.stdout.iter().any(|line| line.starts_with("  reads "));
        assert!(!at(if is_unframed { "    first byte " } else { "    service " }).is_empty());
        let opening = exit.stdout.iter().find_map(|line| line.strip_prefix("  opening "));
        let verdict = exit.stdout[0].clone();
        let outcome = Self {
            code: exit.code,
            requested: numbers(&verdict)[0],
            verdict,
            opened: connections[0],
            most_open: connections[1],
            failed: connections[2],
            opening: opening.map(|opening| opening.trim().to_owned()),
            causes: exit.stdout.iter().filter_map(|line| cause(line)).collect(),
            messages: (messages[0], if is_unframed { 0 } else { messages[1] }),
            bytes: (bytes[0], bytes[1]),
            echoed: at("  bytes ").contains(" echoed "),
            mismatch_count: exit.stdout.iter().find_map(|line| mismatch_count(line)).unwrap_or(0),
            mismatches: exit.stdout.iter().filter_map(|line| mismatch(line)).collect(),
            stderr: exit.stderr,
        };
        outcome.check();
        outcome
    }

    /// Checks the invariants of every report.
    #[track_caller]
    fn check(&self) {
        assert_eq!(self.failed, self.causes.values().sum::<u64>(), "the causes must add up: {self:#?}");
        assert!(
            self.failed <= self.requested && self.opened <= self.requested && self.most_open <= self.opened,
            "{self:#?}"
        );
        assert!(self.messages.1 <= self.messages.0, "{self:#?}");
        assert!(!self.echoed || self.bytes.1 <= self.bytes.0, "{self:#?}");
        let (shown, all) = (self.mismatches.len() as u64, self.mismatch_count);
        assert!(shown <= all && (all == 0 || shown > 0), "{self:#?}");
        assert!(!self.stderr.iter().any(|line| line.contains("panicked")), "{self:#?}");
    }

    /// Expects that each of `connections` did the tutorial's exchange, with exact counts.
    #[track_caller]
    pub(crate) fn expect_tutorial(&self, connections: u64) {
        self.expect_success(connections, 2 * connections, TUTORIAL_BYTES * connections);
    }

    /// Expects that all `connections` succeeded, with `messages` and `bytes` in total.
    #[track_caller]
    pub(crate) fn expect_success(&self, connections: u64, messages: u64, bytes: u64) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert!(self.verdict.ends_with(": every byte came back as it was sent"), "{self:#?}");
        assert_eq!((self.requested, self.opened, self.failed), (connections, connections, 0), "{self:#?}");
        assert_eq!((self.messages, self.bytes), ((messages, messages), (bytes, bytes)), "{self:#?}");
        assert_eq!((self.mismatch_count, self.causes.len()), (0, 0), "{self:#?}");
    }

    /// Expects exit status 1 and exactly these causes, each with its count.
    #[track_caller]
    pub(crate) fn expect_failures(&self, causes: &[(&str, u64)]) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert!(self.verdict.ends_with(": failed"), "{self:#?}");
        let expected = causes.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect();
        assert_eq!(self.causes, expected, "{self:#?}");
    }
}

/// All numbers in a text, with or without thousands separators.
fn numbers(text: &str) -> Vec<u64> {
    let words = text.split_whitespace().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    words.filter_map(|word| word.trim_end_matches(',').replace(',', "").parse().ok()).collect()
}

/// A line such as `                       1 reset by peer`.
fn cause(line: &str) -> Option<(String, u64)> {
    let (count, cause) = line.strip_prefix("               ")?.trim_start().split_once(' ')?;
    Some((cause.to_owned(), count.replace(',', "").parse().ok()?))
}

fn mismatch_count(line: &str) -> Option<u64> {
    numbers(line.strip_prefix("  mismatches ")?).first().copied()
}

/// A line such as `    connection 1, byte 30: expected b'2', received b'1'`.
fn mismatch(line: &str) -> Option<String> {
    line.strip_prefix("    ").filter(|line| line.starts_with("connection ")).map(str::to_owned)
}
