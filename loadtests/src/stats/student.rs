//! Student's t distribution, and the test of two means that was named after it.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Beyond so many degrees of freedom the normal distribution is told apart from t by nothing that is shown.
const NORMAL: f64 = 1e6;

/// The number that a t of so many degrees of freedom exceeds in size with probability `1 - confidence`; none where
/// there is no degree of freedom.
pub fn critical(confidence: f64, freedom: f64) -> Option<f64> {
    if !(0.0..1.0).contains(&confidence) {
        return None;
    }
    let below = f64::midpoint(1.0, confidence);
    if freedom > NORMAL {
        return Some(Normal::standard().inverse_cdf(below));
    }
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(below))
}

/// Of both tails; none where there is no degree of freedom or `t` is no number.
pub fn p_value(t: f64, freedom: f64) -> Option<f64> {
    if t.is_infinite() {
        return Some(0.0);
    }
    if t.is_nan() {
        return None;
    }
    let tail = if freedom > NORMAL {
        Normal::standard().sf(t.abs())
    } else {
        StudentsT::new(0.0, 1.0, freedom).ok()?.sf(t.abs())
    };
    Some((2.0 * tail).min(1.0))
}

/// Mean and standard deviation, the latter divided by the count itself.
pub fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        // scipy 1.16.3: 2 * t.sf(x, df) and t.ppf((1 + c) / 2, df).
        for (t, freedom, wanted) in [
            (2.0, 10.0, 0.073_388_034_770_740_39),
            (-3.5, 4.5, 0.020_541_689_969_385_56),
            (3.0, 1e9, 0.002_699_796_129_737_921),
            (12.0, 58.0, 2.361_570_834_939_521_8e-17),
        ] {
            let found = p_value(t, freedom).unwrap();
            assert!((found / wanted - 1.0).abs() < 1e-6, "t {t} of {freedom}: {found}, not {wanted}");
        }
        for (confidence, freedom, wanted) in [
            (0.99, 9.0, 3.249_835_541_592_125_4),
            (0.95, 2.5, 3.574_654_842_011_877_3),
            (0.99, 1e6, 2.575_834_220_105_334),
            (0.99, 1e9, 2.575_829_308_465_448),
        ] {
            let found = critical(confidence, freedom).unwrap();
            assert!((found / wanted - 1.0).abs() < 1e-6, "{confidence} of {freedom}: {found}, not {wanted}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_not_said() {
        assert_eq!(p_value(1.0, 0.0), None, "no degree of freedom");
        assert_eq!(p_value(f64::NAN, 5.0), None, "no number");
        assert_eq!(critical(1.5, 5.0), None, "no confidence");
        assert_eq!(p_value(f64::INFINITY, 5.0), Some(0.0), "means that differ where nothing varies");
    }
}
