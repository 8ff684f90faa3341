//! A plain decimal number (`64`, `1.5`, `1_000`, `1,000`) kept as its digits, so that scaling it is exact.
//!
//! It must never know the unit of the number, and must never round.

use super::Problem;
use std::borrow::Cow;

/// The digits before and after the decimal point: at least one before, and none after it when there is no point.
pub(super) struct Decimal<'a> {
    whole: Cow<'a, str>,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    /// Splits `text` into its leading number and the rest. None when `text` does not start with a number. There is no
    /// sign and no exponent. A point needs a digit on both sides: in `1.` the point stays in the rest, which the caller
    /// then refuses, and `.5` is no number. Before the point, underscores may separate digits, or commas groups of three.
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
    /// This is long multiplication of the fraction from its last digit to its first. The product is whole exactly if
    /// every digit after its point is 0; the carry past the point is the fraction's share. The result is exact for any
    /// number of digits.
    pub(super) fn times(self, unit: u64) -> Result<u64, Problem> {
        let mut carry = 0;
        for digit in self.fraction.bytes().rev() {
            let product = u64::from(digit - b'0') * unit + carry;
            if !product.is_multiple_of(10) {
                return Err(Problem::TooFine);
            }
            carry = product / 10;
        }
        // The text holds only digits, so parsing fails only when there are too many of them.
        let whole: u64 = self.whole.parse().map_err(|_| Problem::TooLarge)?;
        whole.checked_mul(unit).and_then(|product| product.checked_add(carry)).ok_or(Problem::TooLarge)
    }

    /// The number times 10^`exponent`, as the nearest floating-point number (infinite when out of range).
    ///
    /// The exponent is appended to the text, because multiplying afterwards would round twice.
    pub(super) fn to_f64(&self, exponent: u32) -> Option<f64> {
        let Self { whole, fraction } = self;
        format!("{whole}.{fraction}e{exponent}").parse().ok()
    }
}

/// Removes the separators from `whole`. None when there is no digit or a separator is misplaced.
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
