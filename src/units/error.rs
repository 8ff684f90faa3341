//! Why a text is not a valid size, duration or rate.
//!
//! The message quotes the input and shows valid examples. It must never name an option: only the caller knows which
//! option the text belongs to.

use std::fmt;

/// A text that is not a valid count, size, duration or rate.
///
/// Displayed as `"5 parsecs" is not a duration; give one like 250us, 10ms, 5s or 1m30s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} {}; give one like {}", .problem.describe(*.quantity), .quantity.examples())]
pub struct UnitError {
    /// The text as given.
    pub input: String,
    /// The expected kind of quantity.
    pub quantity: Quantity,
    /// Why the text is not one.
    pub problem: Problem,
}

/// The kinds of quantity that this module parses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// A plain number of items.
    Count,
    /// A number of bytes.
    Size,
    /// A length of time.
    Duration,
    /// Events per second.
    Rate,
    /// Events per second: one rate, or two that bound a range.
    RateRange,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Not a number followed by a unit of this quantity.
    Malformed,
    /// A bare number, which could mean seconds or milliseconds.
    NoUnit,
    /// Above the range of the result type.
    TooLarge,
    /// A fraction of the smallest unit (a byte, a nanosecond).
    TooFine,
    /// Zero, where a value above zero is required.
    Zero,
}

impl UnitError {
    pub(super) fn new(input: &str, quantity: Quantity, problem: Problem) -> Self {
        Self { input: input.to_owned(), quantity, problem }
    }
}

impl Quantity {
    /// Valid examples, for the end of an error message or for a help text.
    #[must_use]
    pub const fn examples(self) -> &'static str {
        match self {
            Self::Count => "1000, 1_000 or 10k",
            Self::Size => "64, 10k, 64KiB or 1.5MiB",
            Self::Duration => "250us, 10ms, 5s or 1m30s",
            Self::Rate => "100, 5k, 5k/s or 1.5M/s",
            Self::RateRange => "5k, 50k or 10k..200k",
        }
    }

    const fn of_smallest_units(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Size => " of bytes",
            Self::Duration => " of nanoseconds",
            // Unreachable: rates are floating point, so no rate is too fine.
            Self::Rate | Self::RateRange => " of events per second",
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
            Self::RateRange => "rate or range of rates",
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
