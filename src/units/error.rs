//! What is wrong with a text that should have been a quantity.
//!
//! The message must never leave the reader guessing: it quotes the input and shows good examples.
//! It must never name an option: only the caller knows which one the text was given for.

use std::fmt;

/// A text that is not the count, size, duration or rate it should have been.
///
/// Shown as `"5 parsecs" is not a duration; give one like 250us, 10ms, 5s or 1m30s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} {}; give one like {}", .problem.describe(*.quantity), .quantity.examples())]
pub struct UnitError {
    /// The text as it was given.
    pub input: String,
    /// What the text should have been.
    pub quantity: Quantity,
    /// Why it is not.
    pub problem: Problem,
}

/// The kinds of quantity this room reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// So many of something.
    Count,
    /// A number of bytes.
    Size,
    /// A length of time.
    Duration,
    /// So many per second.
    Rate,
}

/// The ways in which a text can fail to be a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Not a number followed by a unit this quantity has.
    Malformed,
    /// A bare number, where seconds and milliseconds are equally likely to be meant.
    NoUnit,
    /// More than the number behind it can hold.
    TooLarge,
    /// A fraction of the smallest unit (a byte, a nanosecond).
    TooFine,
    /// Zero, where only more than zero makes sense.
    Zero,
}

impl UnitError {
    pub(super) fn new(input: &str, quantity: Quantity, problem: Problem) -> Self {
        Self { input: input.to_owned(), quantity, problem }
    }
}

impl Quantity {
    /// Good examples, as they stand at the end of an error message or in a help text.
    #[must_use]
    pub const fn examples(self) -> &'static str {
        match self {
            Self::Count => "1000, 1_000 or 10k",
            Self::Size => "64, 10k, 64KiB or 1.5MiB",
            Self::Duration => "250us, 10ms, 5s or 1m30s",
            Self::Rate => "100, 5k, 5k/s or 1.5M/s",
        }
    }

    const fn of_smallest_units(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Size => " of bytes",
            Self::Duration => " of nanoseconds",
            // Rates are floating point, so no rate is too fine; the text completes the match.
            Self::Rate => " of events per second",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Size => "size",
            Self::Duration => "duration",
            Self::Rate => "rate",
        })
    }
}

impl Problem {
    fn describe(self, quantity: Quantity) -> String {
        match self {
            Self::Malformed => format!("is not a {quantity}"),
            Self::NoUnit => format!("needs a unit to be a {quantity}"),
            Self::TooLarge => format!("is too large for a {quantity}"),
            Self::TooFine => format!("is not a whole number{}", quantity.of_smallest_units()),
            Self::Zero => format!("is not a {quantity} above zero"),
        }
    }
}
