//! Whether the values of one sample tend to be greater than another's: the test of Mann and Whitney (1947), which
//! assumes no form of the distribution, and so suits latencies.
//!
//! Ties, of which histograms are full, are corrected for, and the normal approximation with its continuity correction
//! is used: samples of a load test are large. The figures are those of scipy's
//! `mannwhitneyu(after, before, method="asymptotic")`.

use statrs::function::erf::erfc;

use super::sample::Sample;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Of the pairs of one value from each, those in which the later is greater; a tie is half a pair.
    pub u: f64,
    /// Above 0 where the later values tend to be greater.
    pub z: f64,
    /// The chance that a later value is greater than an earlier one: 0.5 where the two do not differ.
    pub superiority: f64,
}

impl MannWhitney {
    /// None where a sample is empty.
    pub fn test(before: &Sample, after: &Sample) -> Option<MannWhitney> {
        let (n, m) = (before.total() as f64, after.total() as f64);
        if n == 0.0 || m == 0.0 {
            return None;
        }
        let (mut u, mut below, mut tied) = (0.0, 0.0, 0.0);
        for (_, earlier, later) in before.beside(after) {
            let (earlier, later) = (earlier as f64, later as f64);
            u += later * (below + earlier / 2.0);
            below += earlier;
            let both = earlier + later;
            tied += both * (both * both - 1.0);
        }
        let all = n + m;
        let deviation = (n * m / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)))).max(0.0).sqrt();
        let beyond = u - n * m / 2.0;
        let corrected = (beyond.abs() - 0.5).max(0.0).copysign(beyond);
        let z = if deviation > 0.0 { corrected / deviation } else { 0.0 };
        Some(MannWhitney { u, z, superiority: u / (n * m) })
    }

    /// Two-sided.
    pub fn p_value(&self) -> f64 {
        self.p_value_with(1.0)
    }

    /// Two-sided, of values that depend on each other: so many of them say as much as one would alone (the design
    /// effect of Kish 1965), and the variance of U is greater by that factor.
    pub fn p_value_with(&self, design_effect: f64) -> f64 {
        erfc(self.z.abs() / design_effect.max(1.0).sqrt() / std::f64::consts::SQRT_2)
    }

    /// Cliff's delta, from -1 to 1: the share of pairs in which the later is greater less that in which it is smaller.
    pub fn delta(&self) -> f64 {
        2.0 * self.superiority - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &Sample, after: &Sample, (u, p): (f64, f64)) {
        let found = MannWhitney::test(before, after).unwrap();
        assert_eq!(found.u, u, "U of {before:?} and {after:?}");
        let relative = found.p_value() / p - 1.0;
        assert!(relative.abs() < 1e-9, "p of {before:?} and {after:?}: {}, not {p}", found.p_value());
    }

    fn each(values: &[f64]) -> Sample {
        Sample::new(values.iter().map(|value| (*value, 1)))
    }

    #[test]
    fn the_figures_are_scipys() {
        // scipy 1.16.3. The first are the permeability data of Hollander and Wolfe, Nonparametric Statistical Methods.
        check(
            &each(&[0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]),
            &each(&[1.15, 0.88, 0.90, 0.74, 1.21]),
            (15.0, 0.244_623_605_126_983_33),
        );
        check(
            &each(&[1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0]),
            &each(&[2.0, 3.0, 4.0, 4.0, 5.0, 5.0, 5.0, 6.0, 7.0]),
            (58.0, 0.035_267_495_268_671_84),
        );
        check(
            &Sample::new([(1.0, 100), (2.0, 300), (3.0, 400), (4.0, 150), (9.0, 50)]),
            &Sample::new([(1.0, 90), (2.0, 270), (3.0, 400), (4.0, 170), (9.0, 70)]),
            (529_000.0, 0.018_414_844_782_112_628),
        );
        check(
            &Sample::new((0..100).map(|place| (f64::from(10 + place), 20))),
            &Sample::new((0..100).map(|place| (f64::from(12 + place), 20))),
            (2_079_200.0, 0.030_097_619_622_606_31),
        );
    }

    #[test]
    fn where_all_is_tied_nothing_differs() {
        check(&each(&[1.0, 1.0, 1.0]), &each(&[1.0, 1.0]), (3.0, 1.0));
        assert_eq!(MannWhitney::test(&each(&[1.0]), &Sample::default()), None, "nothing to compare with");
    }

    #[test]
    fn the_sign_and_the_size_tell_which_is_greater() {
        let (low, high) = (each(&[1.0, 2.0, 3.0]), each(&[4.0, 5.0, 6.0]));
        let up = MannWhitney::test(&low, &high).unwrap();
        let down = MannWhitney::test(&high, &low).unwrap();
        assert_eq!((up.superiority, up.delta()), (1.0, 1.0), "every later one is greater");
        assert_eq!((down.superiority, down.delta()), (0.0, -1.0), "every later one is smaller");
        assert_eq!(up.z, -down.z);
    }

    #[test]
    fn values_that_depend_on_each_other_say_less() {
        let (before, after) = (each(&[1.0, 2.0, 3.0, 4.0]), each(&[4.5, 5.0, 6.0, 7.0]));
        let test = MannWhitney::test(&before, &after).unwrap();
        assert!(test.p_value_with(4.0) > test.p_value(), "a greater variance makes a greater p");
        assert_eq!(test.p_value_with(0.3), test.p_value(), "no design makes values say more than they are");
    }
}
