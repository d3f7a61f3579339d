//! The error of a quantile, from the sample alone.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Beta, Distribution};

use super::estimate::Estimate;
use super::sample::{Sample, rank};

/// The bootstrap of a quantile over the whole sample, its values taken as independent of each other. What a resample
/// has at a rank is the sample's own quantile at a place that follows a beta distribution (Efron 1979), so that none
/// needs to be drawn. None where the sample is empty.
pub fn whole_sample(sample: &Sample, quantile: f64, replicates: u32, seed: u64) -> Option<Estimate> {
    let value = sample.quantile(quantile)?;
    let (total, rank) = (sample.total(), rank(quantile, sample.total()));
    let place = Beta::new(rank as f64, (total - rank + 1) as f64).ok()?;
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut spread = Spread::default();
    for _ in 0..replicates {
        spread.add(sample.quantile(place.sample(&mut generator))?.ln());
    }
    Some(Estimate { value, variance: spread.variance(), freedom: (total as f64 - 1.0).max(1.0) })
}

/// The variance of what comes one by one (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let deviation = value - self.mean;
        self.mean += deviation / self.count;
        self.squares += deviation * (value - self.mean);
    }

    /// Infinite of fewer than two, of which nothing is known.
    pub fn variance(&self) -> f64 {
        if self.count > 1.0 { self.squares / (self.count - 1.0) } else { f64::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_quantile_is_what_theory_says() {
        // Of a uniform sample the variance of the median is 1 / 4n, and that of its logarithm four times as much.
        let sample = Sample::new((1..=10_000).map(|value| (f64::from(value) / 10_000.0, 1)));
        let estimate = whole_sample(&sample, 0.5, 4000, 1).unwrap();
        assert_eq!(estimate.value, 0.5);
        let relative = estimate.variance / 1e-4;
        assert!((relative - 1.0).abs() < 0.1, "a ten-thousandth, but {relative} of it");
    }

    #[test]
    fn the_same_seed_makes_the_same_error() {
        let sample = Sample::new((1..=500).map(|value| (f64::from(value), 3)));
        let estimate = |seed| whole_sample(&sample, 0.9, 200, seed).unwrap();
        assert_eq!(estimate(7), estimate(7));
        assert_ne!(estimate(7), estimate(8), "and another seed another");
    }

    #[test]
    fn the_spread_is_the_variance() {
        let mut spread = Spread::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| spread.add(value));
        assert!((spread.variance() - 32.0 / 7.0).abs() < 1e-12);
    }
}
