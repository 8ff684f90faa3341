//! Date and time formats in UTC: HTTP, the daytime and time services, and RFC 3339.

use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The beginning of 1970. Times after the year 9999 are formatted as the last instant of that year.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// Seconds from the start of 1900 to the start of 1970 (RFC 868).
const SECONDS_TO_1970: u64 = 2_208_988_800;

/// RFC 3339 in UTC, to the millisecond.
const RFC3339: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// Seconds since 1970 as an IMF-fixdate (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn format_http_date(unix_seconds: u64) -> String {
    format(Duration::from_secs(unix_seconds), "%a, %d %b %Y %H:%M:%S GMT")
}

/// Seconds since 1970 in the syntax that RFC 867 proposes for the daytime service, with the line ending:
/// `Tuesday, February 22, 1982 17:37:43-UTC`.
#[must_use]
pub fn format_daytime(unix_seconds: u64) -> String {
    format(Duration::from_secs(unix_seconds), "%A, %B %-d, %Y %H:%M:%S-UTC\r\n")
}

/// Seconds since 1970 in the 24 characters of asctime(3): `Sun Nov  6 08:49:37 1994`.
#[must_use]
pub fn format_day_and_time(unix_seconds: u64) -> String {
    format(Duration::from_secs(unix_seconds), "%a %b %e %H:%M:%S %Y")
}

/// The time of day as `17:37:43`.
#[must_use]
pub fn format_time_of_day(unix_seconds: u64) -> String {
    format(Duration::from_secs(unix_seconds), "%H:%M:%S")
}

/// Seconds since the start of 1900 modulo 2^32, as the time service sends them (RFC 868). They wrap to 0 in 2036.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "RFC 868 drops the bits above 32")]
pub fn seconds_since_1900(unix_seconds: u64) -> u32 {
    unix_seconds.wrapping_add(SECONDS_TO_1970) as u32
}

/// Milliseconds since 1970 as an RFC 3339 timestamp: `1994-11-06T08:49:37.250Z`.
#[must_use]
pub fn format_rfc3339(unix_ms: u64) -> String {
    format(Duration::from_millis(unix_ms), RFC3339)
}

/// Parses the output of [`format_rfc3339`] to milliseconds since 1970. None for any other text, other forms of RFC 3339
/// included.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let time = DateTime::strptime(RFC3339, text).ok()?;
    let unix_ms = u64::try_from(time.duration_since(EPOCH).as_millis()).ok()?;
    (format_rfc3339(unix_ms) == text).then_some(unix_ms)
}

/// Parses an instant of RFC 3339 with any offset from UTC, such as `1994-11-06T09:49:37+01:00`, to whole milliseconds since
/// 1970. None for any other text, and for an instant before 1970.
#[must_use]
pub fn parse_instant(text: &str) -> Option<u64> {
    // The parser also accepts the time zone names of RFC 9557.
    let instant: Timestamp = text.parse().ok().filter(|_| !text.contains('['))?;
    u64::try_from(instant.as_millisecond()).ok()
}

fn format(since_1970: Duration, format: &str) -> String {
    let since_1970 = SignedDuration::try_from(since_1970).unwrap_or(SignedDuration::MAX);
    EPOCH.saturating_add(since_1970).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::{
        format_day_and_time, format_daytime, format_http_date, format_rfc3339, format_time_of_day, parse_instant,
        parse_rfc3339, seconds_since_1900,
    };

    #[test]
    fn http_dates_match_the_rfc_example_and_year_boundaries() {
        for (seconds, date) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(format_http_date(seconds), date);
        }
    }

    #[test]
    fn daytime_and_time_services_match_their_rfcs() {
        // The example of RFC 867, whose weekday is wrong.
        assert_eq!(format_daytime(383_247_463), "Monday, February 22, 1982 17:37:43-UTC\r\n");
        assert_eq!(format_time_of_day(383_247_463), "17:37:43");
        assert_eq!(format_day_and_time(784_111_777), "Sun Nov  6 08:49:37 1994");
        // The examples of RFC 868, and the wrap in 2036.
        assert_eq!(seconds_since_1900(0), 2_208_988_800);
        assert_eq!(seconds_since_1900(315_532_800), 2_524_521_600, "1 January 1980");
        assert_eq!(seconds_since_1900(2_085_978_495), u32::MAX);
        assert_eq!(seconds_since_1900(2_085_978_496), 0, "on 7 February 2036");
    }

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
    fn instants_may_have_any_offset() {
        for text in [
            "1994-11-06T08:49:37.25Z",
            "1994-11-06T08:49:37.2509999z",
            "1994-11-06T09:49:37.250+01:00",
            "1994-11-06 08:49:37.25-00:00",
        ] {
            assert_eq!(parse_instant(text), Some(784_111_777_250), "{text}");
        }
        for bad in
            ["", "08:49", "1994-11-06", "1994-11-06T08:49:37", "1969-12-31T23:59:59Z", "1994-11-06T08:49:37Z[UTC]"]
        {
            assert_eq!(parse_instant(bad), None, "{bad}");
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
