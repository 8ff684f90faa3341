//! HTML report: well-formed, self-contained, and safe for any text in the results.

use super::{RunResults, sample};
use crate::escape::is_unsafe;
use crate::results::{Cpu, html_report};

/// Checks that tags are closed in order and attributes are quoted.
fn expect_well_formed(html: &str) {
    const EMPTY: [&str; 2] = ["meta", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("an open tag: {piece}"));
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed by </{name}>");
        } else if !tag.ends_with('/') && !EMPTY.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
}

#[test]
fn page_is_well_formed_and_self_contained() {
    let html = html_report(&sample(20, 100, 1));
    expect_well_formed(&html);
    assert_eq!(html.matches("<svg class=\"chart\"").count(), 4);
    for part in ["http://", "https://", "<script", "url(", "@import", "NaN", "inf"] {
        assert!(!html.contains(part), "{part}");
    }
    for part in [
        "Latency by percentile",
        "Valid.",
        ">99.9<",
        "Linux 6.18.5",
        "32768 to 60999",
        "response time",
        "Every second as a table",
    ] {
        assert!(html.contains(part), "no {part}");
    }
}

#[test]
fn text_of_results_is_escaped() {
    let mut results = sample(2, 100, 1);
    results.targets = vec!["<img src=x onerror=alert(1)>\u{9b}\u{202e}".to_owned()];
    results.configuration.set("<b>\"name\"", "'><script>alert(1)</script>\u{0}");
    results.errors.insert("<i>".to_owned(), 1);
    results.mismatches.first.push("</table>".to_owned());
    results.valid = false;
    results.reasons = vec!["<u>".to_owned()];
    let html = html_report(&results);
    expect_well_formed(&html);
    for part in ["<img", "<b>", "<script", "<i>", "<u>", "\0"] {
        assert!(!html.contains(part), "{part}");
    }
    assert!(!html.chars().any(|character| is_unsafe(character) && character != '\n'));
    assert!(html.contains("NOT VALID."));
}

#[test]
fn empty_run_gives_a_page() {
    let mut results = RunResults::of("x");
    results.cpu = Some(Cpu::default());
    expect_well_formed(&html_report(&results));
    assert_eq!(html_report(&results).matches("Nothing was recorded").count(), 4);
    results = sample(1, 100, 1);
    results.intervals[0].start_s = 1e300;
    results.intervals[0].seconds = 0.0;
    expect_well_formed(&html_report(&results));
}
