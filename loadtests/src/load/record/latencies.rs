//! A histogram for each metric, all of one form.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::outcome::nanoseconds;
use crate::load::distribution::{LONGEST, empty};
use crate::load::result::{Distribution, Metric};

const METRICS: [Metric; 7] = [
    Metric::ScheduleLag,
    Metric::EndToEnd,
    Metric::Service,
    Metric::Ttft,
    Metric::ServiceTtft,
    Metric::InterToken,
    Metric::Tpot,
];

pub struct Latencies {
    histograms: [Histogram<u64>; METRICS.len()],
}

impl Latencies {
    pub fn new() -> anyhow::Result<Latencies> {
        let [lag, end, service, ttft, service_ttft, gap, tpot] = METRICS.map(|_| empty());
        Ok(Latencies { histograms: [lag?, end?, service?, ttft?, service_ttft?, gap?, tpot?] })
    }

    pub fn record(&mut self, metric: Metric, value: Duration) {
        self.record_nanoseconds(metric, nanoseconds(value));
    }

    /// What is less than the clock can tell counts as a nanosecond, what is more than an hour as an hour.
    pub fn record_nanoseconds(&mut self, metric: Metric, value: u64) {
        self.histograms[metric as usize].saturating_record(value.clamp(1, LONGEST));
    }

    pub fn add(&mut self, other: &Latencies) -> anyhow::Result<()> {
        for (mine, theirs) in self.histograms.iter_mut().zip(&other.histograms) {
            mine.add(theirs)?;
        }
        Ok(())
    }

    pub fn histogram(&self, metric: Metric) -> &Histogram<u64> {
        &self.histograms[metric as usize]
    }

    /// Of every metric that was measured at all.
    pub fn distributions(&self) -> anyhow::Result<BTreeMap<Metric, Distribution>> {
        let measured = METRICS.iter().zip(&self.histograms).filter(|(_, histogram)| !histogram.is_empty());
        measured.map(|(metric, histogram)| Ok((*metric, Distribution::of(histogram)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_its_own_place() {
        for (place, metric) in METRICS.iter().enumerate() {
            assert_eq!(*metric as usize, place, "{metric:?} is found by its number");
        }
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Metric::Ttft, Duration::from_millis(5));
        latencies.record(Metric::Ttft, Duration::from_secs(86_400));
        let mut sum = Latencies::new().unwrap();
        sum.add(&latencies).unwrap();
        let distributions = sum.distributions().unwrap();
        assert_eq!(distributions.keys().collect::<Vec<_>>(), [&Metric::Ttft], "nothing else was measured");
        assert_eq!(distributions[&Metric::Ttft].count, 2, "what is too long is counted all the same");
    }
}
