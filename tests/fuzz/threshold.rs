//! Thresholds: text form, and their evaluation.

use super::results::stored_results;
use super::{Memory, Target};
use crate::results::Threshold;

/// The results that are evaluated, and the messages of errors.
const MEMORY: Memory = Memory { fixed: 1024 * 1024, per_byte: 64 };

#[test]
fn threshold() {
    stored_results();
    Target { name: "threshold", memory: MEMORY, check }.fuzz();
}

fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.parse::<Threshold>() {
        Ok(threshold) => {
            let shown = threshold.to_string();
            let again: Threshold = shown.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(again.to_string(), shown);
            for results in stored_results() {
                let (first, second) = (threshold.evaluate(results), again.evaluate(results));
                assert_eq!(first.to_string(), second.to_string());
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() < 1024 + 10 * text.len(), "{error}");
        }
    }
}
