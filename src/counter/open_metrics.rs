//! Pages in the OpenMetrics text format (OpenMetrics 1.0.0), as the `prometheus-client` crate writes them.
//!
//! The counters of that crate are not used: they are locked read-modify-writes, while ours cost a load and a store. Their
//! values are read when the page is requested.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// Units of metrics, which end their names.
pub const BYTES: Option<&Unit> = Some(&Unit::Bytes);
pub const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

/// The labels of exemplars, which are not used here.
type NoLabels = [(&'static str, &'static str); 0];

/// The whole page that `collector` writes.
pub fn page(collector: impl Collector) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

/// A distribution of times: their sum in seconds, and the number in each bucket with its upper bound, of which the last
/// is infinite.
#[derive(Debug)]
pub struct Buckets {
    /// Sum in seconds.
    pub sum: f64,
    /// Upper bounds in seconds, and counts.
    pub counts: Vec<(f64, u64)>,
}

/// Writes families of metrics.
#[derive(Debug)]
pub struct Families<'a>(pub DescriptorEncoder<'a>);

impl Families<'_> {
    /// A family of constant facts.
    pub fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    /// A single current value.
    pub fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(value)
    }

    /// A single count.
    pub fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        family.encode_counter::<NoLabels, u64, f64>(&value, None)
    }

    /// A single distribution.
    pub fn histogram(&mut self, name: &str, help: &str, Buckets { sum, counts }: &Buckets) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, SECONDS, MetricType::Histogram)?;
        family.encode_histogram::<NoLabels>(*sum, total(counts), counts, None)
    }

    /// Current values by labels.
    pub fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// Counts by labels.
    pub fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, count)| {
            family.encode_family(&labels)?.encode_counter::<NoLabels, u64, f64>(&count, None)
        })
    }

    /// Distributions of times by labels.
    pub fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, Buckets)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, SECONDS, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, Buckets { sum, counts })| {
            family.encode_family(&labels)?.encode_histogram::<NoLabels>(sum, total(&counts), &counts, None)
        })
    }
}

fn total(buckets: &[(f64, u64)]) -> u64 {
    buckets.iter().map(|(_, count)| count).sum()
}
