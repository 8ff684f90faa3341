//! Properties for any text and any number: no panic, exact parsing, formatting within its rounding error.

use std::time::Duration;

use proptest::prelude::*;

use super::KIB;
use crate::units::*;

proptest! {
    #[test]
    fn no_text_causes_a_panic(any in any::<String>(), near in "[0-9_,]{0,25}\\.?[0-9]{0,45} ?[a-zA-Zµ/]{0,4}[0-9]{0,3}s?") {
        for text in [any, near] {
            let _ = parse_count(&text);
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
            let _ = parse_rate(&text);
            let _ = parse_rate_range(&text);
        }
    }

    #[test]
    fn plain_numbers_parse_to_themselves(number in any::<u64>()) {
        prop_assert_eq!(parse_size(&format!("{number}")), Ok(number));
        prop_assert_eq!(parse_count(&format_count(number)), Ok(number));
        prop_assert_eq!(parse_duration(&format!("{number}ns")), Ok(Duration::from_nanos(number)));
    }

    #[test]
    fn seconds_with_nine_decimals_are_exact(nanos in any::<u64>()) {
        let text = format!("{}.{:09}s", nanos / 1_000_000_000, nanos % 1_000_000_000);
        prop_assert_eq!(parse_duration(&text), Ok(Duration::from_nanos(nanos)));
    }

    #[test]
    fn half_units_of_size_survive_formatting(halves in 2_u64..2048, power in 1_u32..5) {
        let bytes = halves * (KIB.pow(power) / 2);
        prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
    }

    #[test]
    fn shown_durations_are_within_a_percent(nanos in any::<u64>(), shift in 0_u32..64) {
        let duration = Duration::from_nanos(nanos >> shift);
        // The longest durations may round up beyond the parser's range.
        prop_assume!(nanos >> shift < u64::MAX / 100 * 99);
        let back = parse_duration(&format_duration(duration)).unwrap();
        prop_assert!(back.abs_diff(duration) <= duration / 100, "{duration:?} became {back:?}");
    }

    #[test]
    fn shown_rates_are_within_half_a_percent(rate in 1.0..1000.0_f64, power in -3_i32..5) {
        let rate = rate * 1000_f64.powi(power);
        prop_assume!(rate < 999e12);
        let back = parse_rate(&format_rate(rate)).unwrap();
        prop_assert!((back - rate).abs() <= rate * 0.00501, "{rate} became {back}");
    }

    #[test]
    fn every_number_can_be_shown(count in any::<u64>(), rate in any::<f64>(), secs in any::<u64>()) {
        prop_assert_eq!(format_count(count).replace(',', ""), count.to_string());
        prop_assert!(format_rate(rate).ends_with("/s"));
        prop_assert!(!format_duration(Duration::new(secs, 999_999_999)).is_empty());
        prop_assert!(!format_size(count).is_empty());
    }
}
