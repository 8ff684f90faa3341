//! Result files and histograms: read or refused, in bounded memory, and everything made from them is well-formed.

use super::{Choices, Memory, Target};
use crate::results::{
    Histograms, Latencies, RunResults, compare, html_comparison, html_report, intervals_csv, merge, percentile_plot,
    recognize, write_hdr_log, write_percentiles,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

/// A run has a dozen histograms of 270 KB each; merging and comparing make some more.
const RUN_MEMORY: Memory = Memory { fixed: 48 * 1024 * 1024, per_byte: 4096 };

/// The text, what it decompresses to, and the histogram.
const HISTOGRAM_MEMORY: Memory = Memory { fixed: 4 * 1024 * 1024, per_byte: 16 };

/// Results of a TCP load and of a UDP load.
static STORED: LazyLock<[RunResults; 2]> = LazyLock::new(|| {
    [include_str!("../report/data/version-1-tcp.json"), include_str!("../report/data/version-1-udp.json")]
        .map(|text| RunResults::from_json(text).expect("a whole file"))
});

/// How many texts a page gets.
const TEXTS: usize = 13;

/// What the tags of a page depend on: the run, whether it is a comparison and has charts, and which texts are empty.
type Page = (usize, bool, bool, [bool; TEXTS]);

/// How many pages with harmless texts are remembered.
const MAX_HARMLESS_PAGES: usize = 1000;

thread_local! {
    /// The runs of a page without what charts are made of, and the tags of pages with harmless texts.
    static PAGES: RefCell<([RunResults; 3], HashMap<Page, String>)> = RefCell::new({
        let without_charts = runs_of_page().map(|mut results| {
            results.intervals.clear();
            results.histograms = Histograms::default();
            results
        });
        (without_charts, HashMap::new())
    });
}

/// Of TCP and of UDP, and one of TCP that they are compared with.
fn runs_of_page() -> [RunResults; 3] {
    let mut runs = [0, 1, 0].map(|index| STORED[index].clone());
    for results in &mut runs {
        // Computing noise takes a hundred times as long as the rest. For fewer than eight intervals there is none.
        results.intervals.truncate(4);
    }
    set_texts(&mut runs[2], ["the text of the other run"; TEXTS]);
    runs
}

pub(super) fn stored_results() -> &'static [RunResults; 2] {
    &STORED
}

#[test]
fn result_file() {
    stored_results();
    Target { name: "result_file", memory: RUN_MEMORY, check: check_file }.fuzz();
}

#[test]
fn histogram() {
    Target { name: "histogram", memory: HISTOGRAM_MEMORY, check: check_histogram }.fuzz();
}

#[test]
fn report_page() {
    stored_results();
    Target { name: "report_page", memory: RUN_MEMORY, check: check_page }.fuzz();
}

fn check_file(input: &[u8]) {
    let _ = recognize(input);
    let Ok(text) = str::from_utf8(input) else { return };
    match RunResults::from_json(text) {
        Ok(results) => check_results(&results),
        Err(error) => assert!(error.to_string().len() < 4096 + 2 * text.len(), "{error}"),
    }
}

fn check_results(results: &RunResults) {
    let again = RunResults::from_json(&results.to_json()).expect("it was written here");
    assert_eq!(&again, results, "after a round trip");
    assert_eq!(RunResults::from_json(&results.to_json_line()).as_ref(), Ok(results), "in one line");
    let text = results.to_string();
    assert!(!text.contains('\x1b') && !text.is_empty());
    let other = &STORED[0];
    let comparison = compare(results, other).to_string();
    assert!(!comparison.contains('\x1b'));
    let _ = percentile_plot(results);
    let csv = intervals_csv(results);
    assert_eq!(csv.lines().count(), results.intervals.len() + 1);
    write_percentiles(results, &mut Vec::new()).expect("a vector takes everything");
    write_hdr_log(results, &mut Vec::new()).expect("a vector takes everything");
    let _ = merge(&[results.clone(), other.clone()]);
    tags(&html_report(results));
    tags(&html_comparison(results, other));
}

/// Bytes as a histogram in one of the layers of its form: uncompressed, compressed, or base64.
fn check_histogram(input: &[u8]) {
    let mut choices = Choices(input);
    let hdr = match choices.below(3) {
        0 => packed(choices.0),
        1 => STANDARD.encode(choices.0),
        _ => String::from_utf8_lossy(choices.0).into_owned(),
    };
    let Ok(latencies) = serde_json::from_value::<Latencies>(json!({ "hdr": hdr })) else { return };
    let again: Latencies = serde_json::from_value(json!(latencies)).expect("it was written here");
    assert_eq!(again, latencies);
    assert!(latencies.at(0.5) <= latencies.at(0.99) && latencies.at(0.99) <= latencies.max());
    let mut sum = latencies.clone();
    sum.add(&latencies);
    assert_eq!(sum.count(), (latencies.count() * 2).min(1 << 53));
    assert_eq!(sum.max(), latencies.max());
}

/// Compresses the uncompressed form of a histogram.
fn packed(plain: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("a vector takes everything");
    let compressed = encoder.finish().expect("a vector takes everything");
    let length = u32::try_from(compressed.len()).expect("a short one");
    STANDARD.encode([&0x1c84_9314_u32.to_be_bytes()[..], &length.to_be_bytes(), &compressed].concat())
}

/// Texts of the input in all places of a result that hold texts. The page has the same tags as with harmless texts.
fn check_page(input: &[u8]) {
    let mut choices = Choices(input);
    let (index, is_comparison) = (choices.below(2), choices.byte() == 1);
    let lossy = String::from_utf8_lossy(choices.0);
    let mut texts = lossy.split('|').cycle();
    let texts = std::array::from_fn(|_| texts.next().unwrap_or_default());
    // Charts take most of the time, and have few texts.
    let has_charts = input.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0;
    let tags_with = |runs: &mut [RunResults; 3], texts| {
        set_texts(&mut runs[index], texts);
        tags(&if is_comparison { html_comparison(&runs[index], &runs[2]) } else { html_report(&runs[index]) })
    };
    let check = |runs: &mut [RunResults; 3], harmless_tags: &mut HashMap<Page, String>| {
        let page = (index, is_comparison, has_charts, texts.map(str::is_empty));
        if harmless_tags.len() >= MAX_HARMLESS_PAGES {
            harmless_tags.clear();
        }
        let harmless = || tags_with(runs, page.3.map(|is_empty| if is_empty { "" } else { "x" }));
        let expected = harmless_tags.entry(page).or_insert_with(harmless);
        assert_eq!(&tags_with(runs, texts), expected);
    };
    PAGES.with_borrow_mut(|(without_charts, harmless_tags)| {
        if has_charts {
            check(&mut runs_of_page(), harmless_tags);
        } else {
            check(without_charts, harmless_tags);
        }
    });
}

fn set_texts(results: &mut RunResults, texts: [&str; TEXTS]) {
    let [
        program,
        host,
        other_host,
        kernel,
        arrivals,
        message,
        file,
        other_file,
        reason,
        note,
        mismatch,
        error,
        other_error,
    ] = texts.map(str::to_owned);
    results.program = program;
    results.targets = vec![host, other_host];
    results.machine.kernel = Some(kernel);
    results.load.arrivals = Some(arrivals);
    results.configuration.set("message", Value::from(message));
    results.configuration.set("tls-ca", json!([file, other_file]));
    results.reasons = vec![reason];
    results.notes = vec![note];
    results.mismatches.first = vec![mismatch];
    // The keys of a map: equal texts would make fewer rows.
    results.errors = [(format!("{error}1"), 3), (format!("{other_error}2"), 4)].into_iter().collect();
}

/// The tags of a page with the names of their attributes, in order.
///
/// # Panics
///
/// When a tag is malformed or unknown, or a text holds an unescaped character.
fn tags(page: &str) -> String {
    let (head, body) = page.split_once("</style>").expect("a page has a style");
    let mut tags = String::new();
    for (start, _) in head.match_indices('<') {
        tags.push('<');
        tags.extend(head[start + 1..].chars().take_while(|character| character.is_alphanumeric()));
    }
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        check_entities(&rest[..start]);
        let end = start + tag_length(&rest[start..]);
        let tag = tags.len();
        push_without_values(&mut tags, &rest[start..end]);
        let tag = &tags[tag..];
        assert!(!tag.starts_with("<script") && !tag.contains(" on"), "{tag}");
        rest = &rest[end..];
    }
    check_entities(rest);
    tags
}

/// The length of the tag at the start, where a `>` in quotes is not its end.
fn tag_length(text: &str) -> usize {
    let mut is_quoted = false;
    for (offset, character) in text.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return offset + 1,
            '<' if offset > 0 => panic!("a < within a tag: {}", text.chars().take(80).collect::<String>()),
            _ => {}
        }
    }
    panic!("no end of a tag: {}", text.chars().take(80).collect::<String>());
}

/// Adds a tag without the values of its attributes.
fn push_without_values(tags: &mut String, tag: &str) {
    let mut is_quoted = false;
    for part in tag.split('"') {
        if is_quoted {
            check_entities(part);
        } else {
            tags.push_str(part);
        }
        is_quoted = !is_quoted;
    }
}

fn check_entities(text: &str) {
    for (start, _) in text.match_indices('&') {
        let rest = &text[start + 1..];
        let name = rest.split(';').next().unwrap_or_default();
        let is_known = ["amp", "lt", "gt", "quot", "#39"].contains(&name);
        assert!(is_known, "an & that is not escaped: {}", rest.chars().take(40).collect::<String>());
    }
    let control = text.chars().find(|character| crate::escape::is_unsafe(*character) && *character != '\n');
    assert_eq!(control, None, "in {text:?}");
}
