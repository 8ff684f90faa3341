//! Formats and parses RFC 3339 timestamps in UTC, to the millisecond.

use super::date_formats::{SECONDS_PER_DAY, civil, format_time_of_day};

/// Milliseconds since 1970 as an RFC 3339 timestamp: `1994-11-06T08:49:37.250Z`.
#[must_use]
pub fn format_rfc3339(unix_ms: u64) -> String {
    let (unix_seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (year, month, day) = civil(unix_seconds / SECONDS_PER_DAY);
    format!("{year:04}-{:02}-{day:02}T{}.{ms:03}Z", month + 1, format_time_of_day(unix_seconds))
}

/// Parses the output of [`format_rfc3339`] to milliseconds since 1970. None for any other text, other forms of RFC 3339
/// included.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if year < 1970 || month == 0 || day == 0 {
        return None;
    }
    // The inverse of `civil`, from the same source: days_from_civil.
    let (year_from_march, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let unix_ms = (days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second) * 1000 + ms;
    // Signs, a 30th of February and other invalid dates do not format back to the same text.
    (format_rfc3339(unix_ms) == text).then_some(unix_ms)
}

#[cfg(test)]
mod tests {
    use super::{format_rfc3339, parse_rfc3339};

    #[test]
    fn timestamps_round_trip() {
        for (unix_ms, text) in [
            (784_111_777_250, "1994-11-06T08:49:37.250Z"),
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format_rfc3339(unix_ms), text);
            assert_eq!(parse_rfc3339(text), Some(unix_ms));
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for bad in [
            "",
            "now",
            "1994-11-06",
            "1994-02-30T00:00:00.000Z",
            "1994-11-06T24:00:00.000Z",
            "1994-11-06 08:49:37.250Z",
            "+994-11-06T08:49:37.250Z",
            "1969-12-31T23:59:59.999Z",
            "1994-11-06T08:49:37.250é",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
