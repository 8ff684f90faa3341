//! Latency histograms, and their form in a file: a few percentiles, and all counts in HdrHistogram's V2 format,
//! compressed and base64-encoded.

use crate::units::{format_count, format_counted, format_duration, nanos};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Deserializer as Source, Serialize, Serializer};
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::time::Duration;

/// Largest recorded time, in nanoseconds: one hour. Longer times count as one hour.
pub(super) const MAX_NANOS: u64 = 3_600_000_000_000;

/// Significant digits: the error is below 0.1 %. A simulation has many short runs, and clears smaller histograms faster.
pub(super) const DIGITS: u8 = if cfg!(multiconn_simulated) { 2 } else { 3 };

/// Lower bound of the histogram bucket that contains one hour, in nanoseconds. Shorter times are kept out of it, which
/// moves them by less than the error, so that one hour or more is distinguishable from less.
const LAST_BUCKET_NANOS: u64 = MAX_NANOS >> 31 << 31;

/// Maximum number of counted times; further ones are ignored. See [`MAX_NUMBER`](super::bounds::MAX_NUMBER).
const MAX_COUNT: u64 = super::bounds::MAX_NUMBER;

/// Maximum length of a histogram in base64. A histogram has at most 34,000 counts of at most nine bytes each.
const MAX_TEXT_BYTES: usize = 512 * 1024;

/// First bytes of a compressed histogram, and the size of its header: these bytes and a length.
const COMPRESSED_COOKIE: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
const COMPRESSED_HEADER_BYTES: usize = 8;

/// Header size of an uncompressed histogram: its cookie, the length of its counts, and its bounds.
const PLAIN_HEADER_BYTES: usize = 40;

/// Range of the significant digits and the lowest and highest value in that header.
const BOUNDS_RANGE: Range<usize> = 12..32;

/// Histogram of times from 1 ns to 1 h with three significant digits. Adding two histograms is exact.
#[derive(Clone, PartialEq)]
pub struct Latencies(Histogram<u64>);

/// A histogram as stored in a file. A histogram in use takes 270 KB, packed some 2 KB; a run keeps one per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Packed {
    /// Number of counted times.
    pub count: u64,
    /// Mean, in nanoseconds; like all values below, 0 without times.
    pub mean_ns: f64,
    /// 50th percentile, in nanoseconds.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p99_9_ns: u64,
    /// 99.99th percentile.
    pub p99_99_ns: u64,
    /// Maximum, in nanoseconds.
    pub max_ns: u64,
    /// HdrHistogram V2, compressed, in base64.
    hdr: String,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_NANOS, DIGITS);
        Self(histogram.expect("the bounds are constants that fit together"))
    }
}

/// Shows count, minimum and maximum rather than all 34,000 counts.
impl fmt::Debug for Latencies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Latencies({} from {} to {} ns)", self.0.len(), self.0.min(), self.0.max())
    }
}

impl Latencies {
    /// Counts one time. A time longer than an hour counts as an hour.
    pub fn record(&mut self, time: Duration) {
        self.record_nanos(nanos(time));
    }

    /// Counts one time in nanoseconds.
    #[inline]
    pub fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(bucket_value(nanos));
    }

    /// Counts `count` times of `nanos` nanoseconds each. The total count saturates at 2^53.
    pub fn record_many_nanos(&mut self, nanos: u64, count: u64) {
        let count = count.min(MAX_COUNT.saturating_sub(self.count()));
        if count > 0 {
            self.0.saturating_record_n(bucket_value(nanos), count);
        }
    }

    /// Clears all counts.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Adds the counts of `other`. The total count saturates at 2^53.
    pub fn add(&mut self, other: &Self) {
        if self.count().saturating_add(other.count()) <= MAX_COUNT {
            self.0 += &other.0;
        } else {
            self.add_each(&other.0);
        }
    }

    fn add_each(&mut self, other: &Histogram<u64>) {
        for step in other.iter_recorded() {
            self.record_many_nanos(step.value_iterated_to(), step.count_at_value());
        }
    }

    /// The time at `quantile` (0 to 1); none without times.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Option<Duration> {
        let nanos = || self.0.value_at_quantile(quantile).min(self.0.max());
        (!self.is_empty()).then(|| Duration::from_nanos(nanos()))
    }

    /// The longest time.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        self.at(1.0)
    }

    /// Number of times of an hour or more.
    #[must_use]
    pub fn count_at_max(&self) -> u64 {
        self.0.count_at(MAX_NANOS)
    }

    /// The mean, in nanoseconds.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.0.mean())
    }

    /// Number of counted times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether no time was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The underlying histogram, in nanoseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// Compresses the histogram.
    ///
    /// # Panics
    ///
    /// Never: writing to a vector does not fail.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).expect("a vector takes every histogram");
        self.with_summary(STANDARD.encode(bytes))
    }

    /// Adds the summary numbers to the encoded histogram.
    fn with_summary(&self, hdr: String) -> Packed {
        let nanos = |quantile| self.0.value_at_quantile(quantile).min(self.0.max());
        Packed {
            count: self.0.len(),
            mean_ns: self.0.mean(),
            p50_ns: nanos(0.5),
            p90_ns: nanos(0.9),
            p99_ns: nanos(0.99),
            p99_9_ns: nanos(0.999),
            p99_99_ns: nanos(0.9999),
            max_ns: self.0.max(),
            hdr,
        }
    }

    fn decode(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "a histogram of {} is longer than any can be",
                format_counted(text.len() as u64, "character")
            ));
        }
        let bytes = STANDARD.decode(text).map_err(|error| format!("a histogram is not in base64: {error}"))?;
        let plain = inflate(&bytes).ok_or("a histogram is not in HdrHistogram's compressed V2 format")?;
        check_plain(&plain)?;
        let histogram = Deserializer::new().deserialize(&mut &plain[..]);
        histogram.map(Self).map_err(|error| format!("a histogram is not in HdrHistogram's V2 format: {error}"))
    }
}

#[inline]
fn bucket_value(nanos: u64) -> u64 {
    if nanos >= MAX_NANOS { MAX_NANOS } else { nanos.clamp(1, LAST_BUCKET_NANOS - 1) }
}

/// Formats a time from [`Latencies`]: `61.2 µs`, or `≥ 1 h` for an hour or more.
#[must_use]
pub fn format_latency(time: Duration) -> String {
    if time >= Duration::from_nanos(MAX_NANOS) { "≥ 1 h".to_owned() } else { format_duration(time) }
}

/// Decompresses a V2 histogram. The library would trust any length that a damaged file claims, and allocate that much
/// memory.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, compressed) = bytes.split_at_checked(COMPRESSED_HEADER_BYTES)?;
    if head[..4] != COMPRESSED_COOKIE {
        return None;
    }
    let mut plain = Vec::new();
    ZlibDecoder::new(compressed).take(MAX_TEXT_BYTES as u64).read_to_end(&mut plain).ok()?;
    let length = u32::from_be_bytes(plain.get(4..8)?.try_into().ok()?) as usize;
    (length.checked_add(PLAIN_HEADER_BYTES)? == plain.len()).then_some(plain)
}

/// Checks that an uncompressed V2 histogram has this module's bounds and a count that can be summed. The library would
/// allocate whatever other bounds need, and overflows when it negates the smallest integer.
fn check_plain(plain: &[u8]) -> Result<(), String> {
    let (head, mut counts) = plain.split_at_checked(PLAIN_HEADER_BYTES).ok_or("a histogram is cut off")?;
    let bounds = [&u32::from(DIGITS).to_be_bytes()[..], &1_u64.to_be_bytes(), &MAX_NANOS.to_be_bytes()];
    if head[BOUNDS_RANGE] != bounds.concat() {
        return Err("a histogram is not one of 1 ns to 1 h with three digits".to_owned());
    }
    let mut total = 0_u64;
    while let Some((number, rest)) = split_varint(counts) {
        // Zigzag encoding: odd numbers are negative, and encode a run of zero counts.
        total = total.saturating_add(if number % 2 == 0 { number / 2 } else { 0 });
        if number == u64::MAX || total > MAX_COUNT {
            return Err(format!("a histogram counts more than {}", format_count(MAX_COUNT)));
        }
        counts = rest;
    }
    if counts.is_empty() { Ok(()) } else { Err("a histogram is cut off".to_owned()) }
}

/// Splits a LEB128-64b9B number off `bytes`: seven bits per byte, eight in the ninth.
fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        let is_last = index == 8 || byte < 0x80;
        let bits = if index == 8 { byte } else { byte & 0x7f };
        number |= u64::from(bits) << (7 * index);
        if is_last {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

/// Takes over a histogram of any origin. With other bounds, each time moves to its bucket in these bounds.
impl From<Histogram<u64>> for Latencies {
    fn from(histogram: Histogram<u64>) -> Self {
        let has_same_bounds = (histogram.low(), histogram.high(), histogram.sigfig()) == (1, MAX_NANOS, DIGITS);
        if has_same_bounds && histogram.len() <= MAX_COUNT {
            return Self(histogram);
        }
        let mut latencies = Self::default();
        latencies.add_each(&histogram);
        latencies
    }
}

impl Packed {
    /// Decompresses the histogram.
    ///
    /// # Panics
    ///
    /// Never: it was encoded here, or checked when it was read.
    #[must_use]
    pub fn unpack(&self) -> Latencies {
        Latencies::decode(&self.hdr).expect("it was checked when it was read")
    }
}

impl Default for Packed {
    fn default() -> Self {
        Latencies::default().pack()
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pack().serialize(serializer)
    }
}

/// The part of a stored histogram that is read. The summary numbers follow from it, and are not trusted.
#[derive(Deserialize)]
struct StoredHistogram {
    hdr: String,
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Source<'de>>(source: D) -> Result<Self, D::Error> {
        Self::decode(&StoredHistogram::deserialize(source)?.hdr).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Source<'de>>(source: D) -> Result<Self, D::Error> {
        let StoredHistogram { hdr } = StoredHistogram::deserialize(source)?;
        let latencies = Latencies::decode(&hdr).map_err(serde::de::Error::custom)?;
        Ok(latencies.with_summary(hdr))
    }
}
