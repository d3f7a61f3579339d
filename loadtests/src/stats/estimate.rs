//! A figure with what is known of its error, and the ratio of two with its interval.
//!
//! Errors are those of logarithms: latencies and rates are compared by ratios, and the logarithm of a ratio is nearly
//! symmetric where the ratio is not.

use serde::Serialize;

use super::student;

/// A positive figure that was estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    /// Of the logarithm.
    pub variance: f64,
    /// How many independent deviations the variance was found from.
    pub freedom: f64,
}

/// Of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Whether the ratio is certain to be another than 1.
    pub fn excludes_one(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// The interval of `after` by `before`, of Student's t with the bootstrap's standard errors (Efron and Tibshirani 1993,
/// chapter 12); the degrees of freedom are Welch's (1947). None where a figure is not above 0 or an error unknown.
pub fn ratio(before: &Estimate, after: &Estimate, confidence: f64) -> Option<Interval> {
    let difference = Difference::of(before, after)?;
    let reach = match difference.error {
        0.0 => 0.0,
        error => error * student::critical(confidence, difference.freedom)?,
    };
    let at = |logarithm: f64| logarithm.exp();
    let logarithm = difference.logarithm;
    Some(Interval { ratio: at(logarithm), low: at(logarithm - reach), high: at(logarithm + reach) })
}

/// How probable so great a ratio is where nothing differs, by the same error as the interval; two-sided.
pub fn t_test(before: &Estimate, after: &Estimate) -> Option<f64> {
    let difference = Difference::of(before, after)?;
    match (difference.logarithm, difference.error) {
        (0.0, _) => Some(1.0),
        (_, 0.0) => Some(0.0),
        (logarithm, error) => student::p_value(logarithm / error, difference.freedom),
    }
}

/// Of the logarithms.
struct Difference {
    logarithm: f64,
    error: f64,
    freedom: f64,
}

impl Difference {
    fn of(before: &Estimate, after: &Estimate) -> Option<Difference> {
        let known = |one: &Estimate| one.value > 0.0 && one.variance.is_finite() && one.freedom > 0.0;
        if !known(before) || !known(after) {
            return None;
        }
        let share = |estimate: &Estimate| estimate.variance.powi(2) / estimate.freedom;
        let variance = before.variance + after.variance;
        Some(Difference {
            logarithm: (after.value / before.value).ln(),
            error: variance.sqrt(),
            freedom: variance.powi(2) / (share(before) + share(after)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_welchs() {
        let before = Estimate { value: 100.0, variance: 4e-4, freedom: 9.0 };
        let after = Estimate { value: 110.0, variance: 1e-4, freedom: 4.0 };
        let interval = ratio(&before, &after, 0.99).unwrap();
        // By hand: 12.33 degrees of freedom, of which t is 3.04 at 99 %, and a standard error of 0.02236.
        assert!((interval.ratio - 1.1).abs() < 1e-12);
        assert!(((interval.high / interval.ratio).ln() - 0.0680).abs() < 2e-4, "reach: {interval:?}");
        assert!((interval.low * interval.high - 1.21).abs() < 1e-9, "symmetric in logarithms");
        assert!(interval.excludes_one());
    }

    #[test]
    fn what_does_not_vary_is_certain() {
        let figure = |value| Estimate { value, variance: 0.0, freedom: 5.0 };
        let interval = ratio(&figure(1.0), &figure(2.0), 0.99).unwrap();
        assert_eq!((interval.low, interval.high), (interval.ratio, interval.ratio));
        assert_eq!(ratio(&figure(0.0), &figure(2.0), 0.99), None, "there is no ratio to nothing");
    }

    #[test]
    fn the_test_and_the_interval_say_the_same() {
        let before = Estimate { value: 1.0, variance: 1e-4, freedom: 9.0 };
        for after in [0.94, 0.97, 1.0, 1.02, 1.04, 1.05] {
            let after = Estimate { value: after, ..before };
            let (p, interval) = (t_test(&before, &after).unwrap(), ratio(&before, &after, 0.99).unwrap());
            assert_eq!(p < 0.01, interval.excludes_one(), "p {p} beside {interval:?}");
        }
    }

    #[test]
    fn a_wide_interval_excludes_nothing() {
        let vague = Estimate { value: 1.0, variance: 0.1, freedom: 3.0 };
        assert!(!ratio(&vague, &Estimate { value: 1.3, ..vague }, 0.99).unwrap().excludes_one());
    }
}
