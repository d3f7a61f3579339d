//! Where a value lies between the ends of an axis, and which values are written beside it.

use super::ticks::{self, Tick};
use crate::load::report::figure::{figure, time};

/// More than this between the least and the greatest, and a linear axis would hide the least.
const LINEAR_RANGE: f64 = 20.0;

/// Beyond, quantiles cannot be told from 1 in floating point.
const MOST_NINES: f64 = 12.0;

#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    /// In the scale's own measure.
    low: f64,
    high: f64,
    pub ticks: Vec<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Time,
    Logarithmic,
    Percentile,
}

impl Scale {
    fn measure(self, value: f64) -> f64 {
        match self {
            Scale::Linear | Scale::Time => value,
            Scale::Logarithmic => value.log10(),
            Scale::Percentile => -(1.0 - value).log10(),
        }
    }
}

impl Axis {
    /// From 0 to a round number that is no less than the greatest value.
    pub fn linear(values: impl Iterator<Item = f64>) -> Axis {
        let greatest = super::span(values).map_or(0.0, |(_, high)| high);
        Axis::new(Scale::Linear, ticks::linear(greatest))
    }

    /// Logarithmic where the values are so far apart that the least would lie on the ground of a linear one.
    pub fn wide(values: impl Iterator<Item = f64>) -> Axis {
        match super::span(values.filter(|value| *value > 0.0)) {
            Some((low, high)) if high / low > LINEAR_RANGE => {
                Axis::new(Scale::Logarithmic, ticks::logarithmic(low, high))
            }
            span => Axis::linear(span.into_iter().map(|(_, high)| high)),
        }
    }

    /// Seconds, from 0.
    pub fn time(seconds: f64) -> Axis {
        let seconds = if seconds.is_finite() && seconds > 0.0 { seconds } else { 1.0 };
        Axis { scale: Scale::Time, low: 0.0, high: seconds, ticks: ticks::time(seconds) }
    }

    /// Quantiles up to the last, and no less than 90 %: 0, 50, 90, 99, 99.9 % at equal distances, as HdrHistogram
    /// plots them.
    pub fn percentile(last: f64) -> Axis {
        let nines = Scale::Percentile.measure(last).clamp(1.0, MOST_NINES);
        let ticks = ticks::percentiles(nines);
        Axis { scale: Scale::Percentile, low: 0.0, high: nines, ticks }
    }

    fn new(scale: Scale, ticks: Vec<Tick>) -> Axis {
        let ends = ticks.first().zip(ticks.last());
        let (low, high) = ends.map_or((0.0, 1.0), |(first, last)| (scale.measure(first.at), scale.measure(last.at)));
        Axis { scale, low, high, ticks }
    }

    pub fn is_logarithmic(&self) -> bool {
        self.scale == Scale::Logarithmic
    }

    /// From 0 at one end to 1 at the other; what lies beyond an end is put there.
    pub fn place(&self, value: f64) -> f64 {
        let place = (self.scale.measure(value) - self.low) / (self.high - self.low);
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// A value on this axis as a person says it.
    pub fn words(&self, value: f64) -> String {
        match self.scale {
            Scale::Time => time(value),
            Scale::Percentile => ticks::percent(value),
            Scale::Linear | Scale::Logarithmic => figure(value),
        }
    }
}
