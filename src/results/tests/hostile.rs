//! Hostile result files: everything made from them is output or an error, never a panic.

use super::{RunResults, busy, lower_floor, sample};
use crate::results::{
    Cpu, Latencies, MergeError, ResultsError, TextReport, compare, html_report, merge, write_hdr_log, write_percentiles,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::io::Write;

/// A packed histogram with the expected bounds and these counts. A negative number encodes a run of zero counts.
fn histogram(counts: &[i64]) -> String {
    let mut payload = Vec::new();
    for &count in counts {
        let mut number = ((count << 1) ^ (count >> 63)).cast_unsigned();
        for _ in 0..8 {
            if number < 0x80 {
                break;
            }
            payload.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        payload.push(number.to_le_bytes()[0]);
    }
    let length = u32::try_from(payload.len()).expect("a short one");
    let mut plain = [0x1c84_9313_u32, length, 0, 3].map(u32::to_be_bytes).concat();
    plain.extend([1_u64, 3_600_000_000_000, 1_f64.to_bits()].map(u64::to_be_bytes).concat());
    plain.extend(payload);
    packed(&plain)
}

fn packed(plain: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("a vector takes everything");
    let compressed = encoder.finish().expect("a vector takes everything");
    let length = u32::try_from(compressed.len()).expect("a short one");
    STANDARD.encode([&0x1c84_9314_u32.to_be_bytes()[..], &length.to_be_bytes(), &compressed].concat())
}

fn with_latency(counts: &[i64]) -> Value {
    let mut file: Value = serde_json::from_str(&sample(2, 100, 1).to_json()).expect("it is JSON");
    file["histograms"]["response_time"] = json!({ "hdr": histogram(counts) });
    file
}

fn damage(file: &Value) -> String {
    match RunResults::from_json(&file.to_string()) {
        Err(ResultsError::Damaged(reason)) => reason,
        other => panic!("it should be damaged: {other:?}"),
    }
}

#[test]
fn histogram_with_too_large_counts_is_rejected_by_name() {
    assert!(RunResults::from_json(&with_latency(&[-5, 1 << 53]).to_string()).is_ok());
    for counts in [&[1 << 62][..], &[1 << 53, 1], &[i64::MAX, i64::MAX, 2], &[i64::MIN]] {
        let reason = damage(&with_latency(counts));
        assert!(reason.contains("histograms.response_time") && reason.contains("9,007,199,254,740,992"), "{reason}");
    }
}

#[test]
fn times_and_counts_of_the_client_are_checked_by_name() {
    let mut good = sample(2, 100, 1);
    good.cpu = Some(busy(0.5));
    let good: Value = serde_json::from_str(&good.to_json()).expect("it is JSON");
    for (object, field) in [("cpu", "waiting_s"), ("cpu", "steal_s"), ("receive_timestamps", "missing")] {
        let mut file = good.clone();
        file[object][field] = json!(1_u64 << 54);
        let reason = damage(&file);
        assert!(reason.starts_with(&format!("{object}.{field} is 1")), "{reason}");
    }
}

#[test]
fn too_large_sums_are_rejected_by_name() {
    let half = RunResults::from_json(&with_latency(&[-5, 1 << 52]).to_string()).expect("it is whole");
    let halves = ["a", "b", "c"].map(|id| RunResults { run_ids: vec![id.to_owned()], ..half.clone() });
    assert_eq!(merge(&halves[..2]).map(|merged| merged.latency().count()), Ok(1 << 53));
    let error = merge(&halves).expect_err("too many");
    assert!(matches!(&error, MergeError::TooLarge(reason) if reason.contains("response_time")), "{error}");
    let mut large = sample(2, 100, 1);
    large.messages.sent = 1 << 53;
    let other = RunResults { run_ids: Vec::new(), ..large.clone() };
    let error = merge(&[large, other]).expect_err("too many").to_string();
    assert!(error.contains("messages.sent is 18014398509481984"), "{error}");
}

#[test]
fn histogram_count_saturates() {
    let mut latencies = Latencies::default();
    latencies.record_many_nanos(100, u64::MAX);
    latencies.record_many_nanos(200, u64::MAX);
    assert_eq!(latencies.count(), 1 << 53);
    let mut sum = latencies.clone();
    sum.add(&latencies);
    assert_eq!(sum, latencies);
    assert_eq!(sum.pack().unpack(), latencies);
    let mut foreign = latencies.histogram().clone();
    foreign.record_n(100, 1 << 60).expect("it fits");
    assert_eq!(Latencies::from(foreign).count(), 1 << 53);
}

#[test]
fn decompression_bomb_is_rejected() {
    let mut file = with_latency(&[]);
    for (characters, expected) in
        [(1 << 19, "compressed V2 format"), ((1 << 19) + 4, "of 524,292 characters is longer")]
    {
        file["histograms"]["response_time"]["hdr"] = "A".repeat(characters).into();
        assert!(damage(&file).contains(expected), "{}", damage(&file));
    }
    let mut plain = [0x1c84_9313_u32, 64 << 20, 0, 3].map(u32::to_be_bytes).concat();
    plain.resize(64 << 20, 0);
    file["histograms"]["response_time"]["hdr"] = packed(&plain).into();
    assert!(damage(&file).contains("response_time"));
    plain.truncate(100);
    plain[4..8].copy_from_slice(&8_u32.to_be_bytes());
    file["histograms"]["response_time"]["hdr"] = packed(&plain).into();
    assert!(damage(&file).contains("response_time"), "bytes after the counts");
}

#[test]
fn numbers_and_lists_have_bounds() {
    let many: Vec<Value> = (0..10_001).map(|_| "".into()).collect();
    let causes: Value = (0..10_001).map(|number| (number.to_string(), json!(1))).collect();
    for (pointer, value, part) in [
        ("/messages/sent", json!(u64::MAX), "messages.sent is 18446744073709551615"),
        ("/messages/sent", json!((1_u64 << 53) + 1), "messages.sent is 9007199254740993"),
        ("/measured_s", json!(-1.5), "measured_s is -1.5"),
        ("/intervals/1/seconds", json!(1e300), "intervals[1].seconds is 1e+300"),
        ("/bytes/sent", json!(-1), "bytes.sent"),
        ("/machine/memory_bytes", json!(1_u64 << 63), "machine.memory_bytes is 9223372036854775808"),
        ("/notes", json!(many), "notes"),
        ("/notes", "text".into(), "notes: invalid type: string"),
        ("/notes", json!(7), "expected a list of texts"),
        ("/targets", json!(7), "expected a list of texts"),
        ("/errors", json!([]), "expected an object"),
        ("/reasons", "text".into(), "reasons: invalid type: string"),
        ("/run_ids", "text".into(), "run_ids: invalid type: string"),
        ("/mismatches/first", "text".into(), "mismatches.first: invalid type: string"),
        ("/errors", causes.clone(), "errors"),
        ("/configuration", causes, "configuration"),
        ("/configuration", json!({ "message": "x".repeat((4 << 20) - 13) }), "configuration: it is longer than 4 MiB"),
    ] {
        let mut file = with_latency(&[]);
        *file.pointer_mut(pointer).expect("a field") = value;
        let reason = damage(&file);
        assert!(reason.contains(part), "{pointer}: {reason}");
    }
    let mut file = with_latency(&[]);
    file["datagrams"] = json!({ "peers": 7 });
    assert!(
        damage(&file).contains("datagrams.peers: invalid type: integer `7`, expected an object or a list of texts")
    );
    let mut file = with_latency(&[]);
    file["load"]["seed"] = u64::MAX.into();
    // 14 bytes more in JSON.
    file["configuration"] = json!({ "message": "x".repeat((4 << 20) - 14) });
    assert!(
        RunResults::from_json(&file.to_string()).is_ok(),
        "a seed is not a quantity, and the configuration has 4 MiB"
    );
}

#[test]
fn a_merged_run_has_at_most_10_000_causes() {
    let of = |id: &str, numbers: std::ops::Range<u32>| RunResults {
        run_ids: vec![id.to_owned()],
        errors: numbers.map(|number| (number.to_string(), 1)).collect(),
        ..RunResults::of("x")
    };
    let merged = merge(&[of("a", 0..6_000), of("b", 6_000..10_000)]).expect("10,000 causes are permitted");
    assert_eq!(RunResults::from_json(&merged.to_json()).as_ref(), Ok(&merged));
    let error = merge(&[of("a", 0..6_000), of("b", 6_000..10_001)]).expect_err("one too many").to_string();
    assert!(error.contains("errors has more than 10,000 entries"), "{error}");
}

/// Parsing that is not exact reads another number after each round trip.
#[test]
fn numbers_are_read_exactly() {
    let mut file = with_latency(&[]);
    file["intervals"][1]["seconds"] = json!(9_007_199_254_740_991.0);
    let results = RunResults::from_json(&file.to_string()).expect("it is whole");
    assert_eq!(results.intervals[1].seconds.to_bits(), 9_007_199_254_740_991_f64.to_bits());
    assert_eq!(RunResults::from_json(&results.to_json()), Ok(results));
}

/// Nesting uses neither stack nor memory.
#[test]
fn deep_nesting_is_rejected_or_ignored() {
    let good = sample(1, 100, 1).to_json();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert!(RunResults::from_json(&good.replacen('{', &format!("{{\"x\": {deep},"), 1)).is_ok(), "an unknown field");
    for field in ["\"format\": \"multiconn-run/2\"", "\"port\": 65432"] {
        let name = field.split(' ').next().expect("a name");
        assert!(RunResults::from_json(&good.replacen(field, &format!("{name} {deep}"), 1)).is_err(), "{field}");
    }
}

fn any_number() -> impl Strategy<Value = Value> {
    let edges = [0, 1, 1 << 31, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, 1 << 62, 1 << 63, u64::MAX];
    let floats = [-1.0, -0.0, 0.5, 1e-300, f64::MIN_POSITIVE, 1e9, 9e15, 1.8e19, 1e300, f64::MAX];
    prop_oneof![
        prop::sample::select(edges.to_vec()).prop_map(Value::from),
        prop::sample::select(floats.to_vec()).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0.0..1e6).prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let count = prop_oneof![-40_000..1_000_i64, 0..1_i64 << 53, any::<i64>()];
    prop_oneof![
        6 => any_number(),
        2 => prop::collection::vec(count, 0..20).prop_map(|counts| json!({ "hdr": histogram(&counts) })),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => Just(Value::Null),
    ]
}

/// JSON pointers to all values in `value`.
fn pointers(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = children.into_iter().flat_map(|(name, value)| {
        pointers(value).into_iter().map(move |rest| format!("/{}{rest}", name.replace('~', "~0").replace('/', "~1")))
    });
    std::iter::once(String::new()).chain(below).collect()
}

/// Makes every kind of output from the results.
fn use_all(results: &RunResults, other: &RunResults) {
    let mut sink = Vec::new();
    write_percentiles(results, &mut sink).expect("a vector takes everything");
    write_hdr_log(results, &mut sink).expect("a vector takes everything");
    let threshold = |text: &str| text.parse::<crate::results::Threshold>().expect("a threshold");
    for text in ["p99.9>1ms", "mean>1ms", "client.p50>1ns", "lost>1", "errors>1", "rate<1", "invalid>0"] {
        let _ = threshold(text).evaluate(results).to_string();
    }
    let _ = compare(results, other).to_string();
    let _ = compare(other, results).to_string();
    let _ = TextReport(results).to_string();
    let html = html_report(results);
    assert!(!html.contains("NaN") || results.to_json().contains("NaN"), "{html}");
    assert_eq!(
        RunResults::from_json(&results.to_json()).as_ref(),
        Ok(results),
        "results that were read can be written and read again"
    );
}

proptest! {
    // Each case decodes and renders a dozen histograms of 34,000 buckets.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_file_gives_output_or_an_error(changes in prop::collection::vec((any::<Index>(), any_value()), 1..6)) {
        let mut good = sample(9, 100, 1);
        lower_floor(&mut good, 0.5);
        (good.cpu, good.machine.cpus) = (Some(Cpu { waiting_s: Some(5.0), steal_s: Some(1.0), ..busy(0.95) }), Some(4));
        good.configuration.set("workers", 2);
        good.configuration.set("spin", "1ms");
        let mut file: Value = serde_json::from_str(&good.to_json()).expect("it is JSON");
        for (index, value) in changes {
            let places = pointers(&file);
            *file.pointer_mut(&places[index.index(places.len())]).expect("it is there") = value;
        }
        match RunResults::from_json(&file.to_string()) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(results) => {
                use_all(&results, &good);
                let others = ["a", "b"].map(|id| RunResults { run_ids: vec![id.to_owned()], ..good.clone() });
                match merge(&[&[results], &others[..]].concat()) {
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                    Ok(merged) => use_all(&merged, &good),
                }
            }
        }
    }
}
