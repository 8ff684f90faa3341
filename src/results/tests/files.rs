//! Result files: writing, reading back, and errors for anything else.

use super::{RunResults, sample};
use crate::results::{Latencies, ResultsError, Timestamp, recognize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

#[test]
fn results_round_trip_through_json() {
    let mut results = sample(3, 100, 1);
    results.errors.insert("reply_timeout".to_owned(), 3);
    results.mismatches.first.push("\"quoted\" \u{1f980}\n".to_owned());
    assert_eq!(RunResults::from_json(&results.to_json()), Ok(results));
    let empty = RunResults::default();
    assert_eq!(RunResults::from_json(&empty.to_json()), Ok(empty));
}

/// Any clock value can be written and read back.
#[test]
fn timestamp_round_trips_through_json() {
    for seconds in [0, 1, 951_782_400, 253_402_300_799, 253_402_300_800, u64::MAX] {
        let moment = Timestamp::after_1970(Duration::new(seconds, 999_000_000));
        assert_eq!(serde_json::from_value(json!(moment)).map_err(|error| error.to_string()), Ok(moment), "{moment}");
    }
}

/// Most loads do not count reads.
#[test]
fn reads_are_written_if_there_are_any() {
    let mut results = sample(1, 100, 1);
    let interval = |results: &RunResults| {
        let mut file: Value = serde_json::from_str(&results.to_json()).expect("it is JSON");
        file["intervals"][0]["reads"].take()
    };
    assert_eq!(interval(&results), Value::Null);
    results.intervals[0].reads = 3;
    assert_eq!(interval(&results), 3);
}

#[test]
fn json_has_plain_numbers_and_ordered_options() {
    let results = sample(3, 100, 1);
    let text = results.to_json();
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["format"], "multiconn-run/2");
    assert_eq!(json["started"], "2026-11-18T11:06:40.250Z");
    assert_eq!(json["histograms"]["response_time"]["count"], results.messages.answered);
    assert_eq!(json["intervals"][2]["latency"]["p99_ns"], results.intervals[2].latency.p99_ns);
    assert!(json["histograms"]["send_delay"]["hdr"].as_str().is_some_and(|hdr| hdr.starts_with("HISTF")));
    let places = ["\"port\"", "\"connections\"", "\"message\"", "\"rate\""].map(|name| text.find(name));
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}");
    assert!(!results.configuration.is_empty() && RunResults::default().configuration.is_empty());
}

/// Version 1 had one text.
#[test]
fn targets_are_a_list_or_one_text() {
    let mut file: Value = serde_json::from_str(&sample(1, 100, 1).to_json()).expect("it is JSON");
    file["targets"] = "a:1, [::1]:2".into();
    let read = RunResults::from_json(&file.to_string()).map(|results| results.targets);
    assert_eq!(read, Ok(vec!["a:1".to_owned(), "[::1]:2".to_owned()]));
}

#[test]
fn other_texts_are_rejected_with_a_reason() {
    let good = sample(1, 100, 1).to_json();
    let broken = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        RunResults::from_json(&good.replacen(from, to, 1)).expect_err("it is broken").to_string()
    };
    assert!(matches!(RunResults::from_json(&good[..good.len() / 2]), Err(ResultsError::NotJson(_))));
    assert_eq!(RunResults::from_json("[1, 2]"), Err(ResultsError::Foreign));
    for foreign in ["{\"format\": 7}", "{\"format\": 1, \"format\": 2}", "{\"format\": \"other/1\"}", "{}"] {
        assert_eq!(RunResults::from_json(foreign), Err(ResultsError::Foreign), "{foreign}");
    }
    assert!(broken("run/2", "run/3").contains("\"multiconn-run/3\""));
    assert!(broken("\"HISTF", "\"HISTG").contains("compressed V2 format"));
    assert!(broken("\"HISTF", "\"?").contains("base64"));
    assert!(broken("\"started\": \"", "\"started\": \"yester").contains("not a timestamp"));
    assert!(broken("\"sent\": ", "\"sent\": -").contains("line "));
}

#[test]
fn other_kinds_are_recognized_by_their_beginning() {
    for (text, kind) in [
        (&b""[..], Some("an empty file")),
        (b" \r\n\t", Some("an empty file")),
        (b"\x1f\x8b\x08", Some("a gzip file (decompress it with gunzip)")),
        (b"\x1f{}", None),
        (b"\xff\xfe{\0", Some("UTF-16 text (convert it with iconv -f UTF-16 -t UTF-8)")),
        (b"\xfe\xff\0{", Some("UTF-16 text (convert it with iconv -f UTF-16 -t UTF-8)")),
        (b"\x7fELF\x02", Some("a program")),
        (b"\x7fELK", None),
        (b"<!DocType HTML>", Some("HTML")),
        (b"\n<HTML lang=en>", Some("HTML")),
        (b"<!doctype svg>", Some("XML")),
        (b"<", Some("XML")),
        (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA", Some("a PEM private key")),
        (b"PRIVATE KEY", None),
        (b"\n-----BEGIN CERTIFICATE-----\r\nAAAA", Some("a PEM certificate")),
        (b"-----BEGIN DH PARAMETERS-----\nPRIVATE KEY", Some("a PEM file")),
        (b"       Value     Percentile TotalCount", Some("an hgrm file of percentiles")),
        (b"Percentile", None),
        (b"TotalCount", None),
        (b"#[Logged with multiconn]", Some("an HdrHistogram log")),
        (b"\"StartTimestamp\",\"Interval_Length\"", Some("an HdrHistogram log")),
        (b"1 connection to [::1]:1: failed", Some("the printed report of a run")),
        (b"20 connections to [::1]:1: failed", Some("the printed report of a run")),
        (b"NOT VALID: client-limited", Some("the printed report of a run")),
        (b"VALID: client-limited", None),
        (b"{\n-----BEGIN CERTIFICATE-----", None),
    ] {
        assert_eq!(recognize(text), kind, "{}", text.escape_ascii());
    }
}

/// Version 1 counted wrong replies among the lost messages, except for those without a connection.
#[test]
fn version_1_is_upgraded() {
    let mut results = sample(1, 100, 1);
    for (cause, count) in [("mismatch", 2), ("wrong_answer", 4), ("lost", 8), ("receive_eio", 16), ("reset", 32)] {
        results.errors.insert(cause.to_owned(), count);
    }
    for (lost, no_connection, expected) in [(50, 40, (6, 44)), (50, 46, (4, 46))] {
        (results.messages.lost, results.messages.no_connection) = (lost, no_connection);
        let text = results.to_json().replace("multiconn-run/2", "multiconn-run/1");
        let read = RunResults::from_json(&text).expect("it is of version 1");
        assert_eq!((read.messages.wrong, read.messages.lost), expected);
        let causes =
            [("mismatch", 2), ("not_received_eio", 16), ("reply_timeout", 8), ("reset", 32), ("wrong_reply", 4)];
        assert!(read.errors.iter().map(|(cause, count)| (cause.as_str(), *count)).eq(causes), "{:?}", read.errors);
    }
}

/// Eight bytes that claim a length of four gigabytes must not cause such an allocation.
#[test]
fn claimed_length_is_not_trusted() {
    let mut encoder = ZlibEncoder::new(vec![0x1c, 0x84, 0x93, 0x14, 0, 0, 0, 99], Compression::default());
    encoder.write_all(&[0x1c, 0x84, 0x93, 0x13, 0xff, 0xff, 0xff, 0xff]).expect("a vector takes everything");
    encoder.write_all(&[0; 32]).expect("a vector takes everything");
    let hdr = STANDARD.encode(encoder.finish().expect("a vector takes everything"));
    let error = serde_json::from_value::<Latencies>(json!({ "hdr": hdr })).expect_err("it is cut off");
    assert!(error.to_string().contains("V2 format"), "{error}");
}

#[test]
fn histogram_with_other_bounds_is_converted() {
    let mut other = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000_000, 2).expect("bounds that fit");
    other.record_n(1000, 5).expect("it fits");
    let latencies = Latencies::from(other);
    assert_eq!(latencies.count(), 5);
    let median = latencies.at(0.5).expect("there are five");
    assert!((1000..1010).contains(&median.as_nanos()), "{median:?}");
    assert_eq!(latencies.pack().unpack(), latencies);
}

proptest! {
    // A histogram has 34,000 buckets, which is slow without optimization.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn packing_is_lossless(nanos in prop::collection::vec(1_u64..4_000_000_000_000, 0..200)) {
        let mut latencies = Latencies::default();
        for nanos in &nanos {
            latencies.record(Duration::from_nanos(*nanos));
        }
        let packed = latencies.pack();
        prop_assert_eq!(packed.count, nanos.len() as u64);
        prop_assert_eq!(packed.unpack(), latencies);
    }

    /// Any damaged byte gives results or an error message.
    #[test]
    fn damage_never_panics(place in 0.0..1.0_f64, byte in 0_u8..128) {
        let mut results = RunResults::of("x");
        results.histograms.send_delay.record(Duration::from_millis(3));
        let mut bytes = results.to_json().into_bytes();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
        let index = (place * bytes.len() as f64) as usize;
        bytes[index] = byte;
        let text = String::from_utf8(bytes).expect("ASCII stays ASCII");
        if let Err(error) = RunResults::from_json(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
