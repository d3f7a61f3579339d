//! Latencies of one round, in nanoseconds, read in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer than any scenario; what is longer still counts as this.
const LONGEST: u64 = 600_000_000_000;

pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> anyhow::Result<Latencies> {
        Ok(Latencies(Histogram::new_with_bounds(1, LONGEST, 4)?))
    }

    pub fn of(values: impl IntoIterator<Item = Duration>) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new()?;
        values.into_iter().for_each(|value| latencies.record(value));
        Ok(latencies)
    }

    pub fn record(&mut self, value: Duration) {
        self.0.saturating_record(u64::try_from(value.as_nanos()).unwrap_or(LONGEST));
    }

    pub fn len(&self) -> u64 {
        self.0.len()
    }

    pub fn p50(&self) -> f64 {
        self.microseconds(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.microseconds(0.99)
    }

    pub fn max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    fn microseconds(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_ten_thousandth() {
        let latencies = Latencies::of((1..=1000).map(Duration::from_micros)).unwrap();
        assert!((latencies.p50() - 500.0).abs() < 0.1, "{}", latencies.p50());
        assert!((latencies.p99() - 990.0).abs() < 0.2, "{}", latencies.p99());
        assert!((latencies.max() - 1000.0).abs() < 0.2, "{}", latencies.max());
    }
}
