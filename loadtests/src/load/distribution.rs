//! From a histogram to what a report says of it, and back: nothing is lost on the way.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::result::Distribution;

/// Nanoseconds: nothing that is measured here takes longer than an hour.
pub const LONGEST: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const NANOSECONDS: f64 = 1e6;

/// An empty histogram of nanoseconds, of the one form that all of a run's have, so that any two can be added.
pub fn empty() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, SIGNIFICANT_DIGITS).context("the histogram's bounds")
}

impl Distribution {
    /// Of nanoseconds, in milliseconds.
    pub fn of(histogram: &Histogram<u64>) -> anyhow::Result<Distribution> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(histogram, &mut bytes).context("a histogram cannot be written")?;
        let quantile = |quantile| histogram.value_at_quantile(quantile) as f64 / NANOSECONDS;
        Ok(Distribution {
            count: histogram.len(),
            min: if histogram.is_empty() { 0.0 } else { histogram.min() as f64 / NANOSECONDS },
            mean: histogram.mean() / NANOSECONDS,
            stdev: histogram.stdev() / NANOSECONDS,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: histogram.max() as f64 / NANOSECONDS,
            histogram: STANDARD.encode(bytes),
        })
    }

    /// The histogram that this was made of, in nanoseconds.
    pub fn histogram(&self) -> anyhow::Result<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.histogram).context("a distribution's histogram is no base64")?;
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .context("a distribution's histogram is no HdrHistogram of the V2 form")?;
        // Bounds are rounded when they are written; into one of ours, any two can be added.
        let mut histogram = empty()?;
        histogram.add(&read).context("a distribution's histogram has values of more than an hour")?;
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_comes_back_as_it_was() {
        let mut histogram = empty().unwrap();
        for value in [1, 999, 1_234_567, 1_234_567, 88_000_000_000] {
            histogram.record(value).unwrap();
        }
        let distribution = Distribution::of(&histogram).unwrap();
        assert_eq!(distribution.histogram().unwrap(), histogram, "every count is there again");
        assert_eq!(distribution.count, 5);
        assert!((distribution.p50 - 1.234_567).abs() < 0.002, "milliseconds: {}", distribution.p50);
    }

    #[test]
    fn two_that_were_read_can_be_added() {
        let mut histogram = empty().unwrap();
        histogram.record(5_000_000).unwrap();
        let read = || Distribution::of(&histogram).unwrap().histogram().unwrap();
        let mut sum = read();
        sum.add(read()).unwrap();
        assert_eq!(sum.len(), 2);
    }

    #[test]
    fn an_empty_one_has_no_values() {
        let distribution = Distribution::of(&empty().unwrap()).unwrap();
        assert_eq!((distribution.count, distribution.min, distribution.max), (0, 0.0, 0.0));
        assert!(distribution.histogram().unwrap().is_empty());
    }

    #[test]
    fn a_broken_one_is_told() {
        let mut distribution = Distribution::of(&empty().unwrap()).unwrap();
        for broken in ["!", "AAAA"] {
            distribution.histogram = broken.to_owned();
            assert!(distribution.histogram().is_err(), "{broken} is no histogram");
        }
    }
}
