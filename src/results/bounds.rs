//! Bounds on what a result file may hold: no file costs more memory than a small multiple of its size, and no number in it
//! makes arithmetic overflow.

use super::RunResults;
use crate::units::{format_count, format_size};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The largest result file, in bytes. An interval takes 2 to 3 kB, so two days of a load fit.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// The largest number in a result. Below it every program that reads JSON keeps whole numbers exactly (RFC 8259, section 6).
pub(super) const MAX_NUMBER: u64 = 1 << 53;

/// The most entries of a list of texts or of causes. A text of no characters takes 3 bytes of a file and 24 of memory.
pub(super) const MAX_ENTRIES: usize = 10_000;

/// The longest configuration in a file, in bytes. A command line has at most 2 MiB on most systems; in memory each value
/// takes up to 32 times as much as in the file.
pub(super) const MAX_CONFIGURATION_BYTES: usize = 4 << 20;

/// Adds `other`; the sum saturates, and [`check`] refuses it.
pub(super) fn add(sum: &mut u64, other: u64) {
    *sum = sum.saturating_add(other);
}

/// The sum of `counts`, which saturates.
pub(super) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Whether each number that was measured is from 0 to 2^53, and everything else short enough to be read again; else the
/// name of the field and what is wrong with it.
pub(super) fn check(record: &RunResults) -> Result<(), String> {
    if json!(record.configuration).to_string().len() > MAX_CONFIGURATION_BYTES {
        return Err(format!("configuration is longer than {}", format_size(MAX_CONFIGURATION_BYTES as u64)));
    }
    for (name, length) in [("errors", record.errors.len()), ("run_ids", record.run_ids.len())] {
        if length > MAX_ENTRIES {
            return Err(format!("{name} has more than {} entries", format_count(MAX_ENTRIES as u64)));
        }
    }
    for (name, value) in [
        ("runs", json!(record.runs)),
        ("duration_s", json!(record.duration_s)),
        ("warm_up_s", json!(record.warm_up_s)),
        ("measured_s", json!(record.measured_s)),
        ("load", json!(record.load)),
        ("connections", json!(record.connections)),
        ("messages", json!(record.messages)),
        ("datagrams", json!(record.datagrams)),
        ("bytes", json!(record.bytes)),
        ("errors", json!(record.errors)),
        ("mismatches", json!(record.mismatches)),
        ("cpu", json!(record.cpu)),
    ] {
        check_value(name, &value)?;
    }
    // One by one: together they can be as large as the file.
    let mut intervals = record.intervals.iter().enumerate();
    intervals.try_for_each(|(index, interval)| check_value(&format!("intervals[{index}]"), &json!(interval)))
}

fn check_value(name: &str, value: &Value) -> Result<(), String> {
    match value {
        // A seed is no quantity.
        Value::Object(fields) => fields
            .iter()
            .filter(|(field, _)| *field != "seed")
            .try_for_each(|(field, value)| check_value(&format!("{name}.{field}"), value)),
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
    // A float cannot tell 2^53 from one more.
    let is_small = number.as_u64().map_or(value <= MAX_NUMBER as f64, |whole| whole <= MAX_NUMBER);
    if is_small {
        Ok(())
    } else {
        Err(format!("{name} is {number}, more than the {} that a result may hold", format_count(MAX_NUMBER)))
    }
}

/// Reads a list of at most [`MAX_ENTRIES`] texts.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                check_length(texts.len())?;
                texts.push(text);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_seq(Texts)
}

/// Reads at most [`MAX_ENTRIES`] names with a count each.
pub(super) fn counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, u64>, D::Error> {
    entries(deserializer).map(BTreeMap::from_iter)
}

/// Reads an object of at most [`MAX_ENTRIES`] fields, in its order.
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
