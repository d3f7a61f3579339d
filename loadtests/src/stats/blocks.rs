//! The block bootstrap: the error of a figure whose moments depend on each other.
//!
//! A second in which a server was slow is followed by another, so that ten thousand requests in sixty seconds say less
//! than ten thousand independent ones would. The run is therefore resampled in stretches of consecutive slices, each
//! beginning anywhere and going round the end: the circular block bootstrap of Politis and Romano (1992). Their length
//! is the cube root of the number of slices, the rate at which the error of such a variance falls fastest (Künsch 1989).

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::order::Spread;

/// Fewer slices make no variance that is worth its name.
pub const FEWEST: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blocks {
    slices: usize,
    length: usize,
}

/// Of the logarithms of several figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variances<const N: usize> {
    pub variances: [f64; N],
    pub freedom: f64,
}

impl Blocks {
    /// None of too few slices.
    pub fn new(slices: usize) -> Option<Blocks> {
        (slices >= FEWEST).then(|| Blocks { slices, length: (slices as f64).cbrt().round() as usize })
    }

    /// The figures of each resample come from how often each slice stands in it; what has none is left out.
    pub fn variances<const N: usize>(
        self,
        replicates: u32,
        seed: u64,
        figures: impl Fn(&[u32]) -> Option<[f64; N]>,
    ) -> Variances<N> {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut times = vec![0; self.slices];
        let mut spreads = [Spread::default(); N];
        for _ in 0..replicates {
            self.draw(&mut generator, &mut times);
            let Some(found) = figures(&times) else { continue };
            for (spread, figure) in spreads.iter_mut().zip(found) {
                spread.add(figure.ln());
            }
        }
        // Resamples vary less than new runs would, as a variance divided by n does: by the one block that is given away.
        let (slices, length) = (self.slices as f64, self.length as f64);
        let correction = slices / (slices - length);
        Variances { variances: spreads.map(|spread| spread.variance() * correction), freedom: self.freedom() }
    }

    /// Blocks that overlap make a variance whose own variance is two thirds of what separate ones make (Künsch 1989),
    /// as if there were half as many again; never more than there are slices.
    fn freedom(self) -> f64 {
        let (slices, length) = (self.slices as f64, self.length as f64);
        (1.5 * slices / length).min(slices) - 1.0
    }

    fn draw(self, generator: &mut Xoshiro256PlusPlus, times: &mut [u32]) {
        times.fill(0);
        let mut left = self.slices;
        while left > 0 {
            let first = generator.random_range(0..self.slices);
            let length = self.length.min(left);
            (first..first + length).for_each(|place| times[place % self.slices] += 1);
            left -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variance of the mean that the blocks find, by the true one, over many series.
    fn found_by_true(persistence: f64) -> f64 {
        const SLICES: usize = 60;
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut found = 0.0;
        let (mut means, mut state) = (Spread::default(), 0.0);
        for round in 0..300 {
            let series: Vec<f64> = std::iter::repeat_with(|| {
                // The sum of twelve uniform draws is close enough to a normal one.
                let noise: f64 = (0..12).map(|_| generator.random::<f64>()).sum::<f64>() - 6.0;
                state = persistence * state + noise;
                100.0 + state
            })
            .take(SLICES)
            .collect();
            let mean = |times: &[u32]| {
                let sum: f64 = series.iter().zip(times).map(|(value, times)| value * f64::from(*times)).sum();
                Some([sum / SLICES as f64])
            };
            means.add(mean(&[1; SLICES]).unwrap()[0].ln());
            found += Blocks::new(SLICES).unwrap().variances(300, round, mean).variances[0];
        }
        found / 300.0 / means.variance()
    }

    #[test]
    fn independent_slices_make_the_variance_that_they_have() {
        let share = found_by_true(0.0);
        assert!((0.8..1.25).contains(&share), "of the true variance: {share}");
    }

    #[test]
    fn slices_that_follow_each_other_are_honoured() {
        // Taken as independent, these would find a third of the variance that the mean has: (1 - 0.5) / (1 + 0.5).
        let share = found_by_true(0.5);
        assert!((0.6..1.2).contains(&share), "of the true variance: {share}");
    }

    #[test]
    fn a_resample_is_as_long_as_the_run() {
        let blocks = Blocks::new(10).unwrap();
        let mut times = [0; 10];
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(1);
        for _ in 0..100 {
            blocks.draw(&mut generator, &mut times);
            assert_eq!(times.iter().sum::<u32>(), 10);
        }
        assert_eq!(Blocks::new(FEWEST - 1), None, "too few");
        assert_eq!(blocks.freedom(), 6.5, "five blocks of two, and half as many again");
    }
}
