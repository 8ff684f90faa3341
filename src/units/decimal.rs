//! A plain decimal number (`64`, `1.5`, `1_000`, `1,000`) kept as its digits, so that scaling it stays exact.
//!
//! It must never know what the number counts, and must never round.

use super::Problem;
use std::borrow::Cow;

/// The digits before and after the point; at least one before, and none after if there is no point.
pub(super) struct Decimal<'a> {
    whole: Cow<'a, str>,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    /// The number that `text` starts with, and what follows it. No sign, no exponent, and a point
    /// needs a digit on both sides, so that `1.` and `.5` are refused by what follows them. Before the point, underscores may
    /// stand between digits, or commas between groups of three.
    pub(super) fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let (whole, rest) = split_while(text, |byte| byte.is_ascii_digit() || matches!(byte, b'_' | b','));
        let whole = without_separators(whole)?;
        let (fraction, rest) = rest
            .strip_prefix('.')
            .map(|rest| split_while(rest, |byte| byte.is_ascii_digit()))
            .filter(|(fraction, _)| !fraction.is_empty())
            .unwrap_or(("", rest));
        Some((Self { whole, fraction }, rest))
    }

    pub(super) fn is_zero(&self) -> bool {
        let mut digits = self.whole.bytes().chain(self.fraction.bytes());
        digits.all(|digit| digit == b'0')
    }

    /// The number times `unit`, which must be below 10^18.
    ///
    /// The fraction is multiplied as on paper, from its last digit to its first: the product is
    /// whole exactly if every digit behind its point is 0, and what is carried over the point is
    /// the fraction's share. This is exact for any number of digits.
    pub(super) fn times(self, unit: u64) -> Result<u64, Problem> {
        let mut carry = 0;
        for digit in self.fraction.bytes().rev() {
            let product = u64::from(digit - b'0') * unit + carry;
            if !product.is_multiple_of(10) {
                return Err(Problem::TooFine);
            }
            carry = product / 10;
        }
        // Only digits are in there, so the one way to fail is to have too many of them.
        let whole: u64 = self.whole.parse().map_err(|_| Problem::TooLarge)?;
        whole.checked_mul(unit).and_then(|product| product.checked_add(carry)).ok_or(Problem::TooLarge)
    }

    /// The number times 10^`exponent`, as the nearest floating-point number (infinite if beyond).
    ///
    /// The power of ten goes through the text, since multiplying afterwards would round twice.
    pub(super) fn to_f64(&self, exponent: u32) -> Option<f64> {
        let Self { whole, fraction } = self;
        format!("{whole}.{fraction}e{exponent}").parse().ok()
    }
}

/// The digits of `whole` alone; none if there is none, or a separator stands where it cannot.
fn without_separators(whole: &str) -> Option<Cow<'_, str>> {
    let is_grouped = match (whole.contains('_'), whole.contains(',')) {
        (false, false) => return Some(Cow::Borrowed(whole)).filter(|digits| !digits.is_empty()),
        (true, _) => whole.split('_').all(|group| !group.is_empty() && !group.contains(',')),
        (false, true) => {
            let (first, others) = whole.split_once(',')?;
            (1..=3).contains(&first.len()) && others.split(',').all(|group| group.len() == 3)
        }
    };
    is_grouped.then(|| Cow::Owned(whole.replace(['_', ','], "")))
}

fn split_while(text: &str, is_part: impl Fn(u8) -> bool) -> (&str, &str) {
    // Only ASCII characters are part of a number.
    let end = text.bytes().take_while(|byte| is_part(*byte)).count();
    text.split_at(end)
}
