//! Histograms of times, and how they stand in a file: a few numbers for people and scripts, and everything else in the
//! V2 format of HdrHistogram, compressed and in base64, as its other implementations read it.

use crate::units::{format_count, format_counted, format_duration};
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

/// The longest time told apart, in nanoseconds: one hour.
pub(super) const LONGEST_NANOS: u64 = 3_600_000_000_000;

/// Three significant digits: an error below 0.1 %.
pub(super) const DIGITS: u8 = 3;

/// The shortest time in the same place of a histogram as the longest one, in nanoseconds. A shorter time than an hour is
/// kept out of there, which moves it by less than the error, so that an hour or more can be told from less.
const LAST_PLACE_NANOS: u64 = LONGEST_NANOS >> 31 << 31;

/// The most times that are counted; further ones are not. See [`MAX_NUMBER`](super::bounds::MAX_NUMBER).
const MAX_COUNT: u64 = super::bounds::MAX_NUMBER;

/// The longest base64 text of a histogram. One with every count in use has 34,000 of them, of at most nine bytes.
const LONGEST_TEXT: usize = 512 * 1024;

/// What a compressed histogram begins with, and how long that and the length behind it are.
const COMPRESSED_COOKIE: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
const COMPRESSED_HEAD_BYTES: usize = 8;

/// A plain one has its cookie, the length of its counts, and what it can count before them.
const PLAIN_HEAD_BYTES: usize = 40;

/// Where in that the digits and the lowest and highest value stand.
const BOUNDS_PLACE: Range<usize> = 12..32;

/// Times from 1 ns to 1 h, counted with three digits. Adding two is exact.
#[derive(Clone, PartialEq)]
pub struct Latencies(Histogram<u64>);

/// The same in a small place, as it stands in a file. A histogram in use takes 270 KB, packed some 2 KB: a run keeps
/// one for each second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Packed {
    /// How many times were counted.
    pub count: u64,
    /// Their mean, in nanoseconds; 0 when there is none, as with all below.
    pub mean_ns: f64,
    /// Half of them were at most this, in nanoseconds.
    pub p50_ns: u64,
    /// 90 % of them.
    pub p90_ns: u64,
    /// 99 % of them.
    pub p99_ns: u64,
    /// 99.9 % of them.
    #[serde(rename = "p99.9_ns")]
    pub p999_ns: u64,
    /// 99.99 % of them.
    #[serde(rename = "p99.99_ns")]
    pub p9999_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// HdrHistogram V2, compressed, in base64.
    hdr: String,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NANOS, DIGITS);
        Self(histogram.expect("the bounds are constants that fit together"))
    }
}

/// The numbers and not the 34,000 counts.
impl fmt::Debug for Latencies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Latencies({} from {} to {} ns)", self.0.len(), self.0.min(), self.0.max())
    }
}

impl Latencies {
    /// Counts one time; what is longer than an hour counts as an hour.
    pub fn record(&mut self, time: Duration) {
        self.record_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one time in nanoseconds.
    #[inline]
    pub fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(counted_as(nanos));
    }

    /// Counts `count` times of so many nanoseconds each. The count of all saturates at 2^53.
    pub fn record_many_nanos(&mut self, nanos: u64, count: u64) {
        let count = count.min(MAX_COUNT.saturating_sub(self.count()));
        if count > 0 {
            self.0.saturating_record_n(counted_as(nanos), count);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Counts everything that `other` counted, too. The count of all saturates at 2^53.
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

    /// The time that the share `quantile` (0 to 1) of all did not exceed; none when there is none.
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

    /// How many times were an hour or more.
    #[must_use]
    pub fn count_of_longest(&self) -> u64 {
        self.0.count_at(LONGEST_NANOS)
    }

    /// The mean in nanoseconds.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.0.mean())
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The histogram itself, in nanoseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// The same in a small place.
    ///
    /// # Panics
    ///
    /// Never: a vector takes every histogram.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).expect("a vector takes every histogram");
        self.beside(STANDARD.encode(bytes))
    }

    /// The numbers for people and scripts beside the packed histogram.
    fn beside(&self, hdr: String) -> Packed {
        let nanos = |quantile| self.0.value_at_quantile(quantile).min(self.0.max());
        Packed {
            count: self.0.len(),
            mean_ns: self.0.mean(),
            p50_ns: nanos(0.5),
            p90_ns: nanos(0.9),
            p99_ns: nanos(0.99),
            p999_ns: nanos(0.999),
            p9999_ns: nanos(0.9999),
            max_ns: self.0.max(),
            hdr,
        }
    }

    fn decode(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_TEXT {
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
fn counted_as(nanos: u64) -> u64 {
    if nanos >= LONGEST_NANOS { LONGEST_NANOS } else { nanos.clamp(1, LAST_PLACE_NANOS - 1) }
}

/// A time out of [`Latencies`] as a person reads it: `61.2 µs`, or `≥ 1 h` where it was an hour or more.
#[must_use]
pub fn format_latency(time: Duration) -> String {
    if time >= Duration::from_nanos(LONGEST_NANOS) { "≥ 1 h".to_owned() } else { format_duration(time) }
}

/// The plain V2 form of the compressed one. The library would believe whatever length a damaged file claims, and take as
/// much memory.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, compressed) = bytes.split_at_checked(COMPRESSED_HEAD_BYTES)?;
    if head[..4] != COMPRESSED_COOKIE {
        return None;
    }
    let mut plain = Vec::new();
    ZlibDecoder::new(compressed).take(LONGEST_TEXT as u64).read_to_end(&mut plain).ok()?;
    let length = u32::from_be_bytes(plain.get(4..8)?.try_into().ok()?) as usize;
    (length.checked_add(PLAIN_HEAD_BYTES)? == plain.len()).then_some(plain)
}

/// Whether a plain V2 histogram has our bounds and a count that can be summed. The library would take as much memory as
/// other bounds need, and cannot negate the smallest number.
fn check_plain(plain: &[u8]) -> Result<(), String> {
    let (head, mut counts) = plain.split_at_checked(PLAIN_HEAD_BYTES).ok_or("a histogram is cut off")?;
    let bounds = [&u32::from(DIGITS).to_be_bytes()[..], &1_u64.to_be_bytes(), &LONGEST_NANOS.to_be_bytes()];
    if head[BOUNDS_PLACE] != bounds.concat() {
        return Err("a histogram is not one of 1 ns to 1 h with three digits".to_owned());
    }
    let mut total = 0_u64;
    while let Some((number, rest)) = split_varint(counts) {
        // Zigzag: odd numbers are below 0, and tell how many counts of 0 follow.
        total = total.saturating_add(if number % 2 == 0 { number / 2 } else { 0 });
        if number == u64::MAX || total > MAX_COUNT {
            return Err(format!("a histogram counts more than {}", format_count(MAX_COUNT)));
        }
        counts = rest;
    }
    if counts.is_empty() { Ok(()) } else { Err("a histogram is cut off".to_owned()) }
}

/// The first number of `bytes` in LEB128-64b9B, and the rest: seven bits per byte, but eight in the ninth.
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

/// One made by the load client or elsewhere. With other bounds than these, each time moves to its place in these.
impl From<Histogram<u64>> for Latencies {
    fn from(histogram: Histogram<u64>) -> Self {
        let has_these = (histogram.low(), histogram.high(), histogram.sigfig()) == (1, LONGEST_NANOS, DIGITS);
        if has_these && histogram.len() <= MAX_COUNT {
            return Self(histogram);
        }
        let mut latencies = Self::default();
        latencies.add_each(&histogram);
        latencies
    }
}

impl Packed {
    /// The histogram itself.
    ///
    /// # Panics
    ///
    /// Never: whatever was packed, or read from a file, has been a histogram.
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

/// What is read of a histogram. The numbers beside it follow from it, and are not believed.
#[derive(Deserialize)]
struct Kept {
    hdr: String,
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Source<'de>>(source: D) -> Result<Self, D::Error> {
        Self::decode(&Kept::deserialize(source)?.hdr).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Source<'de>>(source: D) -> Result<Self, D::Error> {
        let Kept { hdr } = Kept::deserialize(source)?;
        let latencies = Latencies::decode(&hdr).map_err(serde::de::Error::custom)?;
        Ok(latencies.beside(hdr))
    }
}
