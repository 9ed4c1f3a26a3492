//! Metrics of one name, put together series by series.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use tcpwatch_common::histogram::{self, BUCKETS};

/// Buckets of the kernel side that are published as one, so that bounds grow by a factor of 4.
const MERGED: usize = 2;

// The last published bucket then ends with the kernel side's last one, which is the one without bound.
const _: () = assert!(BUCKETS.is_multiple_of(MERGED));

/// Name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// Those of one series.
pub(super) type Labels<'a> = &'a [Label<'a>];

/// All series of one name.
pub(super) struct Family(MetricFamily);

impl Family {
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        Self(family)
    }

    /// Adds a series of a counter or a gauge.
    pub(super) fn add(&mut self, labels: Labels<'_>, value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
    }

    /// The family with one series that has no labels; without any if the value is not known.
    pub(super) fn only(mut self, value: Option<f64>) -> Self {
        if let Some(value) = value {
            self.add(&[], value);
        }
        self
    }

    /// Adds the series of a histogram.
    pub(super) fn add_histogram(&mut self, labels: Labels<'_>, observed: &histogram::Histogram) {
        let mut count = 0;
        let mut buckets = Vec::new();
        for (number, merged) in observed.buckets.chunks(MERGED).enumerate() {
            count += merged.iter().sum::<u64>();
            // A duration that is exactly a bound is counted above it; at nanoseconds that makes no difference.
            if let Some(bound) = histogram::upper_bound(number * MERGED + MERGED - 1) {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                buckets.push(bucket);
            }
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(seconds(observed.sum_ns));
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.0.mut_metric().push(metric);
    }

    /// Lines that the family has on the page, comments aside.
    pub(super) fn series(&self) -> usize {
        let metrics = self.0.get_metric();
        if self.0.get_field_type() == MetricType::HISTOGRAM {
            // The buckets, that of +Inf, the sum and the count.
            metrics.iter().map(|metric| metric.get_histogram().get_bucket().len() + 3).sum()
        } else {
            metrics.len()
        }
    }

    pub(super) fn into_proto(self) -> MetricFamily {
        self.0
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    labels
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        })
        .collect()
}

/// A count as the text format has it.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and all numbers of Prometheus are f64")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

pub(super) fn seconds(nanoseconds: u64) -> f64 {
    number(nanoseconds) / 1e9
}
