//! Limits on the content of a result file. Reading a file takes memory of at most a small multiple of its size, and no
//! number in it overflows in arithmetic.

use super::{PeerReplies, RunResults, Shard};
use crate::units::{format_count, format_size};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Maximum size of a result file, in bytes. An interval takes 2 to 3 kB, so two days of a load fit.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// Maximum number in a result. Up to this, every JSON reader keeps whole numbers exactly (RFC 8259, section 6).
pub(super) const MAX_NUMBER: u64 = 1 << 53;

/// Maximum entries of a list of texts or of errors. An empty text takes 3 bytes of a file and 24 of memory.
pub(super) const MAX_ENTRIES: usize = 10_000;

/// Maximum size of the configuration in a file, in bytes. A command line has at most 2 MiB on most systems. In memory
/// each value takes up to 32 times its size in the file.
pub(super) const MAX_CONFIGURATION_BYTES: usize = 4 << 20;

/// Adds `other` to `sum`. The sum saturates, and [`check`] then rejects it.
pub(super) fn add(sum: &mut u64, other: u64) {
    *sum = sum.saturating_add(other);
}

/// The saturating sum of `counts`.
pub(super) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Checks that each measured number is from 0 to 2^53, and that the rest is short enough to be read again. The error
/// names the field and its problem.
pub(super) fn check(results: &RunResults) -> Result<(), String> {
    if json!(results.configuration).to_string().len() > MAX_CONFIGURATION_BYTES {
        return Err(format!("configuration is longer than {}", format_size(MAX_CONFIGURATION_BYTES as u64)));
    }
    for (name, length) in [
        ("errors", results.errors.len()),
        ("failed_by_target", results.failed_by_target.len()),
        ("run_ids", results.run_ids.len()),
        ("targets", results.targets.len()),
        ("datagrams.peers", results.datagrams.as_ref().map_or(0, |datagrams| datagrams.peers.len())),
    ] {
        if length > MAX_ENTRIES {
            return Err(format!("{name} has more than {} entries", format_count(MAX_ENTRIES as u64)));
        }
    }
    if let Some(Err(problem)) = results.shard.map(Shard::check) {
        return Err(format!("shard: {problem}"));
    }
    for (name, value) in [
        ("runs", json!(results.runs)),
        ("duration_s", json!(results.duration_s)),
        ("warm_up_s", json!(results.warm_up_s)),
        ("measured_s", json!(results.measured_s)),
        ("stop", json!(results.stop)),
        ("machine", json!(results.machine)),
        ("shard", json!(results.shard)),
        ("start", json!(results.start)),
        ("load", json!(results.load)),
        ("receive_timestamps", json!(results.receive_timestamps)),
        ("connections", json!(results.connections)),
        ("messages", json!(results.messages)),
        ("datagrams", json!(results.datagrams)),
        ("statuses", json!(results.statuses)),
        ("bytes", json!(results.bytes)),
        ("errors", json!(results.errors)),
        ("failed_by_target", json!(results.failed_by_target)),
        ("mismatches", json!(results.mismatches)),
        ("cpu", json!(results.cpu)),
        ("after_load", json!(results.after_load)),
        ("find_max", json!(results.find_max)),
    ] {
        check_value(name, &value)?;
    }
    // One at a time: together they can be as large as the file.
    let mut intervals = results.intervals.iter().enumerate();
    intervals.try_for_each(|(index, interval)| check_value(&format!("intervals[{index}]"), &json!(interval)))
}

fn check_value(name: &str, value: &Value) -> Result<(), String> {
    match value {
        // A seed is not a quantity.
        Value::Object(fields) => fields
            .iter()
            .filter(|(field, _)| *field != "seed")
            .try_for_each(|(field, value)| check_value(&format!("{name}.{field}"), value)),
        Value::Array(values) => values.iter().try_for_each(|value| check_value(name, value)),
        Value::Number(number) => check_number(name, number),
        _ => Ok(()),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a power of two")]
fn check_number(name: &str, number: &Number) -> Result<(), String> {
    let value = number.as_f64().unwrap_or(f64::INFINITY);
    if value < 0.0 {
        return Err(format!("{name} is {number}, which is below 0"));
    }
    // A float cannot distinguish 2^53 from 2^53 + 1.
    let is_small = number.as_u64().map_or(value <= MAX_NUMBER as f64, |whole| whole <= MAX_NUMBER);
    if is_small {
        Ok(())
    } else {
        Err(format!("{name} is {number}, more than the {} that a result may hold", format_count(MAX_NUMBER)))
    }
}

/// Reads a list of at most [`MAX_ENTRIES`] texts.
pub(super) fn list<'de, L: Default + Extend<String>, D: Deserializer<'de>>(deserializer: D) -> Result<L, D::Error> {
    struct Texts<L>(std::marker::PhantomData<L>);
    impl<'de, L: Default + Extend<String>> Visitor<'de> for Texts<L> {
        type Value = L;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<L, A::Error> {
            let (mut texts, mut count) = (L::default(), 0);
            while let Some(text) = list.next_element()? {
                check_length(count)?;
                count += 1;
                texts.extend([text]);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_seq(Texts(std::marker::PhantomData))
}

/// Reads the replies of receivers by address: an object of at most [`MAX_ENTRIES`] fields or, of earlier versions, a list
/// of addresses.
pub(super) fn peers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, PeerReplies>, D::Error> {
    struct Peers;
    impl<'de> Visitor<'de> for Peers {
        type Value = BTreeMap<String, PeerReplies>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an object or a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Self::Value, A::Error> {
            let texts: Vec<String> = list(serde::de::value::SeqAccessDeserializer::new(texts))?;
            Ok(texts.into_iter().map(|peer| (peer, PeerReplies::default())).collect())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            entries(serde::de::value::MapAccessDeserializer::new(map)).map(BTreeMap::from_iter)
        }
    }
    deserializer.deserialize_any(Peers)
}

/// Reads targets: a list like [`list`] or, of version 1, one text that separates them with commas.
pub(super) fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Targets;
    impl<'de> Visitor<'de> for Targets {
        type Value = Vec<String>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list of texts")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            let mut targets = Vec::new();
            for target in text.split(", ") {
                check_length(targets.len())?;
                targets.push(target.to_owned());
            }
            Ok(targets)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Vec<String>, A::Error> {
            list(serde::de::value::SeqAccessDeserializer::new(texts))
        }
    }
    deserializer.deserialize_any(Targets)
}

/// Reads an object of at most [`MAX_ENTRIES`] counts by name.
pub(super) fn counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, u64>, D::Error> {
    entries(deserializer).map(BTreeMap::from_iter)
}

/// Reads an object of at most [`MAX_ENTRIES`] fields, in order.
pub(super) fn entries<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, V)>, D::Error> {
    struct Entries<V>(std::marker::PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                check_length(entries.len())?;
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries(std::marker::PhantomData))
}

fn check_length<E: Error>(length: usize) -> Result<(), E> {
    if length < MAX_ENTRIES {
        Ok(())
    } else {
        Err(E::custom(format!("it has more than {} entries", format_count(MAX_ENTRIES as u64))))
    }
}
