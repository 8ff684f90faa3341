//! Date and time formats of HTTP and of the daytime and time services, in UTC.

pub(super) const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// 1970 began on a Thursday.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Seconds from the start of 1900 to the start of 1970 (RFC 868).
const SECONDS_TO_1970: u64 = 2_208_988_800;

/// Seconds since 1970 as an IMF-fixdate (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn format_http_date(unix_seconds: u64) -> String {
    let (weekday, day, month, year) = date(unix_seconds);
    let (weekday, month) = (&weekday[..3], &month[..3]);
    format!("{weekday}, {day:02} {month} {year:04} {} GMT", format_time_of_day(unix_seconds))
}

/// Seconds since 1970 in the syntax that RFC 867 proposes for the daytime service, with the line ending:
/// `Tuesday, February 22, 1982 17:37:43-UTC`.
#[must_use]
pub fn format_daytime(unix_seconds: u64) -> String {
    let (weekday, day, month, year) = date(unix_seconds);
    format!("{weekday}, {month} {day}, {year} {}-UTC\r\n", format_time_of_day(unix_seconds))
}

/// Seconds since 1970 in the 24 characters of asctime(3): `Sun Nov  6 08:49:37 1994`.
#[must_use]
pub fn format_day_and_time(unix_seconds: u64) -> String {
    let (weekday, day, month, year) = date(unix_seconds);
    format!("{} {} {day:2} {} {year:04}", &weekday[..3], &month[..3], format_time_of_day(unix_seconds))
}

/// The time of day as `17:37:43`.
#[must_use]
pub fn format_time_of_day(unix_seconds: u64) -> String {
    let second = unix_seconds % SECONDS_PER_DAY;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Seconds since the start of 1900 modulo 2^32, as the time service sends them (RFC 868). They wrap to 0 in 2036.
#[must_use]
pub fn seconds_since_1900(unix_seconds: u64) -> u32 {
    // The bits above 32 are dropped, as RFC 868 defines.
    #[allow(clippy::cast_possible_truncation)]
    {
        unix_seconds.wrapping_add(SECONDS_TO_1970) as u32
    }
}

/// Weekday, day from 1, month and year.
fn date(unix_seconds: u64) -> (&'static str, u64, &'static str, u64) {
    let days = unix_seconds / SECONDS_PER_DAY;
    let (year, month, day) = civil(days);
    let named = |names: &[&'static str], number: u64| names[usize::try_from(number).unwrap_or_default()];
    (named(&DAYS, days % 7), day, named(&MONTHS, month), year)
}

/// Year, month from 0 and day from 1 of a day counted from 1970 (H. Hinnant, "chrono-compatible low-level date
/// algorithms", civil_from_days). Its years begin in March, so that the leap day is the last day of a year.
pub(super) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    (era * 400 + year_of_era + u64::from(month < 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{format_daytime, format_http_date, format_time_of_day, seconds_since_1900};

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
        // The examples of RFC 868, and the wrap in 2036.
        assert_eq!(seconds_since_1900(0), 2_208_988_800);
        assert_eq!(seconds_since_1900(315_532_800), 2_524_521_600, "1 January 1980");
        assert_eq!(seconds_since_1900(2_085_978_495), u32::MAX);
        assert_eq!(seconds_since_1900(2_085_978_496), 0, "on 7 February 2036");
    }
}
